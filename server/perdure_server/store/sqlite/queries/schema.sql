-- name: has_schema
SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'schema';

-- name: schema_version
SELECT max(version), max(min_server) FROM schema;

-- name: last_position
SELECT epoch, commit_no, idx FROM position;

-- name: record_position
UPDATE position SET commit_no = ?, idx = ?;

-- name: begin_write
-- Takes the write lock at once: a transaction that has to wait for it later could not go on.
BEGIN IMMEDIATE;
