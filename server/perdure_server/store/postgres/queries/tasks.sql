-- Tasks, ready or leased.

-- part: task_columns
run_id, kind, seq, namespace, queue, type, priority, ready_at_us, created_at_us, attempt, lease,
lease_limit_us, start_limit_us, session_id, worker_identity, leased_at_us, lease_until_us

-- name: put_task
INSERT INTO tasks ({{task_columns}})
SELECT {{task_columns}} FROM unnest(
    $1::int[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::text[],
    $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[],
    $14::bigint[], $15::text[], $16::text[], $17::bigint[], $18::bigint[]
) AS given (n, {{task_columns}})
WHERE n NOT IN (SELECT n FROM refused)
ON CONFLICT (run_id, kind, seq) DO UPDATE SET
    namespace = excluded.namespace, queue = excluded.queue, type = excluded.type, priority =
    excluded.priority, ready_at_us = excluded.ready_at_us, created_at_us = excluded.created_at_us,
    attempt = excluded.attempt, lease = excluded.lease, lease_limit_us = excluded.lease_limit_us,
    start_limit_us = excluded.start_limit_us, session_id = excluded.session_id, worker_identity =
    excluded.worker_identity, leased_at_us = excluded.leased_at_us, lease_until_us =
    excluded.lease_until_us;

-- name: delete_task
DELETE FROM tasks
USING unnest($1::int[], $2::text[], $3::text[], $4::bigint[]) AS given (n, run_id, kind, seq)
WHERE tasks.run_id = given.run_id AND tasks.kind = given.kind AND tasks.seq = given.seq
    AND n NOT IN (SELECT n FROM refused);

-- name: delete_tasks
DELETE FROM tasks
WHERE run_id = ANY(ARRAY(
    SELECT run_id FROM unnest($1::int[], $2::text[]) AS given (n, run_id)
    WHERE n NOT IN (SELECT n FROM refused)
));

-- name: load_tasks
SELECT {{task_columns}} FROM tasks WHERE run_id = $1;

-- name: task_lease
-- Refuses those whose task is missing or has another lease. The rows of the others stay locked.
WITH given AS MATERIALIZED (
    SELECT n, run_id, kind, seq, lease
    FROM unnest($1::int[], $2::text[], $3::text[], $4::bigint[], $5::bigint[])
        AS given (n, run_id, kind, seq, lease)
),
held AS MATERIALIZED (
    SELECT locked.run_id, locked.kind, locked.seq
    FROM (SELECT run_id, kind, seq, lease FROM given ORDER BY run_id, kind, seq) AS ordered
    CROSS JOIN LATERAL (
        SELECT tasks.run_id, tasks.kind, tasks.seq FROM tasks
        WHERE tasks.run_id = ordered.run_id AND tasks.kind = ordered.kind
            AND tasks.seq = ordered.seq AND tasks.lease = ordered.lease
        FOR NO KEY UPDATE
    ) AS locked
)
SELECT n, 3 AS why FROM given
WHERE (run_id, kind, seq) NOT IN (SELECT run_id, kind, seq FROM held);

-- name: lane_priorities
-- The priorities that occur in the lanes of `claims`, each found by one seek; part of `claim`.
SELECT claims.n, (
    SELECT tasks.priority FROM tasks
    WHERE session_id IS NULL AND tasks.namespace = claims.namespace
        AND tasks.queue = claims.queue AND tasks.kind = claims.kind AND tasks.type = claims.type
    ORDER BY tasks.priority LIMIT 1
)
FROM claims
UNION ALL
SELECT found.n, (
    SELECT tasks.priority FROM tasks
    WHERE session_id IS NULL AND tasks.namespace = claims.namespace
        AND tasks.queue = claims.queue AND tasks.kind = claims.kind AND tasks.type = claims.type
        AND tasks.priority > found.priority
    ORDER BY tasks.priority LIMIT 1
)
FROM found JOIN claims ON claims.n = found.n
WHERE found.priority IS NOT NULL;

-- name: ready_tasks
-- What each of `claims` gets; part of `claim`. One priority at a time: the index then ends the walk
-- at the first task that is not ready yet. What another server is about to take is passed over.
SELECT
    walked.run_id, walked.kind, walked.seq, walked.namespace, walked.queue, walked.type,
    walked.priority, walked.ready_at_us, walked.created_at_us, walked.attempt,
    walked.lease + 1 AS lease, walked.lease_limit_us, walked.start_limit_us, claims.session_id,
    claims.worker_identity, claims.now_us AS leased_at_us,
    claims.now_us + coalesce(walked.lease_limit_us, claims.poll_lease_us) AS lease_until_us
FROM claims CROSS JOIN LATERAL (
    SELECT {{task_columns}}
    FROM (
        SELECT priority FROM found
        WHERE found.n = claims.n AND priority IS NOT NULL ORDER BY priority
    ) AS level (rank)
    CROSS JOIN LATERAL (
        SELECT {{task_columns}} FROM tasks
        WHERE tasks.session_id IS NULL AND tasks.namespace = claims.namespace
            AND tasks.queue = claims.queue AND tasks.kind = claims.kind
            AND tasks.type = claims.type AND tasks.priority = level.rank
            AND tasks.ready_at_us <= claims.now_us
        ORDER BY tasks.ready_at_us, tasks.run_id, tasks.seq LIMIT claims.room
        FOR NO KEY UPDATE SKIP LOCKED
    ) AS ready
    LIMIT claims.room
) AS walked;

-- name: extend_lease
-- The rows are locked in the order of their key first, as every other writer of many does.
WITH given AS MATERIALIZED (
    SELECT lease_until_us, run_id, kind, seq, lease
    FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::bigint[])
        AS given (lease_until_us, run_id, kind, seq, lease)
),
held AS MATERIALIZED (
    SELECT locked.run_id, locked.kind, locked.seq, locked.session_id, ordered.lease_until_us
    FROM (
        SELECT lease_until_us, run_id, kind, seq, lease FROM given ORDER BY run_id, kind, seq
    ) AS ordered
    CROSS JOIN LATERAL (
        SELECT tasks.run_id, tasks.kind, tasks.seq, tasks.session_id FROM tasks
        WHERE tasks.run_id = ordered.run_id AND tasks.kind = ordered.kind
            AND tasks.seq = ordered.seq AND tasks.lease = ordered.lease
        FOR NO KEY UPDATE
    ) AS locked
)
UPDATE tasks SET lease_until_us = held.lease_until_us
FROM held
-- Whether a session holds it is asked of the row that was found: asked of the table, it would invite
-- the index of all leased tasks.
WHERE tasks.run_id = held.run_id AND tasks.kind = held.kind AND tasks.seq = held.seq
    AND held.session_id IS NOT NULL;

-- name: leased_tasks
SELECT {{task_columns}} FROM tasks WHERE session_id IS NOT NULL;

-- name: lane_depths
SELECT namespace, queue, kind, type, count(*), min(ready_at_us) FROM tasks
WHERE session_id IS NULL GROUP BY namespace, queue, kind, type;

-- name: queue_depths
-- Tasks that wait are counted in their index; those held, which are few, are found by a walk. What a
-- paused run keeps from workers waits too.
SELECT queue, kind, 0, count(*), min(ready_at_us) FILTER (WHERE ready_at_us <= $2) FROM tasks
WHERE session_id IS NULL AND namespace = $1 GROUP BY queue, kind
UNION ALL
SELECT
    queue, kind, CASE WHEN session_id = '' AND leased_at_us IS NULL THEN 0 ELSE 1 END, count(*), NULL
FROM tasks
WHERE session_id IS NOT NULL AND namespace = $1 GROUP BY 1, 2, 3;
