-- What only SQLite needs.

-- name: begin_read
-- The queries that follow all see the database at one point.
BEGIN;

-- name: run_version_and_lease
-- What a report relies on, which is a task: one statement instead of two.
SELECT
    version, (SELECT lease FROM tasks WHERE run_id = runs.run_id AND kind = ?2 AND seq = ?3)
FROM runs WHERE run_id = ?1;
