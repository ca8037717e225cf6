-- Who the workers are: those that registered, and those that are connected to one of the servers.
--
-- A worker that registered stands without a server, so that it is known to whichever it talks to
-- next, also after a restart. It is forgotten at `until_us`, which moves on when it is heard.

BEGIN;

CREATE TABLE workers (
    worker_id   text COLLATE "C" NOT NULL,
    server_id   text COLLATE "C" NOT NULL,
    namespace   text COLLATE "C" NOT NULL,
    queue       text COLLATE "C" NOT NULL,
    info        bytea            NOT NULL,
    any_type    boolean          NOT NULL,
    heard_at_us bigint           NOT NULL,
    until_us    bigint           NOT NULL,
    PRIMARY KEY (worker_id, server_id)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);

CREATE INDEX workers_by_queue ON workers (namespace, queue);

INSERT INTO schema (version, min_server) VALUES (4, 3);

COMMIT;
