-- Rows of `runs` and what lists show of them.

-- part: run_columns
run_id, namespace, workflow_id, workflow_type, task_queue, generation, status, version, attempt,
priority, created_at_us, updated_at_us, started_at_us, closed_at_us, history_length, history_bytes,
seen_seq, stimulus_seq, task_lease, accepted_lease, task_failure, activity_seq_max, timer_seq_max,
wait_seq_max, cancel_requested, cancel_reason, previous_run_id, next_run_id, parent_run_id,
parent_seq, sent_max, child_seq_max, signal_seq_max, cancel_seq_max, side_effect_seq_max,
step_seq_max, attribute_seq_max, pause, attributes, parent_workflow_id

-- name: insert_run
INSERT INTO runs ({{run_columns}}) VALUES (
    ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,
    ?, ?, ?, ?, ?, ?, ?, ?, ?
);

-- name: update_run
-- The parameters are those of insert_run. A run's identity never changes: namespace, workflow
-- id, type, generation, attempt, creation, the run before it and its number in the parent.
UPDATE runs SET
    task_queue = ?5, status = ?7, version = ?8, priority = ?10, updated_at_us = ?12,
    started_at_us = ?13, closed_at_us = ?14, history_length = ?15, history_bytes = ?16,
    seen_seq = ?17, stimulus_seq = ?18, task_lease = ?19, accepted_lease = ?20, task_failure = ?21,
    activity_seq_max = ?22, timer_seq_max = ?23, wait_seq_max = ?24, cancel_requested = ?25,
    cancel_reason = ?26, next_run_id = ?28, parent_run_id = ?29, sent_max = ?31,
    child_seq_max = ?32, signal_seq_max = ?33, cancel_seq_max = ?34, side_effect_seq_max = ?35,
    step_seq_max = ?36, attribute_seq_max = ?37, pause = ?38, attributes = ?39,
    parent_workflow_id = ?40
WHERE run_id = ?1;

-- name: run_version
SELECT version FROM runs WHERE run_id = ?;

-- name: run_taken
SELECT 1 FROM runs WHERE run_id = ?
UNION ALL
SELECT 1 FROM runs WHERE namespace = ? AND workflow_id = ? AND generation = ?
LIMIT 1;

-- name: find_run
SELECT run_id FROM runs WHERE namespace = ? AND workflow_id = ? AND run_id = ?;

-- name: find_latest_run
SELECT run_id FROM runs WHERE namespace = ? AND workflow_id = ? ORDER BY generation DESC LIMIT 1;

-- name: load_run
SELECT
    {{run_columns}},
    (SELECT frame FROM events WHERE events.run_id = runs.run_id AND events.seq = 1)
FROM runs WHERE run_id = ?;

-- name: summarize_run
SELECT {{run_columns}}, started, closed FROM run_summaries WHERE run_id = ?;

-- name: count_runs
SELECT status, count(*) FROM runs WHERE namespace = ? GROUP BY status;

-- name: run_ids
SELECT run_id FROM runs WHERE namespace = ? AND status = ? ORDER BY run_id LIMIT ?;

-- name: closed_runs
SELECT
    run_id, workflow_id, history_length, history_bytes,
    (SELECT commit_no FROM events WHERE run_id = runs.run_id AND seq = runs.history_length),
    (SELECT idx FROM events WHERE run_id = runs.run_id AND seq = runs.history_length)
FROM runs
WHERE namespace = ?1 AND closed_at_us IS NOT NULL AND closed_at_us < ?2
ORDER BY closed_at_us, run_id LIMIT ?3;

-- name: delete_run
DELETE FROM runs WHERE run_id = ?;

-- name: list_children
SELECT {{run_columns}}, started, closed FROM run_summaries
WHERE parent_run_id = ?1 AND parent_run_id <> '' AND run_id > ?2
ORDER BY run_id LIMIT ?3;
