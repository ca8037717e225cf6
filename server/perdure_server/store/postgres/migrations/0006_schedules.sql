-- Schedules: who is to start workflows, and when next.
--
-- `record` is the encoded Schedule of the contract; the other columns are what a row is found by.
-- A schedule is served at `serve_at_us`; one that `waits` has to learn how a workflow of it ends.

BEGIN;

CREATE TABLE schedules (
    namespace   text COLLATE "C" NOT NULL,
    name        text COLLATE "C" NOT NULL,
    version     bigint           NOT NULL,
    serve_at_us bigint,
    waits       boolean          NOT NULL,
    record      bytea            NOT NULL,
    PRIMARY KEY (namespace, name)
) WITH (autovacuum_vacuum_scale_factor = 0.05);

CREATE INDEX schedules_by_time ON schedules (serve_at_us, namespace, name)
    WHERE serve_at_us IS NOT NULL;

CREATE INDEX schedules_that_wait ON schedules (namespace, name) WHERE waits;

INSERT INTO schema (version, min_server) VALUES (6, 5);

COMMIT;
