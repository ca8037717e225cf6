-- Pending activities.

-- part: activity_columns
run_id, seq, name, attempt, scheduled, scheduled_at_us, lease, accepted_lease, cancel_requested,
last_failure, heartbeat_details, heartbeat_at_us, paused

-- name: put_activity
INSERT INTO activities ({{activity_columns}})
SELECT {{activity_columns}} FROM unnest(
    $1::int[], $2::text[], $3::bigint[], $4::text[], $5::bigint[], $6::bytea[], $7::bigint[],
    $8::bigint[], $9::bigint[], $10::boolean[], $11::bytea[], $12::bytea[], $13::bigint[],
    $14::boolean[]
) AS given (n, {{activity_columns}})
WHERE n NOT IN (SELECT n FROM refused)
ON CONFLICT (run_id, seq) DO UPDATE SET
    name = excluded.name, attempt = excluded.attempt, scheduled = excluded.scheduled,
    scheduled_at_us = excluded.scheduled_at_us, lease = excluded.lease,
    accepted_lease = excluded.accepted_lease, cancel_requested = excluded.cancel_requested,
    last_failure = excluded.last_failure, heartbeat_details = excluded.heartbeat_details,
    heartbeat_at_us = excluded.heartbeat_at_us, paused = excluded.paused;

-- name: delete_activity
DELETE FROM activities
USING unnest($1::int[], $2::text[], $3::bigint[]) AS given (n, run_id, seq)
WHERE activities.run_id = given.run_id AND activities.seq = given.seq
    AND n NOT IN (SELECT n FROM refused);

-- name: delete_activities
DELETE FROM activities
WHERE run_id = ANY(ARRAY(
    SELECT run_id FROM unnest($1::int[], $2::text[]) AS given (n, run_id)
    WHERE n NOT IN (SELECT n FROM refused)
));

-- name: load_activities
SELECT {{activity_columns}} FROM activities WHERE run_id = $1;
