-- Tasks, ready or leased.

-- part: task_columns
run_id, kind, seq, namespace, queue, type, priority, ready_at_us, created_at_us, attempt, lease,
lease_limit_us, start_limit_us, session_id, worker_identity, leased_at_us, lease_until_us

-- name: put_task
INSERT INTO tasks ({{task_columns}}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (run_id, kind, seq) DO UPDATE SET
    namespace = excluded.namespace, queue = excluded.queue, type = excluded.type, priority =
    excluded.priority, ready_at_us = excluded.ready_at_us, created_at_us = excluded.created_at_us,
    attempt = excluded.attempt, lease = excluded.lease, lease_limit_us = excluded.lease_limit_us,
    start_limit_us = excluded.start_limit_us, session_id = excluded.session_id, worker_identity =
    excluded.worker_identity, leased_at_us = excluded.leased_at_us, lease_until_us =
    excluded.lease_until_us;

-- name: delete_task
DELETE FROM tasks WHERE run_id = ? AND kind = ? AND seq = ?;

-- name: delete_tasks
DELETE FROM tasks WHERE run_id = ?;

-- name: load_tasks
SELECT {{task_columns}} FROM tasks WHERE run_id = ?;

-- name: task_lease
SELECT lease FROM tasks WHERE run_id = ? AND kind = ? AND seq = ?;

-- name: lane_priorities
-- The priorities that occur in a lane, each found by one seek.
WITH RECURSIVE found (priority) AS (
    SELECT min(priority) FROM tasks
    WHERE session_id IS NULL AND namespace = ?1 AND queue = ?2 AND kind = ?3 AND type = ?4
    UNION ALL
    SELECT (
        SELECT min(tasks.priority) FROM tasks
        WHERE session_id IS NULL AND namespace = ?1 AND queue = ?2 AND kind = ?3 AND type = ?4
            AND tasks.priority > found.priority
    )
    FROM found WHERE found.priority IS NOT NULL
)
SELECT priority FROM found WHERE priority IS NOT NULL;

-- name: ready_tasks
-- One priority at a time: the index then ends the walk at the first task that is not ready yet.
SELECT {{task_columns}} FROM tasks
WHERE session_id IS NULL AND namespace = ? AND queue = ? AND kind = ? AND type = ? AND priority = ?
    AND ready_at_us <= ?
ORDER BY ready_at_us, run_id, seq LIMIT ?;

-- name: extend_lease
UPDATE tasks SET lease_until_us = ?
WHERE run_id = ? AND kind = ? AND seq = ? AND lease = ? AND session_id IS NOT NULL;

-- name: leased_tasks
SELECT {{task_columns}} FROM tasks WHERE session_id IS NOT NULL;

-- name: lane_depths
SELECT namespace, queue, kind, type, count(*), min(ready_at_us) FROM tasks
WHERE session_id IS NULL GROUP BY namespace, queue, kind, type;

-- name: queue_depths
-- Tasks that wait are counted in their index; those held, which are few, are found by a walk. What a
-- paused run keeps from workers waits too.
SELECT queue, kind, 0, count(*), min(ready_at_us) FILTER (WHERE ready_at_us <= ?2) FROM tasks
WHERE session_id IS NULL AND namespace = ?1 GROUP BY queue, kind
UNION ALL
SELECT
    queue, kind, CASE WHEN session_id = '' AND leased_at_us IS NULL THEN 0 ELSE 1 END, count(*), NULL
FROM tasks
WHERE session_id IS NOT NULL AND namespace = ?1 GROUP BY 1, 2, 3;
