-- What operators keep: namespaces and API keys.
--
-- A row of `namespaces` says only that somebody created it: runs name their namespace whether it
-- has a row or not. `main` has one from the beginning; in a database that had runs before, it is
-- as old as the first of them. `api_keys` holds no key, but what tells whether one was given out.

BEGIN IMMEDIATE;

CREATE TABLE namespaces (
    name          TEXT    PRIMARY KEY,
    created_at_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE api_keys (
    digest        BLOB    PRIMARY KEY,
    prefix        TEXT    NOT NULL UNIQUE,
    label         TEXT    NOT NULL,
    created_at_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO namespaces (name, created_at_us)
SELECT 'main', coalesce(min(created_at_us), CAST(strftime('%s', 'now') AS INTEGER) * 1000000)
FROM (SELECT created_at_us FROM runs ORDER BY run_id LIMIT 1);

INSERT INTO schema (version, min_server) VALUES (2, 1);

COMMIT;
