-- What calls with a request id answered.

-- name: insert_request
-- In the order of the key: two servers that insert the same ones then wait in one direction.
INSERT INTO requests (namespace, workflow_id, rpc, request_id, fingerprint, response, created_at_us)
SELECT namespace, workflow_id, rpc, request_id, fingerprint, response, created_at_us
FROM unnest(
    $1::int[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bytea[], $7::bytea[],
    $8::bigint[]
) AS given (n, namespace, workflow_id, rpc, request_id, fingerprint, response, created_at_us)
WHERE n NOT IN (SELECT n FROM refused)
ORDER BY workflow_id, namespace, rpc, request_id;

-- name: find_request
SELECT namespace, workflow_id, rpc, request_id, fingerprint, response, created_at_us FROM requests
WHERE namespace = $1 AND workflow_id = $2 AND rpc = $3 AND request_id = $4;

-- name: delete_requests
-- Those of workflows that have no run.
DELETE FROM requests
WHERE namespace IS NOT DISTINCT FROM $1 AND workflow_id = ANY(ARRAY(
    SELECT given.workflow_id FROM unnest($2::text[]) AS given (workflow_id)
    LEFT JOIN LATERAL (
        SELECT true AS is_there FROM runs
        WHERE runs.workflow_id = given.workflow_id AND runs.namespace IS NOT DISTINCT FROM $1
        LIMIT 1
    ) AS runs ON true
    WHERE is_there IS NULL
));
