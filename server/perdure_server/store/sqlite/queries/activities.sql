-- Pending activities.

-- part: activity_columns
run_id, seq, name, attempt, scheduled, scheduled_at_us, lease, accepted_lease, cancel_requested,
last_failure, heartbeat_details, heartbeat_at_us, paused

-- name: put_activity
INSERT INTO activities ({{activity_columns}}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (run_id, seq) DO UPDATE SET
    name = excluded.name, attempt = excluded.attempt, scheduled = excluded.scheduled,
    scheduled_at_us = excluded.scheduled_at_us, lease = excluded.lease,
    accepted_lease = excluded.accepted_lease, cancel_requested = excluded.cancel_requested,
    last_failure = excluded.last_failure, heartbeat_details = excluded.heartbeat_details,
    heartbeat_at_us = excluded.heartbeat_at_us, paused = excluded.paused;

-- name: delete_activity
DELETE FROM activities WHERE run_id = ? AND seq = ?;

-- name: delete_activities
DELETE FROM activities WHERE run_id = ?;

-- name: load_activities
SELECT {{activity_columns}} FROM activities WHERE run_id = ?;
