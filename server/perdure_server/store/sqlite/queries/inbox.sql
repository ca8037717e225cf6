-- Messages of runs to one another that are not recorded yet.

-- part: message_columns
sender_run_id, seq, kind, namespace, workflow_id, run_id, body, created_at_us

-- name: insert_message
INSERT INTO inbox ({{message_columns}}) VALUES (?, ?, ?, ?, ?, ?, ?, ?);

-- name: delete_message
DELETE FROM inbox WHERE sender_run_id = ? AND seq = ?;

-- name: message_stands
SELECT 1 FROM inbox WHERE sender_run_id = ? AND seq = ?;

-- name: read_inbox
SELECT {{message_columns}} FROM inbox
WHERE (sender_run_id, seq) > (?, ?) AND created_at_us < ?
ORDER BY sender_run_id, seq LIMIT ?;
