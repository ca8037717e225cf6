-- Namespaces that were created.

-- name: insert_namespace
INSERT INTO namespaces (name, created_at_us) VALUES (?, ?)
ON CONFLICT DO NOTHING RETURNING name;

-- name: find_namespace
SELECT name, created_at_us FROM namespaces WHERE name = ?;

-- name: list_namespaces
SELECT name, created_at_us FROM namespaces WHERE name > ? ORDER BY name LIMIT ?;

-- name: delete_namespace
DELETE FROM namespaces WHERE name = ? RETURNING name;
