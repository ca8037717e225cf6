-- What runs do to one another, and what callers read of them beside their history.
--
-- A run that another one started names its parent, and a row of `children` stands in the parent
-- from the child's start until the parent closes. A message of one run to another is a row of
-- `inbox` from the sender's commit to the commit in which the receiver records it. `updates` have
-- the answers of the code, `snapshots` what it last published; both stand until the run is deleted.

BEGIN;

DROP VIEW run_summaries;

ALTER TABLE runs
    ADD COLUMN parent_run_id text COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN parent_seq bigint NOT NULL DEFAULT 0,
    ADD COLUMN sent_max bigint NOT NULL DEFAULT 0,
    ADD COLUMN child_seq_max bigint NOT NULL DEFAULT 0,
    ADD COLUMN signal_seq_max bigint NOT NULL DEFAULT 0,
    ADD COLUMN cancel_seq_max bigint NOT NULL DEFAULT 0,
    ADD COLUMN side_effect_seq_max bigint NOT NULL DEFAULT 0,
    ADD COLUMN step_seq_max bigint NOT NULL DEFAULT 0,
    ADD COLUMN attribute_seq_max bigint NOT NULL DEFAULT 0,
    ADD COLUMN pause bytea NOT NULL DEFAULT '',
    ADD COLUMN attributes bytea NOT NULL DEFAULT '';

ALTER TABLE activities ADD COLUMN paused boolean NOT NULL DEFAULT false;

-- The children of a run.
CREATE INDEX runs_by_parent ON runs (parent_run_id, run_id) WHERE parent_run_id <> '';

-- A run as lists show it: its row, its first event, and its last one once it is closed. What is
-- lateral is looked up by its key, row by row, whatever the planner thinks of the tables' sizes.
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
CROSS JOIN LATERAL (
    SELECT frame FROM events WHERE events.run_id = runs.run_id AND events.seq = 1 OFFSET 0
) AS first
LEFT JOIN LATERAL (
    SELECT frame FROM events
    WHERE events.run_id = runs.run_id
        AND events.seq = runs.history_length
        AND runs.closed_at_us IS NOT NULL
    OFFSET 0
) AS last ON true;

CREATE TABLE children (
    run_id        text COLLATE "C" NOT NULL,
    seq           bigint           NOT NULL,
    workflow_id   text COLLATE "C" NOT NULL,
    workflow_type text COLLATE "C" NOT NULL,
    child_run_id  text COLLATE "C" NOT NULL,
    policy        text COLLATE "C" NOT NULL,
    closed        boolean          NOT NULL,
    PRIMARY KEY (run_id, seq)
) WITH (autovacuum_vacuum_scale_factor = 0.05);

CREATE TABLE updates (
    run_id    text COLLATE "C" NOT NULL,
    seq       bigint           NOT NULL,
    name      text COLLATE "C" NOT NULL,
    update_id text COLLATE "C" NOT NULL,
    outcome   bytea            NOT NULL,
    PRIMARY KEY (run_id, seq)
);

CREATE TABLE snapshots (
    run_id        text COLLATE "C" NOT NULL,
    state         bytea            NOT NULL,
    event_seq     bigint           NOT NULL,
    created_at_us bigint           NOT NULL,
    PRIMARY KEY (run_id)
);

CREATE TABLE inbox (
    sender_run_id text COLLATE "C" NOT NULL,
    seq           bigint           NOT NULL,
    kind          text COLLATE "C" NOT NULL,
    namespace     text COLLATE "C" NOT NULL,
    workflow_id   text COLLATE "C" NOT NULL,
    run_id        text COLLATE "C" NOT NULL,
    body          bytea            NOT NULL,
    created_at_us bigint           NOT NULL,
    PRIMARY KEY (sender_run_id, seq)
) WITH (autovacuum_vacuum_scale_factor = 0.05);

INSERT INTO schema (version, min_server) VALUES (3, 3);

COMMIT;
