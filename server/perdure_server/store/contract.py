"""Owns the promises that every backend keeps.

The docstrings are the specification that `tests/store` checks. A backend writes rows and answers
reads. It knows no rule about workflows, reads no clock and invents no id: instants and ids come in
with the arguments. All methods are coroutines and may be called concurrently.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from perdure_server.core.changeset import Changeset
from perdure_server.core.filters.conditions import Condition, FieldValue, Order
from perdure_server.core.filters.fields import Field
from perdure_server.core.model import (
    ApiKey,
    EventRow,
    Lane,
    Message,
    MessageKey,
    Namespace,
    RequestRecord,
    Run,
    RunStatus,
    ScheduleKey,
    ScheduleRow,
    Snapshot,
    Task,
    Timer,
    Update,
    Worker,
)
from perdure_server.core.state import RunState


@dataclass(slots=True, frozen=True, order=True)
class Position:
    """Where an event stands in the order of commits.

    Within an epoch it is the commit's number, then the event's place in the commit. Both grow;
    numbers and places may be left out.
    """

    epoch: int
    commit: int
    index: int


@dataclass(slots=True, frozen=True)
class Committed:
    """The store accepted a changeset.

    Its events, change by change, stand at `first` and the indexes that follow. A changeset without
    events is told where they would have stood.
    """

    first: Position


@dataclass(slots=True, frozen=True)
class RunSummary:
    """A run as lists show it: its row, the frame of event 1 and, once closed, of the last one."""

    run: Run
    started: bytes
    closed: bytes | None


@dataclass(slots=True, frozen=True)
class LatestRun:
    """The newest run of a workflow."""

    run_id: str
    status: RunStatus


@dataclass(slots=True, frozen=True)
class ListFilter:
    """Which runs a list shows: those that match every field that is set. Newest first by default.

    Newest first means by run id descending.
    """

    namespace: str
    status: RunStatus | None = None
    workflow_type: str | None = None
    condition: Condition | None = None
    order: Order | None = None


@dataclass(slots=True, frozen=True)
class Place:
    """Where a run stands in a list: what it is sorted by, None when it has no such value."""

    run_id: str
    key: FieldValue | bytes | None = None


@dataclass(slots=True, frozen=True)
class RunGroup:
    """How many runs have a value: that of a field, the key of an attribute, or none."""

    value: FieldValue | bytes | None
    count: int


@dataclass(slots=True, frozen=True)
class ClaimRequest:
    """Which tasks to lease to whom: at most `limit` of `lane`.

    Those with the lowest (priority, ready_at_us, run_id, seq) come first.
    """

    lane: Lane
    limit: int
    session_id: str
    worker_identity: str
    poll_lease_us: int | None = None
    """For polls: bounds the lease of tasks whose `lease_limit_us` is None."""


@dataclass(slots=True, frozen=True)
class LaneDepth:
    """How many tasks of a lane no session holds, and when the first of them is or was ready.

    Tasks whose `ready_at_us` is still to come count too.
    """

    lane: Lane
    ready: int
    first_ready_at_us: int


@dataclass(slots=True, frozen=True)
class WatchedEvent:
    """A committed event with its place in the order and the identity of its run."""

    position: Position
    namespace: str
    workflow_id: str
    run_id: str
    workflow_type: str
    row: EventRow
    began_at_us: int | None = None
    """When the run's code first ran, on the first event since, but never number 1; else None."""


@dataclass(slots=True, frozen=True)
class QueueDepth:
    """How many tasks a queue has: `pending` ones that no session holds, `running` ones held.

    Pending tasks count whether they are ready yet or not; `ready_since_us` is the `ready_at_us` of
    the one that has been ready for longest, None when none is.
    """

    queue: str
    pending_workflow_tasks: int
    running_workflow_tasks: int
    pending_activities: int
    running_activities: int
    ready_since_us: int | None


@dataclass(slots=True, frozen=True)
class Heard:
    """A sign of life of a worker, and until when it is known without another."""

    worker_id: str
    heard_at_us: int
    until_us: int


@dataclass(slots=True, frozen=True)
class ListedWorker:
    """A worker and the number of tasks that the session of its id holds."""

    worker: Worker
    active_tasks: int


class KeyOutcome(Enum):
    """What became of an API key that was to be inserted; only INSERTED has written anything."""

    INSERTED = auto()
    NOT_FIRST = auto()
    """It was to be the first key and there are others."""
    LABEL_EXISTS = auto()
    """It was to be the only key of its label and there is another."""
    TAKEN = auto()
    """Its digest or its prefix belongs to another key: make a new key."""


@dataclass(slots=True, frozen=True)
class KeyInserted:
    """The answer to the insertion of an API key: `existing` is the key behind LABEL_EXISTS."""

    outcome: KeyOutcome
    existing: ApiKey | None = None


class Store(Protocol):
    """A durable home of runs.

    Errors, all from `perdure_server.core.errors`: `StoreUnavailable` when the database cannot be
    read or written (disk full, I/O error, file locked by another process, connection lost, store
    not open), `StoreBusy` when a bound of the backend is reached and the same call may succeed at
    once. Reads see every commit that was acknowledged before they began.
    """

    async def open(self) -> None:
        """Connects, migrates the schema to this version and takes ownership of the database.

        Raises `StoreInUse` when it can have one owner only and has one, and `SchemaTooNew` when the
        schema's `min_server` is above this version. Opening twice is an error of the caller. A
        database has the namespace `main` from its first opening on; the instant of that is the only
        one that a backend finds out by itself.
        """

    async def close(self) -> None:
        """Finishes accepted commits, then disconnects. Closing a closed store does nothing."""

    @property
    def epoch(self) -> int:
        """The epoch of positions: the same until the database is copied or restored."""

    async def commit(self, changesets: Sequence[Changeset]) -> list[Committed | Exception]:
        """Applies each changeset atomically, in order, many in one disk sync; alone changes runs.

        Answers one outcome per changeset, in order; a refused one changes nothing and does not
        disturb the others. When it returns, every accepted changeset is on disk. Refusals, checked
        in this order: `RequestRecorded` when a request record with the same (namespace,
        workflow_id, rpc, request_id) exists; `WorkflowAlreadyExists` when an inserted run's
        (namespace, workflow_id, generation) or run_id exists; `StaleVersion` when a run's version
        is not the expected one, a fenced task is missing or has another lease, or a schedule's
        version is not the expected one (an inserted one exists); `MessageTaken` when a message that
        it takes does not stand. `StoreBusy` and `StoreUnavailable` are outcomes too: nothing of
        those changesets was written, or, after `StoreUnavailable`, all of one: the answer to its
        commit may have been lost. A later changeset sees what an earlier one of the same call
        wrote. A changeset names a run once and a schedule once, and an update leaves the run's
        identity as it was inserted: ids, type, generation, attempt, creation, the run before it and
        the parent.
        """

    async def claim_tasks(self, claims: Sequence[ClaimRequest], now_us: int) -> list[list[Task]]:
        """Leases ready tasks, atomically and durably; answers the leased rows per claim, in order.

        A task is claimed when its session_id is None and `ready_at_us <= now_us`. The claim sets
        `session_id`, `worker_identity`, `leased_at_us = now_us`, adds 1 to `lease`, and sets
        `lease_until_us` to `now_us` plus the task's `lease_limit_us`, or plus `poll_lease_us` when
        that is None (None plus None leaves it None). No task is ever given to two claims. Rows are
        otherwise unchanged; the run's version does not change. Paused and closed runs have no ready
        tasks, so a claim need not look at runs.
        """

    async def extend_leases(self, leases: Sequence[tuple[Task, int]]) -> None:
        """Sets `lease_until_us` of each task to the given instant where the lease still stands.

        It stands while the row has the task's `lease` and a session. Others are left as they are.
        """

    async def find_request(
        self, namespace: str, workflow_id: str, rpc: str, request_id: str
    ) -> RequestRecord | None:
        """Returns the record of an earlier request, or None."""

    async def find_run(self, namespace: str, workflow_id: str, run_id: str | None) -> str | None:
        """Returns the id of the given run, or of the highest generation when `run_id` is None.

        None if the workflow has no such run.
        """

    async def load_run(self, run_id: str, *, known_seq: int | None = None) -> RunState | None:
        """Returns a run with its pending rows and unseen events, from one snapshot, or None.

        For who knows it as of event `known_seq`: all later events instead, which tell of children.
        """

    async def load_history(
        self, run_id: str, *, after_seq: int, limit: int, max_bytes: int
    ) -> list[EventRow]:
        """Returns events with `seq > after_seq`, ascending, at most `limit`.

        Their frames have at most `max_bytes` together, but the first event is returned whatever its
        size. An unknown run has no events.
        """

    async def find_events(self, run_id: str, kinds: Sequence[str], *, limit: int) -> list[EventRow]:
        """Returns the newest events of these kinds, descending, at most `limit`.

        Does not read the frames of others.
        """

    async def summarize_run(self, run_id: str) -> RunSummary | None:
        """Returns a run as lists show it; None if absent."""

    async def list_runs(
        self, where: ListFilter, *, after: Place | None, limit: int
    ) -> list[RunSummary]:
        """Returns at most `limit` runs that match, in the order of the list, behind a place.

        Runs without a value to sort by come last. Runs that stand at the same place are sorted by
        run id, in the direction of the order. The place need not be that of a run that is there.
        """

    async def count_matching(self, where: ListFilter) -> int:
        """Returns how many runs match. Reads them: it may take long, and one follows another."""

    async def count_groups(
        self, where: ListFilter, by: Field | str, *, limit: int
    ) -> list[RunGroup]:
        """Returns how many matching runs have each value of a field or key of an attribute.

        The largest groups come first, equal ones by value, None last. A run counts for each key of
        its attribute. Reads all matching runs: it may take long.
        """

    async def list_children(self, run_id: str, *, after: str, limit: int) -> list[RunSummary]:
        """Returns at most `limit` runs that name a run as parent, by run id, above `after`."""

    async def find_update(self, run_id: str, seq: int) -> Update | None:
        """Returns the update that the event `seq` of a run recorded, or None."""

    async def find_snapshot(self, run_id: str) -> Snapshot | None:
        """Returns what the code of a run last published, or None."""

    async def read_inbox(
        self, *, after: MessageKey | None, before_us: int, limit: int
    ) -> list[Message]:
        """Returns messages that nobody has recorded, sent before an instant: by key, behind one."""

    async def standing_messages(self, keys: Sequence[MessageKey]) -> set[MessageKey]:
        """Returns those of the messages that were sent and that nobody has recorded."""

    async def due_timers(self, *, after: Timer | None, limit: int) -> list[Timer]:
        """Returns the earliest timers by (due_at_us, run_id, kind, seq), after a given `after`."""

    async def leased_tasks(self) -> list[Task]:
        """Returns every task that a session holds, in any order: at start, after a takeover."""

    async def lane_depths(self) -> list[LaneDepth]:
        """Returns every lane that has a task no session holds, in any order.

        Counts rows: read at start and for operators only.
        """

    async def read_events(self, after: Position, *, limit: int) -> list[WatchedEvent]:
        """Returns committed events after a position, ascending, at most `limit`."""

    async def last_position(self) -> Position:
        """Returns the position of the last committed event, also when it was deleted since.

        When there is none yet, that is index -1 of commit 0.
        """

    async def insert_namespace(self, namespace: Namespace) -> bool:
        """Inserts a namespace durably; False when one of that name exists, which stays as it is."""

    async def find_namespace(self, name: str) -> Namespace | None:
        """Returns a namespace that was inserted, or None."""

    async def list_namespaces(self, *, after: str, limit: int) -> list[Namespace]:
        """Returns at most `limit` namespaces with a name above `after`, ascending by code point."""

    async def set_retention(self, name: str, retention_us: int | None) -> Namespace | None:
        """Says durably how long closed runs are kept; has them swept at once. None: no such row."""

    async def claim_sweep(self, *, now_us: int, until_us: int) -> Namespace | None:
        """Returns a namespace with a retention that is to be swept, the one that waits longest.

        Its `sweep_at_us` is moved on durably to `until_us`, so that nobody else is given it before;
        None when there is none.
        """

    async def delete_namespace(self, name: str) -> bool:
        """Deletes the row of a namespace durably; False when there is none.

        Runs of that namespace stay as they are: they belong to it by its name alone.
        """

    async def count_runs(self, namespace: str) -> Mapping[RunStatus, int]:
        """Returns how many runs of a namespace have each status; those that none has are left out.

        Counts rows: for operators only.
        """

    async def run_ids(self, namespace: str, status: RunStatus, *, limit: int) -> list[str]:
        """Returns the ids of at most `limit` runs that have a status, ascending: the oldest."""

    async def delete_closed_runs(
        self, namespace: str, *, before_us: int, limit: int, max_events: int, max_bytes: int
    ) -> int:
        """Deletes runs of a namespace that closed before an instant; returns how many.

        0: there is none. Those that closed first go first. The row of the namespace keeps the place
        of the last event that was deleted.

        A run goes with all that is stored of it, and with the last run of a workflow the records of
        its requests go too, in one atomic and durable step. A step is short, for commits wait for
        it: at most `limit` runs, with at most `max_events` events of at most `max_bytes` together,
        but one run whatever its size. Of a run above these bounds, all events but the first and the
        last go before it, in steps of their own; a crash between them leaves it like that.
        """

    async def queue_depths(self, namespace: str, now_us: int) -> list[QueueDepth]:
        """Returns the queues of a namespace that have tasks, by name ascending by code point.

        A task is ready when no session holds it and `ready_at_us <= now_us`. What a paused run
        keeps from workers is pending and not ready. Counts rows: for operators only.
        """

    async def load_schedules(self, keys: Sequence[ScheduleKey]) -> list[ScheduleRow]:
        """Returns those of some schedules that exist, in any order. A key is named once."""

    async def list_schedules(self, namespace: str, *, after: str, limit: int) -> list[ScheduleRow]:
        """Returns at most `limit` schedules with a name above `after`, ascending by code point."""

    async def due_schedules(self, *, after: ScheduleRow | None, limit: int) -> list[ScheduleRow]:
        """Returns those to be served first, by (serve_at_us, namespace, name), after a given one.

        Schedules that are not to be served are left out.
        """

    async def waiting_schedules(
        self, *, after: ScheduleKey | None, limit: int
    ) -> list[ScheduleRow]:
        """Returns schedules that wait, by (namespace, name), after a given key."""

    async def count_schedules(self, namespace: str) -> int:
        """Returns how many schedules a namespace has. Counts rows: for operators only."""

    async def delete_schedules(self, namespace: str, *, limit: int) -> int:
        """Deletes at most `limit` schedules of a namespace durably; returns how many."""

    async def latest_runs(
        self, workflows: Sequence[tuple[str, str]]
    ) -> Mapping[tuple[str, str], LatestRun]:
        """Returns the run of the highest generation of each (namespace, workflow id) that has one.

        A workflow is named once.
        """

    async def insert_api_key(
        self, key: ApiKey, *, only_first: bool, unless_label: bool
    ) -> KeyInserted:
        """Inserts an API key atomically and durably, or answers why not.

        Checked in this order: NOT_FIRST with `only_first` when any key exists; LABEL_EXISTS with
        `unless_label` when a key has the same label (of several the newest is answered); TAKEN when
        the digest or the prefix exists. Of insertions that race with `only_first`, one is first.
        """

    async def list_api_keys(self) -> list[ApiKey]:
        """Returns every API key, by (created_at_us, prefix) descending: the newest first."""

    async def delete_api_key(self, prefix: str) -> bool:
        """Deletes an API key durably; False when there is none with this prefix."""

    async def put_workers(self, workers: Sequence[Worker]) -> None:
        """Inserts workers durably, or replaces those with the same (worker_id, server_id).

        Of those that stand already, `heard_at_us` and `until_us` never go back.
        """

    async def hear_workers(self, words: Sequence[Heard]) -> None:
        """Moves `heard_at_us` and `until_us` of every row of these workers on, and never back.

        A worker without a row gets none.
        """

    async def delete_workers(self, keys: Sequence[tuple[str, str]], *, silent_us: int) -> None:
        """Deletes the workers with these (worker_id, server_id), and all until `silent_us`."""

    async def find_workers(self, worker_ids: Sequence[str]) -> list[Worker]:
        """Returns every row of these workers, in any order, also of those that are silent."""

    async def registered_workers(self) -> list[Worker]:
        """Returns the workers without a server, in any order, also those that are silent."""

    async def list_workers(
        self, namespace: str, *, queue: str | None, now_us: int
    ) -> list[ListedWorker]:
        """Returns the workers of a namespace, or of one of its queues, with `until_us > now_us`.

        In any order. Counts rows: for operators only.
        """

    async def wait_for_work(self, timeout_us: int) -> None:
        """Returns when another server may have made work, or after the timeout.

        A hint: it may return early.
        """
