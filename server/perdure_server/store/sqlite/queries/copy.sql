-- Whole tables in the order of their keys, a batch after a key at a time, and where they end.

-- name: copied_runs
SELECT {{run_columns}} FROM runs WHERE run_id > ? ORDER BY run_id LIMIT ?;

-- name: copied_events
SELECT run_id, seq, kind, at_us, frame, commit_no, idx FROM events
WHERE (run_id, seq) > (?, ?) ORDER BY run_id, seq LIMIT ?;

-- name: copied_activities
SELECT {{activity_columns}} FROM activities
WHERE (run_id, seq) > (?, ?) ORDER BY run_id, seq LIMIT ?;

-- name: copied_tasks
SELECT {{task_columns}} FROM tasks
WHERE (run_id, kind, seq) > (?, ?, ?) ORDER BY run_id, kind, seq LIMIT ?;

-- name: copied_timers
SELECT run_id, kind, seq, due_at_us FROM timers
WHERE (run_id, kind, seq) > (?, ?, ?) ORDER BY run_id, kind, seq LIMIT ?;

-- name: copied_requests
SELECT namespace, workflow_id, rpc, request_id, fingerprint, response, created_at_us FROM requests
WHERE (namespace, workflow_id, rpc, request_id) > (?, ?, ?, ?)
ORDER BY namespace, workflow_id, rpc, request_id LIMIT ?;

-- name: copied_children
SELECT {{child_columns}} FROM children
WHERE (run_id, seq) > (?, ?) ORDER BY run_id, seq LIMIT ?;

-- name: copied_updates
SELECT {{update_columns}} FROM updates
WHERE (run_id, seq) > (?, ?) ORDER BY run_id, seq LIMIT ?;

-- name: copied_snapshots
SELECT {{snapshot_columns}} FROM snapshots
WHERE run_id > ? ORDER BY run_id LIMIT ?;

-- name: copied_keys
SELECT {{key_columns}} FROM search_attributes
WHERE (run_id, name, value) > (?, ?, ?) ORDER BY run_id, name, value LIMIT ?;

-- name: copied_inbox
SELECT {{message_columns}} FROM inbox
WHERE (sender_run_id, seq) > (?, ?) ORDER BY sender_run_id, seq LIMIT ?;

-- name: copied_namespaces
SELECT name, created_at_us, retention_us, sweep_at_us, expired_commit, expired_index
FROM namespaces WHERE name > ? ORDER BY name LIMIT ?;

-- name: copied_api_keys
SELECT digest, prefix, label, created_at_us FROM api_keys
WHERE digest > ? ORDER BY digest LIMIT ?;

-- name: copied_workers
-- Only those that registered: who is connected to a server will connect to another.
SELECT {{worker_columns}} FROM workers
WHERE server_id = '' AND worker_id > ? ORDER BY worker_id LIMIT ?;

-- name: copied_schedules
SELECT {{schedule_columns}} FROM schedules
WHERE (namespace, name) > (?, ?) ORDER BY namespace, name LIMIT ?;

-- name: copied_position
-- The epoch, and the last place that an event has or had.
SELECT epoch, commit_no, idx FROM position;

-- name: put_position
UPDATE position SET epoch = ?, commit_no = ?, idx = ?;
