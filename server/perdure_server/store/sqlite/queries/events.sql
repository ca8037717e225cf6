-- Histories, and the order of commits that watchers read.

-- name: insert_event
INSERT INTO events (run_id, seq, kind, at_us, frame, commit_no, idx) VALUES (?, ?, ?, ?, ?, ?, ?);

-- name: load_history
-- The last event is found by adding up lengths, which SQLite knows without reading the frames.
SELECT seq, kind, at_us, frame FROM events
WHERE run_id = ?1 AND seq > ?2 AND seq <= (
    SELECT max(seq)
    FROM (
        SELECT seq, sum(length(frame)) OVER (ORDER BY seq) AS bytes FROM events
        WHERE run_id = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3
    )
    WHERE bytes <= ?4 OR seq = ?2 + 1
)
ORDER BY seq;

-- name: find_events
SELECT seq, kind, at_us, frame FROM events
WHERE run_id = ?1 AND kind IN (SELECT value FROM json_each(?2))
ORDER BY seq DESC LIMIT ?3;

-- name: load_tail
SELECT seq, kind, at_us, frame FROM events WHERE run_id = ? AND seq > ? ORDER BY seq;

-- name: read_events
SELECT
    events.commit_no, events.idx, runs.namespace, runs.workflow_id, runs.run_id, runs.workflow_type,
    CASE
        WHEN events.seq > 1 AND events.at_us >= runs.started_at_us
            AND runs.started_at_us > coalesce((
                SELECT before.at_us FROM events AS before
                WHERE before.run_id = events.run_id AND before.seq = events.seq - 1 AND events.seq > 2
            ), -1) THEN runs.started_at_us
    END,
    events.seq, events.kind, events.at_us, events.frame
FROM events JOIN runs ON runs.run_id = events.run_id
WHERE (events.commit_no, events.idx) > (?, ?)
ORDER BY events.commit_no, events.idx LIMIT ?;

-- name: sizes_between
-- The first of the events between two, with the sizes of their frames.
SELECT seq, length(frame) FROM events
WHERE run_id = ? AND seq > ? AND seq < ? ORDER BY seq LIMIT ?;

-- name: delete_between
DELETE FROM events WHERE run_id = ? AND seq >= ? AND seq <= ?;

-- name: delete_events
DELETE FROM events WHERE run_id = ?;
