-- What only SQLite needs.

-- name: begin_read
-- The queries that follow all see the database at one point.
BEGIN;
