-- Schedules.

-- part: schedule_columns
namespace, name, version, serve_at_us, waits, record

-- name: insert_schedule
-- In the order of their key: two servers that insert the same ones then wait in one direction.
INSERT INTO schedules ({{schedule_columns}})
SELECT {{schedule_columns}}
FROM unnest(
    $1::int[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::boolean[], $7::bytea[]
) AS given (n, {{schedule_columns}})
WHERE n NOT IN (SELECT n FROM refused)
ORDER BY namespace, name;

-- name: update_schedule
-- The parameters are those of insert_schedule. The row exists and is locked, so every insert meets
-- it: that finds it by its key, where a join might walk the table.
INSERT INTO schedules ({{schedule_columns}})
SELECT {{schedule_columns}}
FROM unnest(
    $1::int[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::boolean[], $7::bytea[]
) AS given (n, {{schedule_columns}})
WHERE n NOT IN (SELECT n FROM refused)
ON CONFLICT (namespace, name) DO UPDATE SET
    version = excluded.version, serve_at_us = excluded.serve_at_us, waits = excluded.waits,
    record = excluded.record;

-- name: delete_schedule
DELETE FROM schedules
USING unnest($1::int[], $2::text[], $3::text[]) AS given (n, namespace, name)
WHERE schedules.namespace = given.namespace AND schedules.name = given.name
    AND n NOT IN (SELECT n FROM refused);

-- name: delete_schedules
DELETE FROM schedules
WHERE namespace = $1 AND name = ANY(ARRAY(
    SELECT name FROM schedules WHERE namespace = $1 ORDER BY name LIMIT $2
))
RETURNING name;

-- name: schedule_version
-- Refuses those whose schedule is not at the version they expect. The rows of the others stay
-- locked, taken in one order, so that servers never wait for each other in a circle.
WITH given AS MATERIALIZED (
    SELECT n, namespace, name, version
    FROM unnest($1::int[], $2::text[], $3::text[], $4::bigint[])
        AS given (n, namespace, name, version)
),
held AS MATERIALIZED (
    SELECT ordered.n
    FROM (SELECT n, namespace, name, version FROM given ORDER BY namespace, name) AS ordered
    CROSS JOIN LATERAL (
        SELECT FROM schedules
        WHERE schedules.namespace = ordered.namespace AND schedules.name = ordered.name
            AND schedules.version = ordered.version
        FOR NO KEY UPDATE
    ) AS locked
)
SELECT n, 3 AS why FROM given WHERE n NOT IN (SELECT n FROM held);

-- name: load_schedules
SELECT found.namespace, found.name, found.version, found.serve_at_us, found.waits, found.record
FROM unnest($1::text[], $2::text[]) AS given (namespace, name)
CROSS JOIN LATERAL (
    SELECT {{schedule_columns}} FROM schedules
    WHERE schedules.namespace = given.namespace AND schedules.name = given.name
    OFFSET 0
) AS found;

-- name: list_schedules
SELECT {{schedule_columns}} FROM schedules
WHERE namespace = $1 AND name > $2 ORDER BY name LIMIT $3;

-- name: due_schedules
SELECT {{schedule_columns}} FROM schedules
WHERE serve_at_us IS NOT NULL AND (serve_at_us, namespace, name) > ($1, $2, $3)
ORDER BY serve_at_us, namespace, name LIMIT $4;

-- name: waiting_schedules
SELECT {{schedule_columns}} FROM schedules
WHERE waits AND (namespace, name) > ($1, $2) ORDER BY namespace, name LIMIT $3;

-- name: count_schedules
SELECT count(*) FROM schedules WHERE namespace = $1;

-- name: latest_runs
-- The newest run of each of several workflows. "Not distinct" is "equal" that no index serves: only
-- the index of the workflow id is left.
SELECT given.namespace, given.workflow_id, latest.run_id, latest.status
FROM unnest($1::text[], $2::text[]) AS given (namespace, workflow_id)
CROSS JOIN LATERAL (
    SELECT run_id, status FROM runs
    WHERE runs.namespace IS NOT DISTINCT FROM given.namespace
        AND runs.workflow_id = given.workflow_id
    ORDER BY generation DESC LIMIT 1
) AS latest;
