-- Timers, of runs and of the engine.

-- name: put_timer
INSERT INTO timers (run_id, kind, seq, due_at_us) VALUES (?, ?, ?, ?)
ON CONFLICT (run_id, kind, seq) DO UPDATE SET due_at_us = excluded.due_at_us;

-- name: delete_timer
DELETE FROM timers WHERE run_id = ? AND kind = ? AND seq = ?;

-- name: delete_timers
DELETE FROM timers WHERE run_id = ?;

-- name: load_timers
SELECT run_id, kind, seq, due_at_us FROM timers WHERE run_id = ?;

-- name: due_timers
SELECT run_id, kind, seq, due_at_us FROM timers
WHERE (due_at_us, run_id, kind, seq) > (?, ?, ?, ?)
ORDER BY due_at_us, run_id, kind, seq LIMIT ?;
