-- name: has_schema
SELECT count(*) FROM pg_catalog.pg_tables
WHERE schemaname = current_schema() AND tablename = 'schema';

-- name: schema_version
SELECT max(version), max(min_server) FROM schema;

-- name: last_position
-- The last event that `read_events` serves now, or a deleted one, or the place before the first.
SELECT position.epoch, last.commit_no, last.idx
FROM position CROSS JOIN LATERAL (
    (
        SELECT events.commit_no, events.idx FROM events
        WHERE events.commit_no < base + pg_snapshot_xmin(pg_current_snapshot())::text::bigint
        ORDER BY events.commit_no DESC, events.idx DESC LIMIT 1
    )
    UNION ALL
    SELECT position.commit_no, position.idx
    WHERE position.commit_no < base + pg_snapshot_xmin(pg_current_snapshot())::text::bigint
    UNION ALL
    SELECT 0, -1
) AS last
ORDER BY last.commit_no DESC, last.idx DESC LIMIT 1;

-- name: record_position
-- Keeps the place of the last event of runs that are about to be deleted.
WITH ending AS MATERIALIZED (
    SELECT commit_no, idx FROM events WHERE run_id = ANY($1::text[])
)
UPDATE position SET commit_no = last.commit_no, idx = last.idx
FROM (SELECT commit_no, idx FROM ending ORDER BY commit_no DESC, idx DESC LIMIT 1) AS last
WHERE (last.commit_no, last.idx) > (position.commit_no, position.idx);

-- name: begin_write
-- Of transactions that read what another writes, one fails and runs again.
BEGIN ISOLATION LEVEL SERIALIZABLE;
