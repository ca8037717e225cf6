-- How soon what changes all the time is vacuumed.
--
-- A claim walks past the index entries of tasks that were claimed before, until a vacuum takes them
-- away: by their share of the table that was the later the more tasks wait. Now a few thousand are
-- enough, whatever the size; the entries go even if they stand on few pages, and nothing slows it.
--
-- From this version on a history may hold recorded steps, and the inbox adoptions of children, which
-- older servers cannot read.

BEGIN;

ALTER TABLE tasks SET (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0, vacuum_index_cleanup = on
);
ALTER TABLE timers SET (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0, vacuum_index_cleanup = on
);
ALTER TABLE inbox SET (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0, vacuum_index_cleanup = on
);

INSERT INTO schema (version, min_server) VALUES (8, 8);

COMMIT;
