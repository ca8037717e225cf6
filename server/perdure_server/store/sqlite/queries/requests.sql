-- What calls with a request id answered.

-- name: insert_request
INSERT INTO requests (namespace, workflow_id, rpc, request_id, fingerprint, response, created_at_us)
VALUES (?, ?, ?, ?, ?, ?, ?);

-- name: find_request
SELECT namespace, workflow_id, rpc, request_id, fingerprint, response, created_at_us FROM requests
WHERE namespace = ? AND workflow_id = ? AND rpc = ? AND request_id = ?;

-- name: delete_requests
-- Those of a workflow, once it has no run.
DELETE FROM requests
WHERE namespace = ?1 AND workflow_id = ?2
    AND NOT EXISTS (SELECT 1 FROM runs WHERE runs.namespace = ?1 AND runs.workflow_id = ?2);
