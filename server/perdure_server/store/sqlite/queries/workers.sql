-- Workers that registered or are connected. They are few: what is not asked for often has no index.

-- part: worker_columns
worker_id, server_id, namespace, queue, info, any_type, heard_at_us, until_us

-- name: put_worker
INSERT INTO workers ({{worker_columns}}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (worker_id, server_id) DO UPDATE SET
    namespace = excluded.namespace, queue = excluded.queue, info = excluded.info,
    any_type = excluded.any_type, heard_at_us = max(heard_at_us, excluded.heard_at_us),
    until_us = max(until_us, excluded.until_us);

-- name: hear_worker
UPDATE workers SET heard_at_us = max(heard_at_us, ?), until_us = max(until_us, ?)
WHERE worker_id = ?;

-- name: delete_worker
DELETE FROM workers WHERE worker_id = ? AND server_id = ?;

-- name: delete_silent_workers
DELETE FROM workers WHERE until_us <= ?;

-- name: find_workers
SELECT {{worker_columns}} FROM workers WHERE worker_id = ?;

-- name: registered_workers
SELECT {{worker_columns}} FROM workers WHERE server_id = '';

-- name: list_workers
SELECT
    {{worker_columns}},
    (SELECT count(*) FROM tasks WHERE tasks.session_id = workers.worker_id)
FROM workers WHERE namespace = ?1 AND (?2 IS NULL OR queue = ?2) AND until_us > ?3;
