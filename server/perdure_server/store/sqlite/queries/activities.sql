-- Pending activities.

-- name: put_activity
INSERT OR REPLACE INTO activities (
    run_id, seq, name, attempt, scheduled, scheduled_at_us, lease, accepted_lease, cancel_requested,
    last_failure, heartbeat_details, heartbeat_at_us
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: delete_activity
DELETE FROM activities WHERE run_id = ? AND seq = ?;

-- name: delete_activities
DELETE FROM activities WHERE run_id = ?;

-- name: load_activities
SELECT * FROM activities WHERE run_id = ?;
