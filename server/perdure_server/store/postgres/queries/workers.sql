-- Workers that registered or are connected. They are few: what is not asked for often has no index.

-- part: worker_columns
worker_id, server_id, namespace, queue, info, any_type, heard_at_us, until_us

-- name: put_worker
-- Many at once, in the order of the key: two servers that put the same ones then wait in one
-- direction. A server that was buried has no workers any more.
INSERT INTO workers ({{worker_columns}})
SELECT {{worker_columns}} FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::bytea[], $6::boolean[], $7::bigint[],
    $8::bigint[]
) AS given ({{worker_columns}})
LEFT JOIN LATERAL (
    SELECT true AS lives FROM servers WHERE servers.server_id = given.server_id OFFSET 0
) AS server ON true
WHERE given.server_id = '' OR lives
ORDER BY worker_id, server_id
ON CONFLICT (worker_id, server_id) DO UPDATE SET
    namespace = excluded.namespace, queue = excluded.queue, info = excluded.info,
    any_type = excluded.any_type,
    heard_at_us = greatest(workers.heard_at_us, excluded.heard_at_us),
    until_us = greatest(workers.until_us, excluded.until_us);

-- name: hear_worker
-- Many at once; their rows are locked in the order of the key.
WITH given AS MATERIALIZED (
    SELECT heard_at_us, until_us, worker_id
    FROM unnest($1::bigint[], $2::bigint[], $3::text[])
        AS words (heard_at_us, until_us, worker_id)
),
locked AS MATERIALIZED (
    SELECT worker_id, server_id FROM workers WHERE worker_id = ANY($3::text[])
    ORDER BY worker_id, server_id FOR UPDATE
)
UPDATE workers SET
    heard_at_us = greatest(workers.heard_at_us, given.heard_at_us),
    until_us = greatest(workers.until_us, given.until_us)
FROM locked JOIN given ON given.worker_id = locked.worker_id
WHERE workers.worker_id = locked.worker_id AND workers.server_id = locked.server_id;

-- name: delete_worker
-- Many at once, found and locked in the order of the key.
DELETE FROM workers
WHERE (worker_id, server_id) IN (
    SELECT workers.worker_id, workers.server_id
    FROM unnest($1::text[], $2::text[]) AS given (worker_id, server_id)
    JOIN workers ON workers.worker_id = given.worker_id AND workers.server_id = given.server_id
    ORDER BY workers.worker_id, workers.server_id FOR UPDATE OF workers
);

-- name: delete_silent_workers
DELETE FROM workers
WHERE (worker_id, server_id) IN (
    SELECT worker_id, server_id FROM workers WHERE until_us <= $1
    ORDER BY worker_id, server_id FOR UPDATE
);

-- name: find_workers
SELECT {{worker_columns}} FROM workers WHERE worker_id = ANY($1::text[]);

-- name: registered_workers
SELECT {{worker_columns}} FROM workers WHERE server_id = '';

-- name: list_workers
SELECT
    {{worker_columns}},
    (SELECT count(*) FROM tasks WHERE tasks.session_id = workers.worker_id)
FROM workers WHERE namespace = $1 AND ($2::text IS NULL OR queue = $2) AND until_us > $3;
