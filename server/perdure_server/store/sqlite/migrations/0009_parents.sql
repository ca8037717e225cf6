-- By which workflow a child was started, also when the runs of that are gone.
--
-- A server before this version would write children that are not found by it.

BEGIN IMMEDIATE;

DROP VIEW run_summaries;

ALTER TABLE runs ADD COLUMN parent_workflow_id TEXT NOT NULL DEFAULT '';

UPDATE runs SET parent_workflow_id = coalesce(
    (SELECT parent.workflow_id FROM runs AS parent WHERE parent.run_id = runs.parent_run_id), ''
)
WHERE parent_run_id <> '';

-- The children of a workflow, newest last.
CREATE INDEX runs_by_parent_workflow ON runs (namespace, parent_workflow_id, run_id)
    WHERE parent_workflow_id <> '';

-- A run as lists show it: its row, its first event, and its last one once it is closed.
CREATE VIEW run_summaries AS
SELECT
    runs.run_id, runs.namespace, runs.workflow_id, runs.workflow_type, runs.task_queue,
    runs.generation, runs.status, runs.version, runs.attempt, runs.priority, runs.created_at_us,
    runs.updated_at_us, runs.started_at_us, runs.closed_at_us, runs.history_length,
    runs.history_bytes, runs.seen_seq, runs.stimulus_seq, runs.task_lease, runs.accepted_lease,
    runs.task_failure, runs.activity_seq_max, runs.timer_seq_max, runs.wait_seq_max,
    runs.cancel_requested, runs.cancel_reason, runs.previous_run_id, runs.next_run_id,
    runs.parent_run_id, runs.parent_seq, runs.sent_max, runs.child_seq_max, runs.signal_seq_max,
    runs.cancel_seq_max, runs.side_effect_seq_max, runs.step_seq_max, runs.attribute_seq_max,
    runs.pause, runs.attributes, runs.parent_workflow_id,
    first.frame AS started, last.frame AS closed
FROM runs
JOIN events AS first ON first.run_id = runs.run_id AND first.seq = 1
LEFT JOIN events AS last
    ON last.run_id = runs.run_id
    AND last.seq = runs.history_length
    AND runs.closed_at_us IS NOT NULL;

INSERT INTO schema (version, min_server) VALUES (9, 9);

COMMIT;
