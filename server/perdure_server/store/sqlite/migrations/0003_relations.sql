-- What runs do to one another, and what callers read of them beside their history.
--
-- A run that another one started names its parent, and a row of `children` stands in the parent
-- from the child's start until the parent closes. A message of one run to another is a row of
-- `inbox` from the sender's commit to the commit in which the receiver records it. `updates` have
-- the answers of the code, `snapshots` what it last published; both stand until the run is deleted.

BEGIN IMMEDIATE;

DROP VIEW run_summaries;

ALTER TABLE runs ADD COLUMN parent_run_id TEXT NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN parent_seq INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN sent_max INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN child_seq_max INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN signal_seq_max INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN cancel_seq_max INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN side_effect_seq_max INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN step_seq_max INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN attribute_seq_max INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN pause BLOB NOT NULL DEFAULT x'';
ALTER TABLE runs ADD COLUMN attributes BLOB NOT NULL DEFAULT x'';

ALTER TABLE activities ADD COLUMN paused INTEGER NOT NULL DEFAULT 0;

-- The children of a run.
CREATE INDEX runs_by_parent ON runs (parent_run_id, run_id) WHERE parent_run_id <> '';

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
    runs.pause, runs.attributes,
    first.frame AS started, last.frame AS closed
FROM runs
JOIN events AS first ON first.run_id = runs.run_id AND first.seq = 1
LEFT JOIN events AS last
    ON last.run_id = runs.run_id
    AND last.seq = runs.history_length
    AND runs.closed_at_us IS NOT NULL;

CREATE TABLE children (
    run_id        TEXT    NOT NULL,
    seq           INTEGER NOT NULL,
    workflow_id   TEXT    NOT NULL,
    workflow_type TEXT    NOT NULL,
    child_run_id  TEXT    NOT NULL,
    policy        TEXT    NOT NULL,
    closed        INTEGER NOT NULL,
    PRIMARY KEY (run_id, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE updates (
    run_id    TEXT    NOT NULL,
    seq       INTEGER NOT NULL,
    name      TEXT    NOT NULL,
    update_id TEXT    NOT NULL,
    outcome   BLOB    NOT NULL,
    PRIMARY KEY (run_id, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE snapshots (
    run_id        TEXT    NOT NULL,
    state         BLOB    NOT NULL,
    event_seq     INTEGER NOT NULL,
    created_at_us INTEGER NOT NULL,
    PRIMARY KEY (run_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE inbox (
    sender_run_id TEXT    NOT NULL,
    seq           INTEGER NOT NULL,
    kind          TEXT    NOT NULL,
    namespace     TEXT    NOT NULL,
    workflow_id   TEXT    NOT NULL,
    run_id        TEXT    NOT NULL,
    body          BLOB    NOT NULL,
    created_at_us INTEGER NOT NULL,
    PRIMARY KEY (sender_run_id, seq)
) STRICT, WITHOUT ROWID;

INSERT INTO schema (version, min_server) VALUES (3, 3);

COMMIT;
