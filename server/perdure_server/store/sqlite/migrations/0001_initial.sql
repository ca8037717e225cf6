-- The tables of Perdure on SQLite.
--
-- A run is one row of `runs` and its history in `events`, numbered from 1 without gaps and never
-- rewritten. What a run still waits for are rows too, so that a commit costs what it changes and
-- not what the run has grown to: `activities` from their schedule to their ending, `tasks` that
-- a worker holds or may take, `timers` that will wake the run. When a run closes, its rows in
-- these three tables are deleted. `requests` remembers what a call with a request id answered,
-- so that its repetition is answered the same.
--
-- Every commit that has events gets the next commit number; an event stands at (commit_no, idx),
-- which is the order that watchers read. `position` is one row: the epoch, and where the last
-- event stands. The numbers survive the deletion of the events, so that an old cursor never
-- comes to mean a new event.
--
-- Instants and spans are integers in microseconds (`_us`). Columns stand in the order of the
-- fields of the dataclasses in `core/model.py`, which say what each means. Keys that begin with
-- a run id are time-ordered, since run ids are: new rows go to the end of each tree. Tables
-- without a rowid are stored in the order of their key.

BEGIN IMMEDIATE;

CREATE TABLE schema (
    version    INTEGER PRIMARY KEY,
    min_server INTEGER NOT NULL
) STRICT;

CREATE TABLE position (
    epoch     INTEGER NOT NULL,
    commit_no INTEGER NOT NULL,
    idx       INTEGER NOT NULL
) STRICT;

CREATE TABLE runs (
    run_id           TEXT    PRIMARY KEY,
    namespace        TEXT    NOT NULL,
    workflow_id      TEXT    NOT NULL,
    workflow_type    TEXT    NOT NULL,
    task_queue       TEXT    NOT NULL,
    generation       INTEGER NOT NULL,
    status           TEXT    NOT NULL,
    version          INTEGER NOT NULL,
    attempt          INTEGER NOT NULL,
    priority         INTEGER NOT NULL,
    created_at_us    INTEGER NOT NULL,
    updated_at_us    INTEGER NOT NULL,
    started_at_us    INTEGER,
    closed_at_us     INTEGER,
    history_length   INTEGER NOT NULL,
    history_bytes    INTEGER NOT NULL,
    seen_seq         INTEGER NOT NULL,
    stimulus_seq     INTEGER NOT NULL,
    task_lease       INTEGER NOT NULL,
    accepted_lease   INTEGER NOT NULL,
    task_failure     BLOB    NOT NULL,
    activity_seq_max INTEGER NOT NULL,
    timer_seq_max    INTEGER NOT NULL,
    wait_seq_max     INTEGER NOT NULL,
    cancel_requested INTEGER NOT NULL,
    cancel_reason    TEXT    NOT NULL,
    previous_run_id  TEXT    NOT NULL,
    next_run_id      TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

-- Of two racing starts of one workflow id, one wins.
CREATE UNIQUE INDEX runs_by_workflow ON runs (namespace, workflow_id, generation);

-- Lists: the newest first, filtered or not, without a sort.
CREATE INDEX runs_by_namespace ON runs (namespace, run_id);
CREATE INDEX runs_by_status ON runs (namespace, status, run_id);
CREATE INDEX runs_by_type ON runs (namespace, workflow_type, run_id);

CREATE TABLE events (
    run_id    TEXT    NOT NULL,
    seq       INTEGER NOT NULL,
    kind      TEXT    NOT NULL,
    at_us     INTEGER NOT NULL,
    frame     BLOB    NOT NULL,
    commit_no INTEGER NOT NULL,
    idx       INTEGER NOT NULL,
    PRIMARY KEY (run_id, seq)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX events_by_position ON events (commit_no, idx);

-- A run as lists show it: its row, its first event, and its last one once it is closed.
CREATE VIEW run_summaries AS
SELECT runs.*, first.frame AS started, last.frame AS closed
FROM runs
JOIN events AS first ON first.run_id = runs.run_id AND first.seq = 1
LEFT JOIN events AS last
    ON last.run_id = runs.run_id
    AND last.seq = runs.history_length
    AND runs.closed_at_us IS NOT NULL;

CREATE TABLE activities (
    run_id            TEXT    NOT NULL,
    seq               INTEGER NOT NULL,
    name              TEXT    NOT NULL,
    attempt           INTEGER NOT NULL,
    scheduled         BLOB    NOT NULL,
    scheduled_at_us   INTEGER NOT NULL,
    lease             INTEGER NOT NULL,
    accepted_lease    INTEGER NOT NULL,
    cancel_requested  INTEGER NOT NULL,
    last_failure      BLOB    NOT NULL,
    heartbeat_details BLOB    NOT NULL,
    heartbeat_at_us   INTEGER,
    PRIMARY KEY (run_id, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE tasks (
    run_id          TEXT    NOT NULL,
    kind            TEXT    NOT NULL,
    seq             INTEGER NOT NULL,
    namespace       TEXT    NOT NULL,
    queue           TEXT    NOT NULL,
    type            TEXT    NOT NULL,
    priority        INTEGER NOT NULL,
    ready_at_us     INTEGER NOT NULL,
    created_at_us   INTEGER NOT NULL,
    attempt         INTEGER NOT NULL,
    lease           INTEGER NOT NULL,
    lease_limit_us  INTEGER,
    start_limit_us  INTEGER,
    session_id      TEXT,
    worker_identity TEXT    NOT NULL,
    leased_at_us    INTEGER,
    lease_until_us  INTEGER,
    PRIMARY KEY (run_id, kind, seq)
) STRICT, WITHOUT ROWID;

-- A claim walks its lane in order and meets no leased row, however many there are.
CREATE INDEX tasks_unleased
    ON tasks (namespace, queue, kind, type, priority, ready_at_us, run_id, seq)
    WHERE session_id IS NULL;

CREATE TABLE timers (
    run_id    TEXT    NOT NULL,
    kind      TEXT    NOT NULL,
    seq       INTEGER NOT NULL,
    due_at_us INTEGER NOT NULL,
    PRIMARY KEY (run_id, kind, seq)
) STRICT, WITHOUT ROWID;

CREATE INDEX timers_by_due ON timers (due_at_us, run_id, kind, seq);

CREATE TABLE requests (
    namespace     TEXT    NOT NULL,
    workflow_id   TEXT    NOT NULL,
    rpc           TEXT    NOT NULL,
    request_id    TEXT    NOT NULL,
    fingerprint   BLOB    NOT NULL,
    response      BLOB    NOT NULL,
    created_at_us INTEGER NOT NULL,
    PRIMARY KEY (namespace, workflow_id, rpc, request_id)
) STRICT, WITHOUT ROWID;

INSERT INTO position (epoch, commit_no, idx) VALUES (1, 0, -1);
INSERT INTO schema (version, min_server) VALUES (1, 1);

COMMIT;
