-- Whole tables in the order of their keys, a batch after a key at a time, and where they end.

-- name: copied_runs
SELECT {{run_columns}} FROM runs WHERE run_id > $1 ORDER BY run_id LIMIT $2;

-- name: copied_events
SELECT run_id, seq, kind, at_us, frame, commit_no, idx FROM events
WHERE (run_id, seq) > ($1, $2) ORDER BY run_id, seq LIMIT $3;

-- name: copied_activities
SELECT {{activity_columns}} FROM activities
WHERE (run_id, seq) > ($1, $2) ORDER BY run_id, seq LIMIT $3;

-- name: copied_tasks
SELECT {{task_columns}} FROM tasks
WHERE (run_id, kind, seq) > ($1, $2, $3) ORDER BY run_id, kind, seq LIMIT $4;

-- name: copied_timers
SELECT run_id, kind, seq, due_at_us FROM timers
WHERE (run_id, kind, seq) > ($1, $2, $3) ORDER BY run_id, kind, seq LIMIT $4;

-- name: copied_requests
SELECT namespace, workflow_id, rpc, request_id, fingerprint, response, created_at_us FROM requests
WHERE (namespace, workflow_id, rpc, request_id) > ($1, $2, $3, $4)
ORDER BY namespace, workflow_id, rpc, request_id LIMIT $5;

-- name: copied_children
SELECT {{child_columns}} FROM children
WHERE (run_id, seq) > ($1, $2) ORDER BY run_id, seq LIMIT $3;

-- name: copied_updates
SELECT {{update_columns}} FROM updates
WHERE (run_id, seq) > ($1, $2) ORDER BY run_id, seq LIMIT $3;

-- name: copied_snapshots
SELECT {{snapshot_columns}} FROM snapshots
WHERE run_id > $1 ORDER BY run_id LIMIT $2;

-- name: copied_keys
SELECT {{key_columns}} FROM search_attributes
WHERE (run_id, name, value) > ($1, $2, $3) ORDER BY run_id, name, value LIMIT $4;

-- name: copied_inbox
SELECT {{message_columns}} FROM inbox
WHERE (sender_run_id, seq) > ($1, $2) ORDER BY sender_run_id, seq LIMIT $3;

-- name: copied_namespaces
SELECT name, created_at_us, retention_us, sweep_at_us, expired_commit, expired_index
FROM namespaces WHERE name > $1 ORDER BY name LIMIT $2;

-- name: copied_api_keys
SELECT digest, prefix, label, created_at_us FROM api_keys
WHERE digest > $1 ORDER BY digest LIMIT $2;

-- name: copied_workers
-- Only those that registered: who is connected to a server will connect to another.
SELECT {{worker_columns}} FROM workers
WHERE server_id = '' AND worker_id > $1 ORDER BY worker_id LIMIT $2;

-- name: copied_schedules
SELECT {{schedule_columns}} FROM schedules
WHERE (namespace, name) > ($1, $2) ORDER BY namespace, name LIMIT $3;

-- name: copied_position
-- The epoch, and the last place that an event has or had.
SELECT position.epoch, last.commit_no, last.idx
FROM position CROSS JOIN LATERAL (
    (
        SELECT events.commit_no, events.idx FROM events
        WHERE events.commit_no >= position.commit_no
        ORDER BY events.commit_no DESC, events.idx DESC LIMIT 1
    )
    UNION ALL
    SELECT position.commit_no, position.idx
) AS last
ORDER BY last.commit_no DESC, last.idx DESC LIMIT 1;

-- name: put_position
-- Transactions are counted from here, so whatever comes stands behind it.
UPDATE position SET epoch = $1, commit_no = $2, idx = $3, base = $2;
