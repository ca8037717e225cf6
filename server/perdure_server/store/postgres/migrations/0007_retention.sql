-- How long a namespace keeps closed runs.
--
-- `sweep_at_us` is when some server is to delete what is too old; who moves it on is the one that
-- does. Behind the place `expired_commit`, `expired_index` nothing of the namespace was deleted.

BEGIN;

ALTER TABLE namespaces ADD COLUMN retention_us bigint;
ALTER TABLE namespaces ADD COLUMN sweep_at_us bigint NOT NULL DEFAULT 0;
ALTER TABLE namespaces ADD COLUMN expired_commit bigint NOT NULL DEFAULT 0;
ALTER TABLE namespaces ADD COLUMN expired_index bigint NOT NULL DEFAULT -1;

CREATE INDEX namespaces_by_sweep ON namespaces (sweep_at_us, name)
    WHERE retention_us IS NOT NULL;

INSERT INTO schema (version, min_server) VALUES (7, 5);

COMMIT;
