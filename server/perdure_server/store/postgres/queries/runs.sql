-- Rows of `runs` and what lists show of them.

-- part: run_columns
run_id, namespace, workflow_id, workflow_type, task_queue, generation, status, version, attempt,
priority, created_at_us, updated_at_us, started_at_us, closed_at_us, history_length, history_bytes,
seen_seq, stimulus_seq, task_lease, accepted_lease, task_failure, activity_seq_max, timer_seq_max,
wait_seq_max, cancel_requested, cancel_reason, previous_run_id, next_run_id, parent_run_id,
parent_seq, sent_max, child_seq_max, signal_seq_max, cancel_seq_max, side_effect_seq_max,
step_seq_max, attribute_seq_max, pause, attributes, parent_workflow_id

-- name: insert_run
-- In the order of their unique key: two servers that insert the same ones then wait in one direction.
INSERT INTO runs ({{run_columns}})
SELECT {{run_columns}} FROM unnest(
    $1::int[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::text[],
    $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[],
    $15::bigint[], $16::bigint[], $17::bigint[], $18::bigint[], $19::bigint[], $20::bigint[],
    $21::bigint[], $22::bytea[], $23::bigint[], $24::bigint[], $25::bigint[], $26::boolean[],
    $27::text[], $28::text[], $29::text[], $30::text[], $31::bigint[], $32::bigint[],
    $33::bigint[], $34::bigint[], $35::bigint[], $36::bigint[], $37::bigint[], $38::bigint[],
    $39::bytea[], $40::bytea[], $41::text[]
) AS given (n, {{run_columns}})
WHERE n NOT IN (SELECT n FROM refused)
ORDER BY workflow_id, generation, namespace;

-- name: update_run
-- The parameters are those of insert_run. A run's identity never changes: namespace, workflow
-- id, type, generation, attempt, creation, the run before it and its number in the parent. The row
-- exists, so every insert meets it: that finds it by its key, where a join might walk the table.
INSERT INTO runs ({{run_columns}})
SELECT {{run_columns}} FROM unnest(
    $1::int[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::text[],
    $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[],
    $15::bigint[], $16::bigint[], $17::bigint[], $18::bigint[], $19::bigint[], $20::bigint[],
    $21::bigint[], $22::bytea[], $23::bigint[], $24::bigint[], $25::bigint[], $26::boolean[],
    $27::text[], $28::text[], $29::text[], $30::text[], $31::bigint[], $32::bigint[],
    $33::bigint[], $34::bigint[], $35::bigint[], $36::bigint[], $37::bigint[], $38::bigint[],
    $39::bytea[], $40::bytea[], $41::text[]
) AS given (n, {{run_columns}})
WHERE n NOT IN (SELECT n FROM refused)
ON CONFLICT (run_id) DO UPDATE SET
    task_queue = excluded.task_queue, status = excluded.status, version = excluded.version, priority
    = excluded.priority, updated_at_us = excluded.updated_at_us, started_at_us =
    excluded.started_at_us, closed_at_us = excluded.closed_at_us, history_length =
    excluded.history_length, history_bytes = excluded.history_bytes, seen_seq = excluded.seen_seq,
    stimulus_seq = excluded.stimulus_seq, task_lease = excluded.task_lease, accepted_lease =
    excluded.accepted_lease, task_failure = excluded.task_failure, activity_seq_max =
    excluded.activity_seq_max, timer_seq_max = excluded.timer_seq_max, wait_seq_max =
    excluded.wait_seq_max, cancel_requested = excluded.cancel_requested, cancel_reason =
    excluded.cancel_reason, next_run_id = excluded.next_run_id, parent_run_id = excluded.parent_run_id,
    sent_max = excluded.sent_max, child_seq_max = excluded.child_seq_max, signal_seq_max =
    excluded.signal_seq_max, cancel_seq_max = excluded.cancel_seq_max, side_effect_seq_max =
    excluded.side_effect_seq_max, step_seq_max = excluded.step_seq_max, attribute_seq_max =
    excluded.attribute_seq_max, pause = excluded.pause, attributes = excluded.attributes,
    parent_workflow_id = excluded.parent_workflow_id;

-- name: run_version
-- Refuses those whose run is not at the version they expect. The rows of the others stay locked,
-- taken in one order, so that servers never wait for each other in a circle.
WITH given AS MATERIALIZED (
    SELECT n, run_id, version
    FROM unnest($1::int[], $2::text[], $3::bigint[]) AS given (n, run_id, version)
),
held AS MATERIALIZED (
    SELECT locked.run_id
    FROM (SELECT run_id, version FROM given ORDER BY run_id) AS ordered
    CROSS JOIN LATERAL (
        SELECT runs.run_id FROM runs
        WHERE runs.run_id = ordered.run_id AND runs.version = ordered.version
        FOR NO KEY UPDATE
    ) AS locked
)
SELECT n, 3 AS why FROM given WHERE run_id NOT IN (SELECT run_id FROM held);

-- name: run_taken
-- Refuses those whose run, or whose generation of the workflow, exists.
WITH given AS MATERIALIZED (
    SELECT n, run_id, namespace, workflow_id, generation
    FROM unnest($1::int[], $2::text[], $3::text[], $4::text[], $5::bigint[])
        AS given (n, run_id, namespace, workflow_id, generation)
)
SELECT n, 2 AS why
FROM given CROSS JOIN LATERAL (
    SELECT FROM runs WHERE runs.run_id = given.run_id OFFSET 0
) AS taken
UNION ALL
SELECT n, 2 AS why
FROM given CROSS JOIN LATERAL (
    SELECT FROM runs
    WHERE runs.workflow_id = given.workflow_id AND runs.generation = given.generation
        AND runs.namespace IS NOT DISTINCT FROM given.namespace
    OFFSET 0
) AS taken;

-- name: find_run
-- By its id first, and by no other index.
SELECT run_id
FROM (SELECT run_id, namespace, workflow_id FROM runs WHERE run_id = $3 OFFSET 0) AS found
WHERE namespace = $1 AND workflow_id = $2;

-- name: find_latest_run
-- "Not distinct" is "equal" that no index serves: only the index of the workflow id is left.
SELECT run_id FROM runs WHERE namespace IS NOT DISTINCT FROM $1 AND workflow_id = $2
ORDER BY generation DESC LIMIT 1;

-- name: load_run
SELECT
    {{run_columns}},
    (SELECT frame FROM events WHERE events.run_id = runs.run_id AND events.seq = 1)
FROM runs WHERE run_id = $1;

-- name: summarize_run
SELECT {{run_columns}}, started, closed FROM run_summaries WHERE run_id = $1;

-- name: count_runs
SELECT status, count(*) FROM runs WHERE namespace = $1 GROUP BY status;

-- name: run_ids
SELECT run_id FROM runs WHERE namespace = $1 AND status = $2 ORDER BY run_id LIMIT $3;

-- name: closed_runs
SELECT
    run_id, workflow_id, history_length, history_bytes,
    (SELECT commit_no FROM events WHERE run_id = runs.run_id AND seq = runs.history_length),
    (SELECT idx FROM events WHERE run_id = runs.run_id AND seq = runs.history_length)
FROM runs
WHERE namespace = $1 AND closed_at_us IS NOT NULL AND closed_at_us < $2
ORDER BY closed_at_us, run_id LIMIT $3;

-- name: delete_run
DELETE FROM runs
WHERE run_id = ANY(ARRAY(
    SELECT run_id FROM unnest($1::int[], $2::text[]) AS given (n, run_id)
    WHERE n NOT IN (SELECT n FROM refused)
));

-- name: list_children
SELECT {{run_columns}}, started, closed FROM run_summaries
WHERE parent_run_id = $1 AND parent_run_id <> '' AND run_id > $2
ORDER BY run_id LIMIT $3;
