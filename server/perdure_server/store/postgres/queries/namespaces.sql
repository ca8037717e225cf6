-- Namespaces that were created.

-- name: insert_namespace
INSERT INTO namespaces (name, created_at_us) VALUES ($1, $2)
ON CONFLICT DO NOTHING RETURNING name;

-- name: find_namespace
SELECT name, created_at_us FROM namespaces WHERE name = $1;

-- name: list_namespaces
SELECT name, created_at_us FROM namespaces WHERE name > $1 ORDER BY name LIMIT $2;

-- name: delete_namespace
DELETE FROM namespaces WHERE name = $1 RETURNING name;
