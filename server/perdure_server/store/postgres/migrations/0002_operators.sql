-- What operators keep: namespaces and API keys.
--
-- A row of `namespaces` says only that somebody created it: runs name their namespace whether it
-- has a row or not. `main` has one from the beginning; in a database that had runs before, it is
-- as old as the first of them. `api_keys` holds no key, but what tells whether one was given out.

BEGIN;

CREATE TABLE namespaces (
    name          text COLLATE "C" PRIMARY KEY,
    created_at_us bigint           NOT NULL
);

CREATE TABLE api_keys (
    digest        bytea            PRIMARY KEY,
    prefix        text COLLATE "C" NOT NULL UNIQUE,
    label         text COLLATE "C" NOT NULL,
    created_at_us bigint           NOT NULL
);

INSERT INTO namespaces (name, created_at_us)
SELECT 'main', coalesce(min(created_at_us), floor(extract(epoch FROM now()))::bigint * 1000000)
FROM (SELECT created_at_us FROM runs ORDER BY run_id LIMIT 1) AS first;

INSERT INTO schema (version, min_server) VALUES (2, 1);

COMMIT;
