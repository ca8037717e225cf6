-- Messages of runs to one another that are not recorded yet.

-- part: message_columns
sender_run_id, seq, kind, namespace, workflow_id, run_id, body, created_at_us

-- name: insert_message
-- In the order of the key: two servers that insert the same ones then wait in one direction.
INSERT INTO inbox ({{message_columns}})
SELECT {{message_columns}} FROM unnest(
    $1::int[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[],
    $8::bytea[], $9::bigint[]
) AS given (n, {{message_columns}})
WHERE n NOT IN (SELECT n FROM refused)
ORDER BY sender_run_id, seq;

-- name: delete_message
DELETE FROM inbox
USING unnest($1::int[], $2::text[], $3::bigint[]) AS given (n, sender_run_id, seq)
WHERE inbox.sender_run_id = given.sender_run_id AND inbox.seq = given.seq
    AND n NOT IN (SELECT n FROM refused);

-- name: standing_messages
SELECT inbox.sender_run_id, inbox.seq
FROM unnest($1::text[], $2::bigint[]) AS given (sender_run_id, seq)
JOIN inbox ON inbox.sender_run_id = given.sender_run_id AND inbox.seq = given.seq;

-- name: read_inbox
SELECT {{message_columns}} FROM inbox
WHERE (sender_run_id, seq) > ($1, $2) AND created_at_us < $3
ORDER BY sender_run_id, seq LIMIT $4;
