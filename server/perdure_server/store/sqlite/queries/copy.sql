-- Whole tables in the order of their keys, a batch after a key at a time, and where they end.

-- name: copied_runs
SELECT
    run_id, namespace, workflow_id, workflow_type, task_queue, generation, status, version, attempt,
    priority, created_at_us, updated_at_us, started_at_us, closed_at_us, history_length,
    history_bytes, seen_seq, stimulus_seq, task_lease, accepted_lease, task_failure,
    activity_seq_max, timer_seq_max, wait_seq_max, cancel_requested, cancel_reason, previous_run_id,
    next_run_id
FROM runs WHERE run_id > ? ORDER BY run_id LIMIT ?;

-- name: copied_events
SELECT run_id, seq, kind, at_us, frame, commit_no, idx FROM events
WHERE (run_id, seq) > (?, ?) ORDER BY run_id, seq LIMIT ?;

-- name: copied_activities
SELECT
    run_id, seq, name, attempt, scheduled, scheduled_at_us, lease, accepted_lease, cancel_requested,
    last_failure, heartbeat_details, heartbeat_at_us
FROM activities WHERE (run_id, seq) > (?, ?) ORDER BY run_id, seq LIMIT ?;

-- name: copied_tasks
SELECT
    run_id, kind, seq, namespace, queue, type, priority, ready_at_us, created_at_us, attempt, lease,
    lease_limit_us, start_limit_us, session_id, worker_identity, leased_at_us, lease_until_us
FROM tasks WHERE (run_id, kind, seq) > (?, ?, ?) ORDER BY run_id, kind, seq LIMIT ?;

-- name: copied_timers
SELECT run_id, kind, seq, due_at_us FROM timers
WHERE (run_id, kind, seq) > (?, ?, ?) ORDER BY run_id, kind, seq LIMIT ?;

-- name: copied_requests
SELECT namespace, workflow_id, rpc, request_id, fingerprint, response, created_at_us FROM requests
WHERE (namespace, workflow_id, rpc, request_id) > (?, ?, ?, ?)
ORDER BY namespace, workflow_id, rpc, request_id LIMIT ?;

-- name: copied_namespaces
SELECT name, created_at_us FROM namespaces WHERE name > ? ORDER BY name LIMIT ?;

-- name: copied_api_keys
SELECT digest, prefix, label, created_at_us FROM api_keys
WHERE digest > ? ORDER BY digest LIMIT ?;

-- name: copied_position
-- The epoch, and the last place that an event has or had.
SELECT epoch, commit_no, idx FROM position;

-- name: put_position
UPDATE position SET epoch = ?, commit_no = ?, idx = ?;
