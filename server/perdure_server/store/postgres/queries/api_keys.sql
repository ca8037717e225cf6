-- API keys, as digests. They are few: none of these needs an index of its own.

-- name: insert_api_key
INSERT INTO api_keys (digest, prefix, label, created_at_us) VALUES ($1, $2, $3, $4)
ON CONFLICT DO NOTHING RETURNING prefix;

-- name: list_api_keys
SELECT digest, prefix, label, created_at_us FROM api_keys ORDER BY created_at_us DESC, prefix DESC;

-- name: has_api_key
SELECT 1 FROM api_keys LIMIT 1;

-- name: find_api_key
SELECT digest, prefix, label, created_at_us FROM api_keys WHERE label = $1
ORDER BY created_at_us DESC, prefix DESC LIMIT 1;

-- name: delete_api_key
DELETE FROM api_keys WHERE prefix = $1 RETURNING prefix;
