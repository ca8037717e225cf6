-- Namespaces that were created.

-- name: insert_namespace
INSERT INTO namespaces (
    name, created_at_us, retention_us, sweep_at_us, expired_commit, expired_index
)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT DO NOTHING RETURNING name;

-- name: find_namespace
SELECT name, created_at_us, retention_us, sweep_at_us, expired_commit, expired_index
FROM namespaces WHERE name = $1;

-- name: list_namespaces
SELECT name, created_at_us, retention_us, sweep_at_us, expired_commit, expired_index
FROM namespaces WHERE name > $1 ORDER BY name LIMIT $2;

-- name: set_retention
UPDATE namespaces SET retention_us = $2, sweep_at_us = 0 WHERE name = $1
RETURNING name, created_at_us, retention_us, sweep_at_us, expired_commit, expired_index;

-- name: claim_sweep
UPDATE namespaces SET sweep_at_us = $2 WHERE name = (
    SELECT name FROM namespaces WHERE retention_us IS NOT NULL AND sweep_at_us <= $1
    ORDER BY sweep_at_us, name LIMIT 1 FOR UPDATE SKIP LOCKED
)
RETURNING name, created_at_us, retention_us, sweep_at_us, expired_commit, expired_index;

-- name: note_expired
-- Keeps the place of the last event that is about to be deleted.
UPDATE namespaces SET expired_commit = $2::bigint, expired_index = $3::bigint
WHERE name = $1 AND ($2::bigint, $3::bigint) > (expired_commit, expired_index);

-- name: delete_namespace
DELETE FROM namespaces WHERE name = $1 RETURNING name;
