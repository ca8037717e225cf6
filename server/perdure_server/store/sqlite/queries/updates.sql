-- What the code of runs was asked and has answered.

-- part: update_columns
run_id, seq, name, update_id, outcome

-- name: put_update
INSERT INTO updates ({{update_columns}}) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (run_id, seq) DO UPDATE SET
    name = excluded.name, update_id = excluded.update_id, outcome = excluded.outcome;

-- name: delete_updates
DELETE FROM updates WHERE run_id = ?;

-- name: load_updates
-- Those that are not answered.
SELECT {{update_columns}} FROM updates WHERE run_id = ? AND length(outcome) = 0;

-- name: find_update
SELECT {{update_columns}} FROM updates WHERE run_id = ? AND seq = ?;
