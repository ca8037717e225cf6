-- The tables of Perdure on PostgreSQL.
--
-- A run is one row of `runs` and its history in `events`, numbered from 1 without gaps and never
-- rewritten. What a run still waits for are rows too, so that a commit costs what it changes and
-- not what the run has grown to: `activities` from their schedule to their ending, `tasks` that
-- a worker holds or may take, `timers` that will wake the run. When a run closes, its rows in
-- these three tables are deleted. `requests` remembers what a call with a request id answered,
-- so that its repetition is answered the same.
--
-- An event stands at (commit_no, idx), which is the order that watchers read. The commit number is
-- the number of the transaction, counted from `position.base`. Servers write side by side, so a
-- lower number may commit after a higher one: readers serve only numbers below every transaction
-- that is still under way, so that no event appears behind a cursor. `position` is one row: the
-- epoch, the base, and a place that no deletion of events falls back behind. A database that was
-- restored into a younger cluster, where transactions have lower numbers, gets a new epoch and a
-- base above all that is stored.
--
-- Instants and spans are integers in microseconds (`_us`). Columns stand in the order of the
-- fields of the dataclasses in `core/model.py`, which say what each means. Text is compared by
-- code point, whatever the locale of the database. Keys that begin with a run id are time-ordered,
-- since run ids are. Rows of `runs` and `tasks` are rewritten often: their pages keep room for
-- that, and the tables whose rows come and go are vacuumed early.
--
-- Servers that share the database are rows of `servers` as long as they live, with the instant of
-- their last sign of life; `sessions` says which server looks after a worker's session. What stands
-- apart from rows: a server that migrates, or wants to be alone with a run, holds an advisory lock,
-- and servers tell each other of their commits on a notification channel named after the schema.

BEGIN;

CREATE TABLE schema (
    version    bigint PRIMARY KEY,
    min_server bigint NOT NULL
);

CREATE TABLE position (
    epoch     bigint NOT NULL,
    commit_no bigint NOT NULL,
    idx       bigint NOT NULL,
    base      bigint NOT NULL
);

CREATE TABLE runs (
    run_id           text COLLATE "C" PRIMARY KEY,
    namespace        text COLLATE "C" NOT NULL,
    workflow_id      text COLLATE "C" NOT NULL,
    workflow_type    text COLLATE "C" NOT NULL,
    task_queue       text COLLATE "C" NOT NULL,
    generation       bigint           NOT NULL,
    status           text COLLATE "C" NOT NULL,
    version          bigint           NOT NULL,
    attempt          bigint           NOT NULL,
    priority         bigint           NOT NULL,
    created_at_us    bigint           NOT NULL,
    updated_at_us    bigint           NOT NULL,
    started_at_us    bigint,
    closed_at_us     bigint,
    history_length   bigint           NOT NULL,
    history_bytes    bigint           NOT NULL,
    seen_seq         bigint           NOT NULL,
    stimulus_seq     bigint           NOT NULL,
    task_lease       bigint           NOT NULL,
    accepted_lease   bigint           NOT NULL,
    task_failure     bytea            NOT NULL,
    activity_seq_max bigint           NOT NULL,
    timer_seq_max    bigint           NOT NULL,
    wait_seq_max     bigint           NOT NULL,
    cancel_requested boolean          NOT NULL,
    cancel_reason    text COLLATE "C" NOT NULL,
    previous_run_id  text COLLATE "C" NOT NULL,
    next_run_id      text COLLATE "C" NOT NULL
) WITH (fillfactor = 80);

-- Of two racing starts of one workflow id, one wins. No other index has the workflow id, so no
-- plan of a young table can choose a wrong one for it.
CREATE UNIQUE INDEX runs_by_workflow ON runs (workflow_id, generation, namespace);

-- Lists: the newest first, filtered or not, without a sort.
CREATE INDEX runs_by_namespace ON runs (namespace, run_id);
CREATE INDEX runs_by_status ON runs (namespace, status, run_id);
CREATE INDEX runs_by_type ON runs (namespace, workflow_type, run_id);

CREATE TABLE events (
    run_id    text COLLATE "C" NOT NULL,
    seq       bigint           NOT NULL,
    kind      text COLLATE "C" NOT NULL,
    at_us     bigint           NOT NULL,
    frame     bytea            NOT NULL,
    commit_no bigint           NOT NULL,
    idx       bigint           NOT NULL,
    PRIMARY KEY (run_id, seq)
);

CREATE UNIQUE INDEX events_by_position ON events (commit_no, idx);

-- A run as lists show it: its row, its first event, and its last one once it is closed. What is
-- lateral is looked up by its key, row by row, whatever the planner thinks of the tables' sizes.
CREATE VIEW run_summaries AS
SELECT runs.*, first.frame AS started, last.frame AS closed
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

CREATE TABLE activities (
    run_id            text COLLATE "C" NOT NULL,
    seq               bigint           NOT NULL,
    name              text COLLATE "C" NOT NULL,
    attempt           bigint           NOT NULL,
    scheduled         bytea            NOT NULL,
    scheduled_at_us   bigint           NOT NULL,
    lease             bigint           NOT NULL,
    accepted_lease    bigint           NOT NULL,
    cancel_requested  boolean          NOT NULL,
    last_failure      bytea            NOT NULL,
    heartbeat_details bytea            NOT NULL,
    heartbeat_at_us   bigint,
    PRIMARY KEY (run_id, seq)
) WITH (autovacuum_vacuum_scale_factor = 0.05);

CREATE TABLE tasks (
    run_id          text COLLATE "C" NOT NULL,
    kind            text COLLATE "C" NOT NULL,
    seq             bigint           NOT NULL,
    namespace       text COLLATE "C" NOT NULL,
    queue           text COLLATE "C" NOT NULL,
    type            text COLLATE "C" NOT NULL,
    priority        bigint           NOT NULL,
    ready_at_us     bigint           NOT NULL,
    created_at_us   bigint           NOT NULL,
    attempt         bigint           NOT NULL,
    lease           bigint           NOT NULL,
    lease_limit_us  bigint,
    start_limit_us  bigint,
    session_id      text COLLATE "C",
    worker_identity text COLLATE "C" NOT NULL,
    leased_at_us    bigint,
    lease_until_us  bigint,
    PRIMARY KEY (run_id, kind, seq)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);

-- A claim walks its lane in order and meets no leased row, however many there are.
CREATE INDEX tasks_unleased
    ON tasks (namespace, queue, kind, type, priority, ready_at_us, run_id, seq)
    WHERE session_id IS NULL;

-- What a session holds.
CREATE INDEX tasks_by_session ON tasks (session_id) WHERE session_id IS NOT NULL;

-- Leases in the order in which they end by themselves.
CREATE INDEX tasks_by_end ON tasks (lease_until_us, run_id, kind, seq)
    WHERE session_id IS NOT NULL AND lease_until_us IS NOT NULL;

CREATE TABLE timers (
    run_id    text COLLATE "C" NOT NULL,
    kind      text COLLATE "C" NOT NULL,
    seq       bigint           NOT NULL,
    due_at_us bigint           NOT NULL,
    PRIMARY KEY (run_id, kind, seq)
) WITH (autovacuum_vacuum_scale_factor = 0.05);

CREATE INDEX timers_by_due ON timers (due_at_us, run_id, kind, seq);

CREATE TABLE requests (
    namespace     text COLLATE "C" NOT NULL,
    workflow_id   text COLLATE "C" NOT NULL,
    rpc           text COLLATE "C" NOT NULL,
    request_id    text COLLATE "C" NOT NULL,
    fingerprint   bytea            NOT NULL,
    response      bytea            NOT NULL,
    created_at_us bigint           NOT NULL,
    PRIMARY KEY (workflow_id, namespace, rpc, request_id)
);

CREATE TABLE servers (
    server_id  text COLLATE "C" PRIMARY KEY,
    beat_at_us bigint           NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE sessions (
    session_id text COLLATE "C" PRIMARY KEY,
    server_id  text COLLATE "C" NOT NULL
);

CREATE INDEX sessions_by_server ON sessions (server_id);

INSERT INTO position (epoch, commit_no, idx, base) VALUES (1, 0, -1, 0);
INSERT INTO schema (version, min_server) VALUES (1, 1);

COMMIT;
