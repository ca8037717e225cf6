-- Who the workers are: those that registered, and those that are connected to one of the servers.
--
-- A worker that registered stands without a server, so that it is known to whichever it talks to
-- next, also after a restart. It is forgotten at `until_us`, which moves on when it is heard.

BEGIN IMMEDIATE;

CREATE TABLE workers (
    worker_id   TEXT    NOT NULL,
    server_id   TEXT    NOT NULL,
    namespace   TEXT    NOT NULL,
    queue       TEXT    NOT NULL,
    info        BLOB    NOT NULL,
    any_type    INTEGER NOT NULL,
    heard_at_us INTEGER NOT NULL,
    until_us    INTEGER NOT NULL,
    PRIMARY KEY (worker_id, server_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX workers_by_queue ON workers (namespace, queue);

INSERT INTO schema (version, min_server) VALUES (4, 3);

COMMIT;
