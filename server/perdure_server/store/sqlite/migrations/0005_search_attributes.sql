-- What runs are found by.
--
-- `search_attributes` has a row for each key of each attribute of a run; a run that closed keeps
-- its rows. The order of the keys is the order of the values, whatever their type. `is_least`
-- marks the first key of each name, by which lists are sorted. The attributes themselves stand in
-- the row of the run.

BEGIN IMMEDIATE;

CREATE TABLE search_attributes (
    run_id    TEXT    NOT NULL,
    name      TEXT    NOT NULL,
    value     BLOB    NOT NULL,
    namespace TEXT    NOT NULL,
    is_least  INTEGER NOT NULL,
    PRIMARY KEY (run_id, name, value)
) STRICT, WITHOUT ROWID;

-- The runs that have a key, newest last, and the keys of a name in their order.
CREATE INDEX search_attributes_by_value ON search_attributes (namespace, name, value, run_id);

-- Runs of a time.
CREATE INDEX runs_by_creation ON runs (namespace, created_at_us, run_id);
CREATE INDEX runs_by_closing ON runs (namespace, closed_at_us, run_id)
    WHERE closed_at_us IS NOT NULL;

INSERT INTO schema (version, min_server) VALUES (5, 5);

COMMIT;
