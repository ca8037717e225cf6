-- Only PostgreSQL leaves behind what a vacuum takes away; here nothing changes but the number.

BEGIN IMMEDIATE;

INSERT INTO schema (version, min_server) VALUES (8, 5);

COMMIT;
