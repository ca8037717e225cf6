"""Owns every bound of the engine, each with its reason.

Spans are in microseconds (`_US`), sizes in bytes.
"""

from __future__ import annotations

from typing import Final

SECOND_US: Final = 1_000_000
MILLISECOND_US: Final = 1_000

NAMESPACE_DEFAULT: Final = "main"
TASK_QUEUE_DEFAULT: Final = "default"
PRIORITY_DEFAULT: Final = 3
PRIORITY_MAX: Final = 5

PAYLOAD_BYTES_MAX: Final = 2 * 1024 * 1024
"""One user value. Larger ones belong into a blob store; a history must stay loadable."""
HEADERS_MAX: Final = 64
HEADERS_BYTES_MAX: Final = 64 * 1024
"""What travels beside an input, copied to each of its attempts: trace ids and the like."""
ID_BYTES_MAX: Final = 255
"""Ids, names, types and queues: fits every index on every backend."""
REASON_BYTES_MAX: Final = 4096
"""A reason is a sentence."""
SUMMARY_BYTES_MAX: Final = 1024
DETAILS_BYTES_MAX: Final = 20 * 1024
"""What a workflow is for, in a line and on a page; the record of the run has both."""
FAILURE_BYTES_MAX: Final = 64 * 1024
"""A failure without its details: message, stack and causes are cut to this by the worker."""
FAILURE_CAUSES_MAX: Final = 50
"""Causes, one behind another: protobuf reads nothing nested deeper than 100, and what surrounds a
failure on its way, or is recorded before it, adds to them."""
HISTORY_EVENTS_MAX: Final = 50_000
HISTORY_BYTES_MAX: Final = 50 * 1024 * 1024
"""At either bound the run is failed with HISTORY_LIMIT: a replay must stay a matter of seconds."""
HISTORY_EVENTS_WARN: Final = 10_000
HISTORY_BYTES_WARN: Final = 10 * 1024 * 1024
COMMAND_BATCH_BYTES_MAX: Final = 32 * 1024 * 1024
"""One report of a workflow task, and so the largest message that a server accepts."""
COMMANDS_MAX: Final = 10_000
"""Commands in one report: one commit must stay short."""
START_BATCH_MAX: Final = 1_000
START_BATCH_BYTES_MAX: Final = 16 * 1024 * 1024
"""Starts in one call: a few groups of commits, so that what comes behind them waits little."""
OUTGOING_BATCH_BYTES_MAX: Final = 4 * 1024 * 1024
"""One message to a client: the default receive limit of gRPC clients."""
TASK_HISTORY_BYTES_MAX: Final = 1024 * 1024
"""History sent with a workflow task; the rest is fetched by page token."""
OUTBOX_BYTES_MAX: Final = 4 * OUTGOING_BATCH_BYTES_MAX
"""What may wait for one stream to be read before nothing more is read from it."""
PAGE_SIZE_MAX: Final = 1_000
PAGE_SIZE_DEFAULT: Final = 50
EXPLAIN_EVENTS_MAX: Final = 10_000
"""Waits and signals of one run that an explanation reads, the newest: others are long past."""
EXPLAIN_MESSAGES_MAX: Final = 1_000
"""Messages of runs to one another that an explanation reads: that more are on their way is rare."""
OFFSET_MAX: Final = 10_000
"""Runs that a list may pass over: each is read. Page tokens go further and cost nothing."""
FILTER_BYTES_MAX: Final = 8 * 1024
FILTER_TERMS_MAX: Final = 200
FILTER_DEPTH_MAX: Final = 32
"""A filter of a list, its comparisons, and conditions inside one another: each becomes a piece of
one statement, and databases bound those too."""
COUNT_GROUPS_MAX: Final = 1_000
"""Groups that a count answers; the largest ones."""
SEARCH_ATTRIBUTES_MAX: Final = 100
"""Names that a run may have: each is an entry in an index."""
SEARCH_ATTRIBUTES_BYTES_MAX: Final = 32 * 1024
"""All attributes of a run, encoded: they are loaded and written with its row."""
SEARCH_TEXT_BYTES_MAX: Final = 2 * 1024
"""A text among the attributes: it is found by its words."""
SEARCH_VALUES_MAX: Final = 100
"""Keywords in one list: each is an entry in an index."""
WAIT_US_MAX: Final = 300 * SECOND_US
"""A long poll: below the idle timeouts of common proxies."""
DURATION_US_MAX: Final = 100 * 365 * 86_400 * SECOND_US
"""A span a person may mean; keeps sums of instants within 64 bits."""

RETRY_INITIAL_US: Final = 1 * SECOND_US
RETRY_COEFFICIENT: Final = 2.0
RETRY_MAX_INTERVAL_US: Final = 100 * SECOND_US
RETRY_MAX_ATTEMPTS: Final = 3
START_TO_CLOSE_US: Final = 300 * SECOND_US
"""Defaults that `activity.proto` and `retry_policy.proto` document."""

SESSION_LEASE_US: Final = 10 * SECOND_US
"""How long the leases of a worker session outlive the last word from it."""
SERVER_SILENCE_US: Final = 5 * SECOND_US
"""Silence after which a server is taken for dead by those that share its database: so its workers
have as long again to come back to another one."""
STREAM_SILENCE_US: Final = 8 * SECOND_US
"""Silence after which a stream is given up: under 10 seconds, after one late heartbeat."""
STREAM_HEARTBEAT_US: Final = 2 * SECOND_US
ACK_TIMEOUT_US: Final = 1 * SECOND_US
"""A session with a push unacknowledged for this long gets no more."""
WORKFLOW_TASK_POLL_LEASE_US: Final = 30 * SECOND_US
WORKFLOW_TASK_LIMIT_US: Final = 10 * SECOND_US
"""Workflow code that computes for longer is stuck."""
WORKER_FORGOTTEN_US: Final = 90 * SECOND_US
"""A registered worker that is silent for this long is forgotten."""
WORKER_WORDS_US: Final = 3 * SECOND_US
"""How often what is heard of workers is written, of all of them at once: a heartbeat costs no write
of its own, and one heard at one server is known at the others before a lease could end."""
WORKER_STRANGERS_MAX: Final = 10_000
"""Names asked for in vain that are not asked for again: ids of workers are new ones."""
HEARTBEAT_FLUSH_US: Final = 1 * SECOND_US
"""Heartbeat details are durable after at most this."""

TASK_BACKOFF_FIRST_US: Final = 1 * SECOND_US
TASK_BACKOFF_MAX_US: Final = 60 * SECOND_US
"""Back-off of a failed workflow task: soon enough after a fixed deploy, rare enough for a log."""
TASK_LOSSES_BEFORE_BACKOFF: Final = 3

COMMIT_QUEUE_MAX: Final = 10_000
"""Changesets that wait for the writer; beyond it callers are told STORE_BUSY."""
COMMIT_GROUP_MAX: Final = 512
"""Changesets in one disk sync: measured, larger groups gain nothing and cost latency."""
STORE_LOCK_WAIT_US: Final = 250 * MILLISECOND_US
"""How long a write waits for another program's lock on the database file, and all behind it."""
INBOX_LINES_MAX: Final = COMMIT_GROUP_MAX
"""Runs that are told something at once by other runs: so many commits make a full group."""
INBOX_BATCH_MAX: Final = 1_000
"""Messages for one run that leave as one changeset."""
INBOX_MESSAGES_MAX: Final = 20_000
INBOX_BYTES_MAX: Final = 64 * 1024 * 1024
"""Messages of runs to one another in memory; the others wait in the store."""
STALE_RETRIES_MAX: Final = 5
DELETE_RUNS_MAX: Final = 100
DELETE_EVENTS_MAX: Final = 1_000
DELETE_BYTES_MAX: Final = 4 * 1024 * 1024
"""Closed runs and their events deleted in one step: commits that come meanwhile wait for it."""
DELETE_SCHEDULES_MAX: Final = 1_000
RETENTION_INTERVAL_US: Final = 60 * SECOND_US
"""How often a namespace is looked at for runs that are too old, and for how long one server has it:
a minute more is nothing to who counts in days."""
RETENTION_STEP_US: Final = 5 * MILLISECOND_US
"""About how long a step may take: commits that come meanwhile wait for it."""
RETENTION_RUNS_MIN: Final = 25
"""Closed runs that go in a step however long it takes: what a step costs besides, its round trips
and its sync, is more than so many, so a smaller one would be as long and delete less."""
RETENTION_FORGET_US: Final = SECOND_US
"""How often runs in memory are compared with what was deleted: all of them are looked at."""
RETENTION_PAUSE_US: Final = 50 * MILLISECOND_US
"""The pause between two steps, so that others' commits hardly notice."""
END_OF_TIME_US: Final = 2**62
"""Later than any instant, and within 64 bits."""
HOT_RUNS_MAX: Final = 10_000
"""Runs kept in memory. Beyond it the least recently used one is loaded again when needed."""
EXTERNAL_SEQ_MAX: Final = 2**53 - 1
"""The number of an activity from outside: the largest that every JSON reader keeps."""
STIMULI_PER_RUN_MAX: Final = 20_000
UPDATES_OPEN_MAX: Final = 1_000
"""Updates of one run without an answer: each is loaded with the run."""
UPDATE_WAIT_US: Final = 30 * SECOND_US
"""How long an update waits for its answer unless its caller says."""
QUERIES_MAX: Final = 1_000
QUERIES_BYTES_MAX: Final = 64 * 1024 * 1024
"""Queries under way at one server, and their values: each is in memory until it is answered."""
QUERIES_PER_SESSION_MAX: Final = 32
"""Queries that one worker has at once; the others wait, or another worker takes them."""
QUERY_WAIT_US: Final = 10 * SECOND_US
"""How long a query waits for a worker and its answer unless its caller says."""
SLOTS_MAX: Final = 10_000
"""Tasks that one session may hold."""
TYPES_MAX: Final = 1_000
"""Types in one registration: each makes a lane to look into."""
SESSION_CALLS_MAX: Final = 10_000
"""Calls of one client session that wait for an answer."""
SLOTS_DEFAULT: Final = 10
"""Tasks of each kind that a worker takes at once when it does not say."""
BATCH_MAX: Final = 2**53 - 1
"""The greatest number of a batch that a worker may name: JSON holds it exactly."""
API_KEYS_MAX: Final = 1_000
"""Every call compares its key with each of them."""
WATCH_BACKLOG_MAX: Final = 10_000
"""Events that wait for one watcher before it reads from the store again."""
TIMER_WINDOW: Final = 10_000
"""Timers held in memory; later ones are loaded when these have fired."""

CRON_BYTES_MAX: Final = 255
TIME_ZONE_BYTES_MAX: Final = 64
SCHEDULE_NAME_BYTES_MAX: Final = 200
"""Leaves room for the due time that makes a workflow id of it."""
SCHEDULE_TIME_US_MAX: Final = 4_102_444_800 * SECOND_US
"""The end of 2099, the last year that a cron expression can name."""
CATCHUP_WINDOW_US: Final = 365 * 86_400 * SECOND_US
CATCHUP_WINDOW_US_MIN: Final = 10 * SECOND_US
"""So late a server may be that was never away: a shorter window would leave out every start."""
SCHEDULE_WAITING_MAX: Final = 1_000
"""Starts that wait for a workflow of their schedule to end: they are one row."""
SCHEDULE_RUNNING_MAX: Final = 100
"""Open workflows that a schedule knows of: each is looked at whenever it is served."""
SCHEDULE_STARTS_MAX: Final = 100
"""Workflows that a schedule starts in one commit, which must stay short."""
BACKFILL_MAX: Final = SCHEDULE_WAITING_MAX
"""Due times of one backfill: at worst all of them wait."""
REMAINING_RUNS_MAX: Final = 2**53 - 1
"""The largest count that every JSON reader keeps."""
PREVIEW_DEFAULT: Final = 10
SCHEDULE_WINDOW: Final = 10_000
"""Schedules whose next instant is held in memory; later ones are loaded when these have passed."""
SCHEDULES_AT_ONCE: Final = 100
"""Schedules read and served together: enough for large groups, few enough for short turns."""

POLL_SESSION_PREFIX: Final = "poll:"
"""Begins the session id of leases that end by time, not with a session."""
