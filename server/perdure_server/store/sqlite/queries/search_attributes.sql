-- What runs are found by.

-- part: key_columns
run_id, name, value, namespace, is_least

-- name: put_key
INSERT INTO search_attributes ({{key_columns}}) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (run_id, name, value) DO UPDATE SET
    namespace = excluded.namespace, is_least = excluded.is_least;

-- name: delete_key
DELETE FROM search_attributes WHERE run_id = ? AND name = ? AND value = ?;

-- name: delete_keys
DELETE FROM search_attributes WHERE run_id = ?;
