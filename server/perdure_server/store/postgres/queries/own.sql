-- What only PostgreSQL needs: the frames of statements that are put together from named queries,
-- the state of a session, and the locks of many servers.

-- name: flush
-- Many changesets in one statement, which is one transaction. Each has a number `n`. The checks
-- answer the numbers that are refused, and why; the writes leave those out. A row that another
-- server inserts meanwhile breaks a unique key and with it the whole statement: run again, it finds
-- that row. What was written is told to the other servers.
WITH place AS MATERIALIZED (
    SELECT base + pg_current_xact_id()::text::bigint AS commit_no FROM position
),
refused AS MATERIALIZED (
    SELECT n, min(why) AS why FROM ({checks}) AS found GROUP BY n
){writes},
told AS MATERIALIZED (
    SELECT count(pg_notify($1, payload)) AS messages FROM (
        SELECT CASE
            WHEN sum(octet_length(word) + 1) < 7900 THEN $2 || string_agg(E'\n' || word, '')
            ELSE $2 || E'\n*'
        END AS payload
        FROM (
            SELECT word, row_number() OVER () / 150 AS page FROM (
                SELECT DISTINCT word FROM unnest($3::int[], $4::text[]) AS given (n, word)
                WHERE n NOT IN (SELECT n FROM refused)
            ) AS words
        ) AS numbered
        GROUP BY page
    ) AS pages
)
SELECT place.commit_no, told.messages, refused.n, refused.why
FROM place CROSS JOIN told LEFT JOIN refused ON true;

-- name: request_recorded
-- Refuses those with a request that was answered before.
SELECT n, 1 AS why
FROM unnest($1::int[], $2::text[], $3::text[], $4::text[], $5::text[])
    AS given (n, namespace, workflow_id, rpc, request_id)
CROSS JOIN LATERAL (
    SELECT FROM requests
    WHERE requests.namespace = given.namespace
        AND requests.workflow_id = given.workflow_id
        AND requests.rpc = given.rpc
        AND requests.request_id = given.request_id
    OFFSET 0
) AS recorded;

-- name: message_taken
-- Refuses those with a message that was recorded before. The rows of the others stay locked, taken
-- in one order, so that servers never wait for each other in a circle.
WITH given AS MATERIALIZED (
    SELECT n, sender_run_id, seq
    FROM unnest($1::int[], $2::text[], $3::bigint[]) AS given (n, sender_run_id, seq)
),
held AS MATERIALIZED (
    SELECT locked.sender_run_id, locked.seq
    FROM (SELECT sender_run_id, seq FROM given ORDER BY sender_run_id, seq) AS ordered
    CROSS JOIN LATERAL (
        SELECT inbox.sender_run_id, inbox.seq FROM inbox
        WHERE inbox.sender_run_id = ordered.sender_run_id AND inbox.seq = ordered.seq
        FOR UPDATE
    ) AS locked
)
SELECT n, 4 AS why FROM given
WHERE (sender_run_id, seq) NOT IN (SELECT sender_run_id, seq FROM held);

-- name: schedule_taken
-- Refuses those whose new schedule exists.
SELECT n, 3 AS why
FROM unnest($1::int[], $2::text[], $3::text[]) AS given (n, namespace, name)
CROSS JOIN LATERAL (
    SELECT FROM schedules
    WHERE schedules.namespace = given.namespace AND schedules.name = given.name
    OFFSET 0
) AS taken;

-- name: nothing_refused
SELECT 0 AS n, 0 AS why WHERE false;

-- name: claim
-- Many claims in one statement; a lane stands in one of them only. The picked rows are locked, so
-- every insert meets its row: that finds it by its key, where a join might walk the table.
WITH RECURSIVE claims AS MATERIALIZED (
    SELECT
        n, namespace, queue, kind, type, room, session_id, worker_identity, poll_lease_us, now_us
    FROM unnest(
        $1::int[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[],
        $8::text[], $9::bigint[], $10::bigint[]
    ) AS given (
        n, namespace, queue, kind, type, room, session_id, worker_identity, poll_lease_us, now_us
    )
),
found (n, priority) AS ({lane_priorities}),
picked AS MATERIALIZED ({ready_tasks}),
leased AS (
    INSERT INTO tasks ({{task_columns}})
    SELECT {{task_columns}} FROM picked
    ON CONFLICT (run_id, kind, seq) DO UPDATE SET
        session_id = excluded.session_id, worker_identity = excluded.worker_identity,
        lease = excluded.lease, leased_at_us = excluded.leased_at_us,
        lease_until_us = excluded.lease_until_us
    RETURNING {{task_columns}}
)
SELECT {{task_columns}} FROM leased;

-- name: load
-- Runs with their pending rows and unseen events in one statement, which is one snapshot. Of these
-- rows each column is an array: a record for each row would take ten times as long to send.
SELECT
    wanted.place, {{run_columns}}, frame,
    a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13,
    t1, t2, t3, t4, t5, t6, t7, t8, t9, t10, t11, t12, t13, t14, t15, t16, t17,
    d1, d2, d3, d4,
    c1, c2, c3, c4, c5, c6, c7,
    u1, u2, u3, u4, u5,
    e1, e2, e3, e4
FROM unnest($1::text[], $2::bigint[]) WITH ORDINALITY AS wanted (id, known_seq, place)
CROSS JOIN LATERAL ({load_run}) AS run
CROSS JOIN LATERAL (
    SELECT
        array_agg(run_id), array_agg(seq), array_agg(name), array_agg(attempt),
        array_agg(scheduled), array_agg(scheduled_at_us), array_agg(lease),
        array_agg(accepted_lease), array_agg(cancel_requested), array_agg(last_failure),
        array_agg(heartbeat_details), array_agg(heartbeat_at_us), array_agg(paused)
    FROM ({load_activities}) AS found
) AS activities (
    a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13
)
CROSS JOIN LATERAL (
    SELECT
        array_agg(run_id), array_agg(kind), array_agg(seq), array_agg(namespace),
        array_agg(queue), array_agg(type), array_agg(priority), array_agg(ready_at_us),
        array_agg(created_at_us), array_agg(attempt), array_agg(lease), array_agg(lease_limit_us),
        array_agg(start_limit_us), array_agg(session_id), array_agg(worker_identity),
        array_agg(leased_at_us), array_agg(lease_until_us)
    FROM ({load_tasks}) AS found
) AS tasks (
    t1, t2, t3, t4, t5, t6, t7, t8, t9, t10, t11, t12, t13, t14, t15, t16, t17
)
CROSS JOIN LATERAL (
    SELECT
        array_agg(run_id), array_agg(kind), array_agg(seq), array_agg(due_at_us)
    FROM ({load_timers}) AS found
) AS timers (
    d1, d2, d3, d4
)
CROSS JOIN LATERAL (
    SELECT
        array_agg(run_id), array_agg(seq), array_agg(workflow_id), array_agg(workflow_type),
        array_agg(child_run_id), array_agg(policy), array_agg(closed)
    FROM ({load_children}) AS found
) AS children (
    c1, c2, c3, c4, c5, c6, c7
)
CROSS JOIN LATERAL (
    SELECT
        array_agg(run_id), array_agg(seq), array_agg(name), array_agg(update_id),
        array_agg(outcome)
    FROM ({load_updates}) AS found
) AS updates (
    u1, u2, u3, u4, u5
)
CROSS JOIN LATERAL (
    SELECT
        array_agg(seq), array_agg(kind), array_agg(at_us), array_agg(frame)
    FROM ({load_tail}) AS found
) AS tail (
    e1, e2, e3, e4
);

-- name: prepare_session
-- Plans are made once and never walk a table: of a young table, or one that is empty at the moment,
-- the planner would think that cheaper, and the plan would stay when the table has grown. What finds
-- rows by their whole keys does without index scans too: what is left are bitmaps, which no plan
-- can use to walk. A commit is on the disk when it is answered.
SELECT
    set_config('search_path', quote_ident($1), false),
    set_config('application_name', 'perdure ' || $1, false),
    set_config('default_transaction_isolation', 'read committed', false),
    set_config('plan_cache_mode', 'force_generic_plan', false),
    set_config('enable_seqscan', 'off', false),
    set_config('enable_indexscan', $5, false),
    set_config('enable_indexonlyscan', $5, false),
    set_config('enable_hashjoin', 'off', false),
    set_config('enable_mergejoin', 'off', false),
    set_config('jit', 'off', false),
    set_config('statement_timeout', $2, false),
    set_config('lock_timeout', $3, false),
    set_config('idle_in_transaction_session_timeout', $4, false),
    CASE current_setting('synchronous_commit')
        WHEN 'off' THEN set_config('synchronous_commit', 'on', false)
    END;

-- name: lock_migrations
SELECT pg_advisory_lock(hashtext('perdure migrations'), hashtext($1));

-- name: share_migrations
-- Until the end of the transaction nobody migrates, and nobody is in the middle of it.
SELECT pg_advisory_xact_lock_shared(hashtext('perdure migrations'), hashtext($1));

-- name: unlock_migrations
SELECT pg_advisory_unlock(hashtext('perdure migrations'), hashtext($1));

-- name: missing_schema
-- The statement that makes the schema, when there is none.
SELECT format('CREATE SCHEMA %I', $1::text) WHERE to_regnamespace(quote_ident($1)) IS NULL;

-- name: renew_epoch
-- Only a database restored into a cluster with lower transaction numbers holds events at or above
-- the next number.
UPDATE position SET epoch = position.epoch + 1, base = last.commit_no
FROM (
    SELECT greatest(
        (SELECT commit_no FROM position),
        (SELECT commit_no FROM events ORDER BY commit_no DESC LIMIT 1)
    ) AS commit_no
) AS last
WHERE last.commit_no >= base + pg_snapshot_xmax(pg_current_snapshot())::text::bigint;

-- name: tell
SELECT pg_notify($1, $2);

-- name: send_note
-- Nothing is lost with it that anybody relies on: no disk need be waited for.
SELECT set_config('synchronous_commit', 'off', true), pg_notify($1, part)
FROM unnest($2::text[]) AS part;

-- name: is_there
SELECT pg_backend_pid();

-- name: begin_together
BEGIN;

-- name: alone
-- Who waits for the lock is served in the order of asking.
SELECT pg_advisory_xact_lock(hashtextextended($1::text || ' ' || $2::text, 0));

-- name: join
INSERT INTO servers (server_id, beat_at_us)
VALUES ($1, floor(extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
RETURNING beat_at_us;

-- name: beat
WITH clock AS MATERIALIZED (
    SELECT floor(extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now_us
),
beaten AS (
    UPDATE servers SET beat_at_us = clock.now_us FROM clock WHERE server_id = $1
    RETURNING beat_at_us
)
SELECT
    beaten.beat_at_us,
    (
        SELECT count(*) FROM servers
        WHERE server_id <> $1 AND clock.now_us - servers.beat_at_us <= $2
    ),
    ARRAY(
        SELECT server_id FROM servers
        WHERE server_id <> $1 AND clock.now_us - servers.beat_at_us > $2 ORDER BY server_id
    ),
    (SELECT max(version) FROM schema),
    (SELECT max(min_server) FROM schema)
FROM clock CROSS JOIN beaten;

-- name: lock_servers
-- In the order of their ids, so that two servers that bury each other do not wait in a circle.
SELECT
    server_id, floor(extract(epoch FROM clock_timestamp()) * 1000000)::bigint - beat_at_us
FROM servers WHERE server_id = ANY($1::text[]) ORDER BY server_id FOR UPDATE;

-- name: bury
-- After lock_servers: so it sees every session that the buried server took while it lived.
WITH buried AS (
    DELETE FROM servers WHERE server_id = $2
),
disconnected AS (
    DELETE FROM workers WHERE server_id = $2
)
UPDATE sessions SET server_id = $1 WHERE server_id = $2 RETURNING session_id;

-- name: leave
WITH left_behind AS (
    DELETE FROM sessions WHERE server_id = $1
),
disconnected AS (
    DELETE FROM workers WHERE server_id = $1
)
DELETE FROM servers WHERE server_id = $1;

-- name: lock_server
-- Until the end of the transaction nobody buries the server.
SELECT server_id FROM servers WHERE server_id = $1 FOR KEY SHARE;

-- name: lock_session
-- Answers who has the session; nobody has one that is new.
INSERT INTO sessions (session_id, server_id) VALUES ($1, '')
ON CONFLICT (session_id) DO UPDATE SET server_id = sessions.server_id
RETURNING server_id;

-- name: own_session
UPDATE sessions SET server_id = $2 WHERE session_id = $1;

-- name: held_tasks
SELECT {{task_columns}} FROM tasks WHERE session_id = $1;

-- name: release_session
DELETE FROM sessions WHERE session_id = $1 AND server_id = $2 RETURNING session_id;

-- name: leases_here
SELECT {{task_columns}} FROM tasks
WHERE session_id IS NOT NULL
    AND session_id NOT IN (SELECT session_id FROM sessions WHERE server_id <> $1);

-- name: overdue
SELECT
    ARRAY(
        SELECT found FROM (
            SELECT run_id, kind, seq, due_at_us FROM timers
            WHERE due_at_us < $1 ORDER BY due_at_us, run_id, kind, seq LIMIT $2
        ) AS found
    ),
    ARRAY(
        SELECT found FROM (
            SELECT {{task_columns}} FROM tasks
            WHERE session_id IS NOT NULL AND lease_until_us < $1
            ORDER BY lease_until_us, run_id, kind, seq LIMIT $2
        ) AS found
    ),
    ARRAY(
        SELECT found FROM (
            SELECT {{message_columns}} FROM inbox
            WHERE (sender_run_id, seq) > ('', 0) AND created_at_us < $1
            ORDER BY sender_run_id, seq LIMIT $2
        ) AS found
    );

-- name: ready_lanes
-- The first task of each lane and priority, each found by one seek.
WITH RECURSIVE firsts AS (
    (
        SELECT namespace, queue, kind, type, priority, ready_at_us FROM tasks
        WHERE session_id IS NULL
        ORDER BY namespace, queue, kind, type, priority, ready_at_us LIMIT 1
    )
    UNION ALL
    SELECT next.namespace, next.queue, next.kind, next.type, next.priority, next.ready_at_us
    FROM firsts CROSS JOIN LATERAL (
        SELECT
            tasks.namespace, tasks.queue, tasks.kind, tasks.type, tasks.priority, tasks.ready_at_us
        FROM tasks
        WHERE session_id IS NULL
            AND (tasks.namespace, tasks.queue, tasks.kind, tasks.type, tasks.priority)
            > (firsts.namespace, firsts.queue, firsts.kind, firsts.type, firsts.priority)
        ORDER BY
            tasks.namespace, tasks.queue, tasks.kind, tasks.type, tasks.priority, tasks.ready_at_us
        LIMIT 1
    ) AS next
)
SELECT DISTINCT namespace, queue, kind, type FROM firsts WHERE ready_at_us <= $1;

-- name: begin_snapshot
-- All that is read until the end is of one moment.
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;

-- name: try_lock_migrations
SELECT pg_try_advisory_lock(hashtext('perdure migrations'), hashtext($1));

-- name: count_servers
-- Those that live: their last beat is not longer ago than this.
SELECT count(*) FROM servers
WHERE beat_at_us >= floor(extract(epoch FROM clock_timestamp()) * 1000000)::bigint - $1;
