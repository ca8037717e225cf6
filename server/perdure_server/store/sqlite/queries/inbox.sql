-- Messages of runs to one another that are not recorded yet.

-- part: message_columns
sender_run_id, seq, kind, namespace, workflow_id, run_id, body, created_at_us

-- name: insert_message
INSERT INTO inbox ({{message_columns}}) VALUES (?, ?, ?, ?, ?, ?, ?, ?);

-- name: delete_message
DELETE FROM inbox WHERE sender_run_id = ? AND seq = ?;

-- name: standing_messages
-- The keys are a JSON list of pairs.
SELECT inbox.sender_run_id, inbox.seq
FROM json_each(?) AS given CROSS JOIN inbox
WHERE inbox.sender_run_id = json_extract(given.value, '$[0]') AND inbox.seq = json_extract(given.value, '$[1]');

-- name: read_inbox
SELECT {{message_columns}} FROM inbox
WHERE (sender_run_id, seq) > (?, ?) AND created_at_us < ?
ORDER BY sender_run_id, seq LIMIT ?;
