"""Owns the reference model of the store: the contract written in plain dictionaries, for comparison
and simulation.

It has no threads, reads no clock and never waits: a call completes before another coroutine runs.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from copy import copy, deepcopy
from dataclasses import replace

from perdure_server.core.changeset import Changeset, RunChange
from perdure_server.core.errors import (
    MessageTaken,
    RequestRecorded,
    StaleVersion,
    StoreUnavailable,
    WorkflowAlreadyExists,
)
from perdure_server.core.filters.fields import Field
from perdure_server.core.limits import SECOND_US
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
from perdure_server.store.contract import (
    ClaimRequest,
    Committed,
    Heard,
    KeyInserted,
    KeyOutcome,
    LaneDepth,
    ListedWorker,
    ListFilter,
    Place,
    Position,
    QueueDepth,
    RunGroup,
    RunSummary,
    WatchedEvent,
)
from tests.support.model_contents import (
    Contents,
    StoredRun,
    begun,
    change_rows,
    closed_runs,
    leased,
    queue_depth,
    request_key,
    timer_order,
    watched,
)
from tests.support.model_lists import groups_of, matches, page_of
from tests.support.model_schedules import ModelSchedules


class ModelStore(ModelSchedules):
    """A store in memory. `Store` says what each method promises."""

    def __init__(self, contents: Contents | None = None) -> None:
        self._disk = contents or Contents()
        self._is_open = False

    def snapshot(self) -> Contents:
        """Returns a copy of everything that is stored."""
        return deepcopy(self._disk)

    def restart(self) -> ModelStore:
        """Returns the store that a new server finds after this one's server died; open it before
        use.
        """
        return ModelStore(self.snapshot())

    async def open(self) -> None:
        """Lets calls in."""
        self._is_open = True

    async def close(self) -> None:
        """Refuses calls from now on."""
        self._is_open = False

    @property
    def epoch(self) -> int:
        """The epoch of positions."""
        return self._contents.last.epoch

    async def commit(self, changesets: Sequence[Changeset]) -> list[Committed | Exception]:
        """Applies each changeset atomically."""
        disk = self._contents
        outcomes: list[Committed | Exception] = []
        position = Position(disk.last.epoch, disk.last.commit + 1, 0)
        for changeset in changesets:
            refusal = self._refusal(changeset)
            outcomes.append(refusal or Committed(position))
            if refusal is None:
                written = self._apply(changeset, position)
                position = replace(position, index=position.index + written)
        if position.index:
            disk.last = replace(position, index=position.index - 1)
        return outcomes

    async def claim_tasks(self, claims: Sequence[ClaimRequest], now_us: int) -> list[list[Task]]:
        """Leases ready tasks."""
        return [self._claim(claim, now_us) for claim in claims]

    async def extend_leases(self, leases: Sequence[tuple[Task, int]]) -> None:
        """Moves the end of the leases that still stand."""
        runs = self._contents.runs
        for task, until_us in leases:
            stored, key = runs.get(task.run_id), (task.kind, task.seq)
            row = stored.tasks.get(key) if stored else None
            if stored and row and row.session_id is not None and row.lease == task.lease:
                stored.tasks[key] = replace(row, lease_until_us=until_us)

    async def find_request(
        self, namespace: str, workflow_id: str, rpc: str, request_id: str
    ) -> RequestRecord | None:
        """Returns the record of an earlier request."""
        return self._contents.requests.get((namespace, workflow_id, rpc, request_id))

    async def find_run(self, namespace: str, workflow_id: str, run_id: str | None) -> str | None:
        """Returns the id of the given or the latest run."""
        found = [
            stored.run
            for stored in self._contents.runs.values()
            if (stored.run.namespace, stored.run.workflow_id) == (namespace, workflow_id)
            and run_id in {None, stored.run.run_id}
        ]
        return max(found, key=lambda run: run.generation).run_id if found else None

    async def load_run(self, run_id: str, *, known_seq: int | None = None) -> RunState | None:
        """Returns a run with its pending rows, and its unseen events or those that are new."""
        stored = self._contents.runs.get(run_id)
        if stored is None:
            return None
        return RunState(
            run=copy(stored.run),
            started=stored.history[0].frame,
            activities={key: copy(row) for key, row in stored.activities.items()},
            tasks={key: copy(row) for key, row in stored.tasks.items()},
            timers=dict(stored.timers),
            tail=stored.history[stored.run.seen_seq if known_seq is None else known_seq :],
            children=dict(stored.children) if known_seq is None else {},
            updates={key: row for key, row in stored.updates.items() if not row.outcome},
        )

    async def load_history(
        self, run_id: str, *, after_seq: int, limit: int, max_bytes: int
    ) -> list[EventRow]:
        """Returns the next events of a run."""
        stored = self._contents.runs.get(run_id)
        history = stored.history if stored else []
        page: list[EventRow] = []
        size = 0
        for event in history[after_seq : after_seq + limit]:
            size += len(event.frame)
            if page and size > max_bytes:
                break
            page.append(event)
        return page

    async def find_events(self, run_id: str, kinds: Sequence[str], *, limit: int) -> list[EventRow]:
        """Returns the newest events of these kinds."""
        stored = self._contents.runs.get(run_id)
        history = stored.history if stored else []
        return [event for event in reversed(history) if event.kind in kinds][:limit]

    async def summarize_run(self, run_id: str) -> RunSummary | None:
        """Returns a run as lists show it."""
        stored = self._contents.runs.get(run_id)
        return stored.summary if stored else None

    async def list_runs(
        self, where: ListFilter, *, after: Place | None, limit: int
    ) -> list[RunSummary]:
        """Returns runs in the order of a list."""
        runs = self._contents.runs
        return [runs[run.run_id].summary for run in page_of(runs.values(), where, after, limit)]

    async def count_matching(self, where: ListFilter) -> int:
        """Returns how many runs match."""
        return sum(matches(stored, where) for stored in self._contents.runs.values())

    async def count_groups(
        self, where: ListFilter, by: Field | str, *, limit: int
    ) -> list[RunGroup]:
        """Returns how many matching runs have each value."""
        return groups_of(self._contents.runs.values(), where, by, limit)

    async def list_children(self, run_id: str, *, after: str, limit: int) -> list[RunSummary]:
        """Returns the children of a run by run id ascending."""
        runs = self._contents.runs
        found = [
            runs[each].summary
            for each in sorted(runs)
            if run_id and runs[each].run.parent_run_id == run_id and each > after
        ]
        return found[:limit]

    async def find_update(self, run_id: str, seq: int) -> Update | None:
        """Returns an update, answered or not."""
        stored = self._contents.runs.get(run_id)
        return stored.updates.get(seq) if stored else None

    async def find_snapshot(self, run_id: str) -> Snapshot | None:
        """Returns what the code of a run last published."""
        stored = self._contents.runs.get(run_id)
        return stored.snapshot if stored else None

    async def read_inbox(
        self, *, after: MessageKey | None, before_us: int, limit: int
    ) -> list[Message]:
        """Returns messages that nobody has recorded."""
        inbox = self._contents.inbox
        found = [inbox[key] for key in sorted(inbox) if after is None or key > after]
        return [message for message in found if message.created_at_us < before_us][:limit]

    async def standing_messages(self, keys: Sequence[MessageKey]) -> set[MessageKey]:
        """Returns those of the messages that nobody has recorded."""
        return {key for key in keys if key in self._contents.inbox}

    async def due_timers(self, *, after: Timer | None, limit: int) -> list[Timer]:
        """Returns the earliest timers."""
        stored = self._contents.runs.values()
        timers = sorted((timer for run in stored for timer in run.timers.values()), key=timer_order)
        if after is not None:
            timers = [timer for timer in timers if timer_order(timer) > timer_order(after)]
        return timers[:limit]

    async def leased_tasks(self) -> list[Task]:
        """Returns every task that a session holds."""
        return [copy(task) for task in self._contents.tasks() if task.session_id is not None]

    async def lane_depths(self) -> list[LaneDepth]:
        """Returns every lane that has a task no session holds."""
        lanes: dict[Lane, list[int]] = {}
        for task in self._contents.tasks():
            if task.session_id is None:
                lanes.setdefault(task.lane, []).append(task.ready_at_us)
        return [LaneDepth(lane, len(ready), min(ready)) for lane, ready in lanes.items()]

    async def read_events(self, after: Position, *, limit: int) -> list[WatchedEvent]:
        """Returns committed events after a position."""
        page = [event for event in self._contents.log if event.position > after][:limit]
        runs = self._contents.runs
        return [replace(each, began_at_us=begun(runs[each.run_id], each)) for each in page]

    async def last_position(self) -> Position:
        """Returns the position of the last committed event."""
        return self._contents.last

    async def insert_namespace(self, namespace: Namespace) -> bool:
        """Inserts a namespace."""
        is_new = namespace.name not in self._contents.namespaces
        if is_new:
            self._disk.namespaces[namespace.name] = namespace
        return is_new

    async def find_namespace(self, name: str) -> Namespace | None:
        """Returns a namespace that was inserted."""
        return self._contents.namespaces.get(name)

    async def list_namespaces(self, *, after: str, limit: int) -> list[Namespace]:
        """Returns namespaces by name."""
        namespaces = self._contents.namespaces
        return [namespaces[name] for name in sorted(namespaces) if name > after][:limit]

    async def set_retention(self, name: str, retention_us: int | None) -> Namespace | None:
        """Says how long a namespace keeps closed runs."""
        known = self._contents.namespaces.get(name)
        return known and self._put(replace(known, retention_us=retention_us, sweep_at_us=0))

    async def claim_sweep(self, *, now_us: int, until_us: int) -> Namespace | None:
        """Returns a namespace that is to be swept."""
        due = [
            each
            for each in self._contents.namespaces.values()
            if each.retention_us is not None and each.sweep_at_us <= now_us
        ]
        first = min(due, key=lambda each: (each.sweep_at_us, each.name), default=None)
        return first and self._put(replace(first, sweep_at_us=until_us))

    def _note_expired(self, name: str, run_ids: set[str]) -> None:
        known = self._disk.namespaces.get(name)
        places = [each.position for each in self._disk.log if each.run_id in run_ids]
        if known is None or not places:
            return
        last = max((each.commit, each.index) for each in places)
        last = max(last, (known.expired_commit, known.expired_index))
        self._put(replace(known, expired_commit=last[0], expired_index=last[1]))

    def _put(self, namespace: Namespace) -> Namespace:
        self._disk.namespaces[namespace.name] = namespace
        return namespace

    async def delete_namespace(self, name: str) -> bool:
        """Deletes the row of a namespace."""
        return self._contents.namespaces.pop(name, None) is not None

    async def count_runs(self, namespace: str) -> Mapping[RunStatus, int]:
        """Returns how many runs of a namespace have each status."""
        return dict(Counter(run.status for run in self._runs_of(namespace)))

    async def run_ids(self, namespace: str, status: RunStatus, *, limit: int) -> list[str]:
        """Returns the oldest runs that have a status."""
        found = [run.run_id for run in self._runs_of(namespace) if run.status is status]
        return found[:limit]

    async def delete_closed_runs(
        self, namespace: str, *, before_us: int, limit: int, max_events: int, max_bytes: int
    ) -> int:
        """Deletes the oldest closed runs of a namespace."""
        closed = closed_runs(self._runs_of(namespace), before_us)
        deleted: set[str] = set()
        events = size = 0
        for run in closed[:limit]:
            events += run.history_length
            size += run.history_bytes
            if deleted and (events > max_events or size > max_bytes):
                break
            deleted.add(run.run_id)
            del self._disk.runs[run.run_id]
        disk = self._disk
        self._note_expired(namespace, deleted)
        disk.log = [event for event in disk.log if event.run_id not in deleted]
        left = {run.workflow_id for run in self._runs_of(namespace)}
        gone = {run.workflow_id for run in closed if run.run_id in deleted} - left
        for key in [key for key in disk.requests if key[0] == namespace and key[1] in gone]:
            del disk.requests[key]
        return len(deleted)

    async def queue_depths(self, namespace: str, now_us: int) -> list[QueueDepth]:
        """Returns the queues of a namespace that have tasks."""
        queues: dict[str, list[Task]] = {}
        for task in self._contents.tasks():
            if task.namespace == namespace:
                queues.setdefault(task.queue, []).append(task)
        return [queue_depth(queue, queues[queue], now_us) for queue in sorted(queues)]

    async def insert_api_key(
        self, key: ApiKey, *, only_first: bool, unless_label: bool
    ) -> KeyInserted:
        """Inserts an API key, or answers why not."""
        keys = await self.list_api_keys()
        same_label = [each for each in keys if each.label == key.label]
        if only_first and keys:
            return KeyInserted(KeyOutcome.NOT_FIRST)
        if unless_label and same_label:
            return KeyInserted(KeyOutcome.LABEL_EXISTS, same_label[0])
        if any(key.prefix == each.prefix or key.digest == each.digest for each in keys):
            return KeyInserted(KeyOutcome.TAKEN)
        self._disk.keys[key.prefix] = key
        return KeyInserted(KeyOutcome.INSERTED)

    async def list_api_keys(self) -> list[ApiKey]:
        """Returns every API key, newest first."""
        keys = self._contents.keys.values()
        return sorted(keys, key=lambda key: (key.created_at_us, key.prefix), reverse=True)

    async def delete_api_key(self, prefix: str) -> bool:
        """Deletes an API key."""
        return self._contents.keys.pop(prefix, None) is not None

    async def put_workers(self, workers: Sequence[Worker]) -> None:
        """Inserts or replaces workers."""
        self._contents.workers.put(workers)

    async def hear_workers(self, words: Sequence[Heard]) -> None:
        """Notes that workers were heard."""
        self._contents.workers.hear(words)

    async def delete_workers(self, keys: Sequence[tuple[str, str]], *, silent_us: int) -> None:
        """Deletes workers."""
        self._contents.workers.delete(keys, silent_us=silent_us)

    async def find_workers(self, worker_ids: Sequence[str]) -> list[Worker]:
        """Returns every row of these workers."""
        return [row for row in self._contents.workers.all() if row.worker_id in worker_ids]

    async def registered_workers(self) -> list[Worker]:
        """Returns the workers without a server."""
        return [row for row in self._contents.workers.all() if not row.server_id]

    async def list_workers(
        self, namespace: str, *, queue: str | None, now_us: int
    ) -> list[ListedWorker]:
        """Returns the workers of a namespace or queue."""
        held = Counter(task.session_id for task in self._contents.tasks())
        found = self._contents.workers.known(namespace, queue=queue, now_us=now_us)
        return [ListedWorker(row, held[row.worker_id]) for row in found]

    async def wait_for_work(self, timeout_us: int) -> None:
        """Returns after the timeout, by the loop's own time: there is no other server."""
        await asyncio.sleep(timeout_us / SECOND_US)

    @property
    def stored_schedules(self) -> dict[ScheduleKey, ScheduleRow]:
        """The schedules on the disk."""
        return self._contents.schedules

    @property
    def stored_runs(self) -> list[Run]:
        """The runs on the disk."""
        return [stored.run for stored in self._contents.runs.values()]

    @property
    def _contents(self) -> Contents:
        if not self._is_open:
            raise StoreUnavailable("the model is not open")
        return self._disk

    def _runs_of(self, namespace: str) -> list[Run]:
        """The runs of a namespace, the oldest first."""
        runs = self._contents.runs
        return [runs[key].run for key in sorted(runs) if runs[key].run.namespace == namespace]

    def _refusal(self, changeset: Changeset) -> Exception | None:
        if any(request_key(request) in self._disk.requests for request in changeset.requests):
            return RequestRecorded("a request of this changeset was answered before")
        inserted = [change.run for change in changeset.changes if not change.expected_version]
        if any(self._is_taken(run) for run in inserted):
            return WorkflowAlreadyExists("a run of this changeset exists already")
        if not all(self._is_current(change) for change in changeset.changes):
            return StaleVersion("a run of this changeset has changed")
        if not self._disk.inbox.keys() >= set(changeset.taken):
            return MessageTaken("a message of this changeset was recorded before")
        if not all(self.is_current_schedule(change) for change in changeset.schedules):
            return StaleVersion("a schedule of this changeset has changed")
        return None

    def _is_taken(self, run: Run) -> bool:
        key = (run.namespace, run.workflow_id, run.generation)
        rows = (stored.run for stored in self._disk.runs.values())
        return run.run_id in self._disk.runs or any(
            key == (row.namespace, row.workflow_id, row.generation) for row in rows
        )

    def _is_current(self, change: RunChange) -> bool:
        stored = self._disk.runs.get(change.run.run_id)
        version = stored.run.version if stored else 0
        tasks = stored.tasks if stored else {}
        return version == change.expected_version and all(
            key in tasks and tasks[key].lease == fence.lease for key, fence in change.fences.items()
        )

    def _apply(self, changeset: Changeset, position: Position) -> int:
        """Writes an accepted changeset with its first event at `position`; returns its number of
        events.
        """
        self._disk.requests |= {request_key(request): request for request in changeset.requests}
        for key in changeset.taken:
            del self._disk.inbox[key]
        for schedule in changeset.schedules:
            self.change_schedule(schedule)
        index = position.index
        for change in changeset.changes:
            run = copy(change.run)
            stored = self._disk.runs.setdefault(run.run_id, StoredRun(run))
            stored.run = run
            stored.history.extend(change.events)
            change_rows(stored, change)
            self._disk.inbox |= {message.key: message for message in change.messages}
            for event in change.events:
                self._disk.log.append(watched(replace(position, index=index), run, event))
                index += 1
        return index - position.index

    def _claim(self, claim: ClaimRequest, now_us: int) -> list[Task]:
        ready = [
            task
            for task in self._contents.tasks()
            if task.lane == claim.lane and task.session_id is None and task.ready_at_us <= now_us
        ]
        ready.sort(key=lambda task: (task.priority, task.ready_at_us, task.run_id, task.seq))
        taken = [leased(task, claim, now_us) for task in ready[: claim.limit]]
        for task in taken:
            self._disk.runs[task.run_id].tasks[task.kind, task.seq] = task
        return [copy(task) for task in taken]
