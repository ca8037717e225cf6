-- What the code of runs has published.

-- part: snapshot_columns
run_id, state, event_seq, created_at_us

-- name: put_snapshot
INSERT INTO snapshots ({{snapshot_columns}}) VALUES (?, ?, ?, ?)
ON CONFLICT (run_id) DO UPDATE SET
    state = excluded.state, event_seq = excluded.event_seq, created_at_us =
    excluded.created_at_us;

-- name: delete_snapshot
DELETE FROM snapshots WHERE run_id = ?;

-- name: find_snapshot
SELECT {{snapshot_columns}} FROM snapshots WHERE run_id = ?;
