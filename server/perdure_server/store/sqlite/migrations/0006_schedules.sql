-- Schedules: who is to start workflows, and when next.
--
-- `record` is the encoded Schedule of the contract; the other columns are what a row is found by.
-- A schedule is served at `serve_at_us`; one that `waits` has to learn how a workflow of it ends.

BEGIN IMMEDIATE;

CREATE TABLE schedules (
    namespace   TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    version     INTEGER NOT NULL,
    serve_at_us INTEGER,
    waits       INTEGER NOT NULL,
    record      BLOB    NOT NULL,
    PRIMARY KEY (namespace, name)
) STRICT, WITHOUT ROWID;

CREATE INDEX schedules_by_time ON schedules (serve_at_us, namespace, name)
    WHERE serve_at_us IS NOT NULL;

CREATE INDEX schedules_that_wait ON schedules (namespace, name) WHERE waits = 1;

INSERT INTO schema (version, min_server) VALUES (6, 5);

COMMIT;
