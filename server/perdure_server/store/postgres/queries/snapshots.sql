-- What the code of runs has published.

-- part: snapshot_columns
run_id, state, event_seq, created_at_us

-- name: put_snapshot
INSERT INTO snapshots ({{snapshot_columns}})
SELECT {{snapshot_columns}} FROM unnest(
    $1::int[], $2::text[], $3::bytea[], $4::bigint[], $5::bigint[]
) AS given (n, {{snapshot_columns}})
WHERE n NOT IN (SELECT n FROM refused)
ON CONFLICT (run_id) DO UPDATE SET
    state = excluded.state, event_seq = excluded.event_seq, created_at_us =
    excluded.created_at_us;

-- name: delete_snapshot
DELETE FROM snapshots
WHERE run_id = ANY(ARRAY(
    SELECT run_id FROM unnest($1::int[], $2::text[]) AS given (n, run_id)
    WHERE n NOT IN (SELECT n FROM refused)
));

-- name: find_snapshot
SELECT {{snapshot_columns}} FROM snapshots WHERE run_id = $1;
