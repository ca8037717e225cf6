-- Histories, and the order of commits that watchers read.

-- name: insert_event
INSERT INTO events (run_id, seq, kind, at_us, frame, commit_no, idx)
SELECT run_id, seq, kind, at_us, frame, (SELECT commit_no FROM place), idx
FROM unnest(
    $1::int[], $2::text[], $3::bigint[], $4::text[], $5::bigint[], $6::bytea[], $7::bigint[]
) AS given (n, run_id, seq, kind, at_us, frame, idx)
WHERE n NOT IN (SELECT n FROM refused);

-- name: load_history
-- The last event is found by adding up lengths, which need no reading of the frames.
SELECT seq, kind, at_us, frame FROM events
WHERE run_id = $1 AND seq > $2 AND seq <= (
    SELECT max(seq)
    FROM (
        SELECT seq, sum(octet_length(frame)) OVER (ORDER BY seq) AS bytes FROM events
        WHERE run_id = $1 AND seq > $2 ORDER BY seq LIMIT $3
    ) AS page
    WHERE bytes <= $4 OR seq = $2 + 1
)
ORDER BY seq;

-- name: find_events
SELECT seq, kind, at_us, frame FROM events
WHERE run_id = $1 AND kind = ANY($2::text[])
ORDER BY seq DESC LIMIT $3;

-- name: load_tail
-- The events that the run has not seen, or those behind the one as of which it is known.
SELECT events.seq, events.kind, events.at_us, events.frame
FROM runs JOIN events
    ON events.run_id = runs.run_id AND events.seq > coalesce($2::bigint, runs.seen_seq)
WHERE runs.run_id = $1 ORDER BY events.seq;

-- name: read_events
-- Only commits below every transaction that is under way: none can appear before them any more.
SELECT
    page.commit_no, page.idx, runs.namespace, runs.workflow_id, page.run_id, runs.workflow_type,
    CASE
        WHEN page.seq > 1 AND page.at_us >= runs.started_at_us
            AND runs.started_at_us > coalesce((
                SELECT before.at_us FROM events AS before
                WHERE before.run_id = page.run_id AND before.seq = page.seq - 1 AND page.seq > 2
            ), -1) THEN runs.started_at_us
    END,
    page.seq, page.kind, page.at_us, page.frame
FROM (
    SELECT run_id, seq, kind, at_us, frame, commit_no, idx FROM events
    WHERE (commit_no, idx) > ($1, $2)
        AND commit_no < (
            SELECT base + pg_snapshot_xmin(pg_current_snapshot())::text::bigint FROM position
        )
    ORDER BY commit_no, idx LIMIT $3
) AS page
CROSS JOIN LATERAL (
    SELECT namespace, workflow_id, workflow_type, started_at_us
    FROM runs WHERE run_id = page.run_id OFFSET 0
) AS runs
ORDER BY page.commit_no, page.idx;

-- name: sizes_between
-- The first of the events between two, with the sizes of their frames.
SELECT seq, octet_length(frame) FROM events
WHERE run_id = $1 AND seq > $2 AND seq < $3 ORDER BY seq LIMIT $4;

-- name: delete_between
DELETE FROM events WHERE run_id = $1 AND seq >= $2 AND seq <= $3;

-- name: delete_events
DELETE FROM events
WHERE run_id = ANY(ARRAY(
    SELECT run_id FROM unnest($1::int[], $2::text[]) AS given (n, run_id)
    WHERE n NOT IN (SELECT n FROM refused)
));
