-- Only PostgreSQL leaves behind what a vacuum takes away; here nothing changes but the number.
-- From this version on a history may hold recorded steps, and the inbox adoptions of children, which
-- older servers cannot read.

BEGIN IMMEDIATE;

INSERT INTO schema (version, min_server) VALUES (8, 8);

COMMIT;
