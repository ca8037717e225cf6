-- Timers, of runs and of the engine.

-- name: put_timer
INSERT INTO timers (run_id, kind, seq, due_at_us)
SELECT run_id, kind, seq, due_at_us
FROM unnest($1::int[], $2::text[], $3::text[], $4::bigint[], $5::bigint[])
    AS given (n, run_id, kind, seq, due_at_us)
WHERE n NOT IN (SELECT n FROM refused)
ON CONFLICT (run_id, kind, seq) DO UPDATE SET due_at_us = excluded.due_at_us;

-- name: delete_timer
DELETE FROM timers
USING unnest($1::int[], $2::text[], $3::text[], $4::bigint[]) AS given (n, run_id, kind, seq)
WHERE timers.run_id = given.run_id AND timers.kind = given.kind AND timers.seq = given.seq
    AND n NOT IN (SELECT n FROM refused);

-- name: delete_timers
DELETE FROM timers
WHERE run_id = ANY(ARRAY(
    SELECT run_id FROM unnest($1::int[], $2::text[]) AS given (n, run_id)
    WHERE n NOT IN (SELECT n FROM refused)
));

-- name: load_timers
SELECT run_id, kind, seq, due_at_us FROM timers WHERE run_id = $1;

-- name: due_timers
SELECT run_id, kind, seq, due_at_us FROM timers
WHERE (due_at_us, run_id, kind, seq) > ($1, $2, $3, $4)
ORDER BY due_at_us, run_id, kind, seq LIMIT $5;
