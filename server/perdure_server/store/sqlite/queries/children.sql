-- Children, in the run that started them.

-- part: child_columns
run_id, seq, workflow_id, workflow_type, child_run_id, policy, closed

-- name: put_child
INSERT INTO children ({{child_columns}}) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (run_id, seq) DO UPDATE SET
    workflow_id = excluded.workflow_id, workflow_type = excluded.workflow_type, child_run_id =
    excluded.child_run_id, policy = excluded.policy, closed = excluded.closed;

-- name: delete_children
DELETE FROM children WHERE run_id = ?;

-- name: load_children
-- None for who knows the run as of an event: the later ones tell of children.
SELECT {{child_columns}} FROM children WHERE run_id = ?1 AND ?2 IS NULL;
