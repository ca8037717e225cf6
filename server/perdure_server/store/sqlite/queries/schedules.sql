-- Schedules.

-- part: schedule_columns
namespace, name, version, serve_at_us, waits, record

-- name: insert_schedule
INSERT INTO schedules ({{schedule_columns}}) VALUES (?, ?, ?, ?, ?, ?);

-- name: update_schedule
-- The parameters are those of insert_schedule.
UPDATE schedules SET version = ?3, serve_at_us = ?4, waits = ?5, record = ?6
WHERE namespace = ?1 AND name = ?2;

-- name: delete_schedule
DELETE FROM schedules WHERE namespace = ? AND name = ?;

-- name: delete_schedules
DELETE FROM schedules
WHERE namespace = ?1 AND name IN (
    SELECT name FROM schedules WHERE namespace = ?1 ORDER BY name LIMIT ?2
)
RETURNING name;

-- name: schedule_version
SELECT version FROM schedules WHERE namespace = ? AND name = ?;

-- name: load_schedules
-- The keys are a JSON list of pairs.
SELECT schedules.namespace, schedules.name, version, serve_at_us, waits, record
FROM json_each(?) AS given CROSS JOIN schedules
WHERE schedules.namespace = json_extract(given.value, '$[0]') AND schedules.name = json_extract(given.value, '$[1]');

-- name: list_schedules
SELECT {{schedule_columns}} FROM schedules
WHERE namespace = ? AND name > ? ORDER BY name LIMIT ?;

-- name: due_schedules
SELECT {{schedule_columns}} FROM schedules
WHERE serve_at_us IS NOT NULL AND (serve_at_us, namespace, name) > (?, ?, ?)
ORDER BY serve_at_us, namespace, name LIMIT ?;

-- name: waiting_schedules
SELECT {{schedule_columns}} FROM schedules
WHERE waits = 1 AND (namespace, name) > (?, ?) ORDER BY namespace, name LIMIT ?;

-- name: count_schedules
SELECT count(*) FROM schedules WHERE namespace = ?;

-- name: latest_runs
-- The newest run of each of several workflows; a JSON list of pairs names them.
SELECT runs.namespace, runs.workflow_id, runs.run_id, runs.status
FROM json_each(?) AS given CROSS JOIN runs
WHERE runs.run_id = (
    SELECT latest.run_id FROM runs AS latest
    WHERE latest.namespace = json_extract(given.value, '$[0]') AND latest.workflow_id = json_extract(given.value, '$[1]')
    ORDER BY latest.generation DESC LIMIT 1
);
