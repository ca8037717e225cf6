"""Owns a store that fails, is slow and dies, as its random numbers say: for the simulation.

A refused call has changed nothing. A call during which the store dies never returns, as in a
process that was killed: what it had committed stays, the reply is lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeVar

from perdure_server.core.changeset import Changeset
from perdure_server.core.errors import StoreUnavailable
from perdure_server.core.filters.fields import Field
from perdure_server.core.limits import MILLISECOND_US, SECOND_US
from perdure_server.core.model import (
    ApiKey,
    EventRow,
    Message,
    MessageKey,
    Namespace,
    RequestRecord,
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
    LaneDepth,
    LatestRun,
    ListedWorker,
    ListFilter,
    Place,
    Position,
    QueueDepth,
    RunGroup,
    RunSummary,
    Store,
    WatchedEvent,
)

T = TypeVar("T")


@dataclass(slots=True)
class Faults:
    """How often what happens, as probabilities per call; all zero is a store without faults."""

    refuse: float = 0.0
    """The call fails with StoreUnavailable, before anything is done."""
    lose: float = 0.0
    """The call is done and its answer lost: StoreUnavailable. Only where the store is shared."""
    delay: float = 0.0
    """The call, or its reply, takes up to `delay_us_max`."""
    delay_us_max: int = 50 * MILLISECOND_US
    die_before: float = 0.0
    """The store dies before a commit or claim is applied."""
    die_after: float = 0.0
    """The store dies after a commit or claim was applied and before its reply."""


class FaultyStore:
    """Wraps a store; `faults` may be changed at any time. After a death no call ever returns."""

    def __init__(
        self,
        inner: Store,
        random: Random,
        *,
        faults: Faults,
        on_death: Callable[[], None] = lambda: None,
    ) -> None:
        self.faults = faults
        self._inner = inner
        self._random = random
        self._on_death = on_death
        self._dead = False

    def kill(self) -> None:
        """Dies now, with the process: no call returns any more."""
        self._dead = True

    async def open(self) -> None:
        """Opens the inner store; nothing fails here."""
        await self._inner.open()

    async def close(self) -> None:
        """Closes the inner store; nothing fails here."""
        await self._inner.close()

    @property
    def epoch(self) -> int:
        """The epoch of positions."""
        return self._inner.epoch

    async def commit(self, changesets: Sequence[Changeset]) -> list[Committed | Exception]:
        """Applies each changeset atomically, refuses all of them, or dies around it."""
        try:
            await self._arrive()
        except StoreUnavailable as refusal:
            return [refusal for _ in changesets]
        await self._may_die(self.faults.die_before)
        outcomes = await self._inner.commit(changesets)
        await self._may_die(self.faults.die_after)
        await self._pause()
        try:
            return await self._back(outcomes)
        except StoreUnavailable as lost:
            return [lost for _ in changesets]

    async def claim_tasks(self, claims: Sequence[ClaimRequest], now_us: int) -> list[list[Task]]:
        """Leases ready tasks, refuses to, or dies around it."""
        await self._arrive()
        await self._may_die(self.faults.die_before)
        leased = await self._inner.claim_tasks(claims, now_us)
        await self._may_die(self.faults.die_after)
        await self._pause()
        return await self._back(leased)

    async def extend_leases(self, leases: Sequence[tuple[Task, int]]) -> None:
        """Moves the end of the leases that still stand."""
        await self._arrive()
        await self._inner.extend_leases(leases)
        await self._back(None)

    async def find_request(
        self, namespace: str, workflow_id: str, rpc: str, request_id: str
    ) -> RequestRecord | None:
        """Returns the record of an earlier request."""
        await self._arrive()
        return await self._back(
            await self._inner.find_request(namespace, workflow_id, rpc, request_id)
        )

    async def find_run(self, namespace: str, workflow_id: str, run_id: str | None) -> str | None:
        """Returns the id of the given or the latest run."""
        await self._arrive()
        return await self._back(await self._inner.find_run(namespace, workflow_id, run_id))

    async def load_run(self, run_id: str, *, known_seq: int | None = None) -> RunState | None:
        """Returns a run with its pending rows, and its unseen events or those that are new."""
        await self._arrive()
        return await self._back(await self._inner.load_run(run_id, known_seq=known_seq))

    async def load_history(
        self, run_id: str, *, after_seq: int, limit: int, max_bytes: int
    ) -> list[EventRow]:
        """Returns the next events of a run."""
        await self._arrive()
        answer = await self._inner.load_history(
            run_id, after_seq=after_seq, limit=limit, max_bytes=max_bytes
        )
        return await self._back(answer)

    async def find_events(self, run_id: str, kinds: Sequence[str], *, limit: int) -> list[EventRow]:
        """Returns the newest events of these kinds."""
        await self._arrive()
        return await self._back(await self._inner.find_events(run_id, kinds, limit=limit))

    async def summarize_run(self, run_id: str) -> RunSummary | None:
        """Returns a run as lists show it."""
        await self._arrive()
        return await self._back(await self._inner.summarize_run(run_id))

    async def list_runs(
        self, where: ListFilter, *, after: Place | None, limit: int
    ) -> list[RunSummary]:
        """Returns runs by run id descending."""
        await self._arrive()
        return await self._back(await self._inner.list_runs(where, after=after, limit=limit))

    async def count_matching(self, where: ListFilter) -> int:
        """Returns how many runs match."""
        return await self._back(await self._inner.count_matching(where))

    async def count_groups(
        self, where: ListFilter, by: Field | str, *, limit: int
    ) -> list[RunGroup]:
        """Returns how many matching runs have each value."""
        return await self._back(await self._inner.count_groups(where, by, limit=limit))

    async def list_children(self, run_id: str, *, after: str, limit: int) -> list[RunSummary]:
        """Returns the children of a run."""
        await self._arrive()
        return await self._back(await self._inner.list_children(run_id, after=after, limit=limit))

    async def find_update(self, run_id: str, seq: int) -> Update | None:
        """Returns an update."""
        await self._arrive()
        return await self._back(await self._inner.find_update(run_id, seq))

    async def find_snapshot(self, run_id: str) -> Snapshot | None:
        """Returns what the code of a run last published."""
        await self._arrive()
        return await self._back(await self._inner.find_snapshot(run_id))

    async def read_inbox(
        self, *, after: MessageKey | None, before_us: int, limit: int
    ) -> list[Message]:
        """Returns messages that nobody has recorded."""
        await self._arrive()
        found = await self._inner.read_inbox(after=after, before_us=before_us, limit=limit)
        return await self._back(found)

    async def standing_messages(self, keys: Sequence[MessageKey]) -> set[MessageKey]:
        """Returns those of the messages that nobody has recorded."""
        await self._arrive()
        return await self._back(await self._inner.standing_messages(keys))

    async def due_timers(self, *, after: Timer | None, limit: int) -> list[Timer]:
        """Returns the earliest timers."""
        await self._arrive()
        return await self._back(await self._inner.due_timers(after=after, limit=limit))

    async def leased_tasks(self) -> list[Task]:
        """Returns every task that a session holds."""
        await self._arrive()
        return await self._back(await self._inner.leased_tasks())

    async def lane_depths(self) -> list[LaneDepth]:
        """Returns every lane that has a task no session holds."""
        await self._arrive()
        return await self._back(await self._inner.lane_depths())

    async def read_events(self, after: Position, *, limit: int) -> list[WatchedEvent]:
        """Returns committed events after a position."""
        await self._arrive()
        return await self._back(await self._inner.read_events(after, limit=limit))

    async def last_position(self) -> Position:
        """Returns the position of the last committed event."""
        await self._arrive()
        return await self._back(await self._inner.last_position())

    async def insert_namespace(self, namespace: Namespace) -> bool:
        """Inserts a namespace."""
        await self._arrive()
        return await self._back(await self._inner.insert_namespace(namespace))

    async def find_namespace(self, name: str) -> Namespace | None:
        """Returns a namespace that was inserted."""
        await self._arrive()
        return await self._back(await self._inner.find_namespace(name))

    async def list_namespaces(self, *, after: str, limit: int) -> list[Namespace]:
        """Returns namespaces by name."""
        await self._arrive()
        return await self._back(await self._inner.list_namespaces(after=after, limit=limit))

    async def set_retention(self, name: str, retention_us: int | None) -> Namespace | None:
        """Says how long a namespace keeps closed runs."""
        await self._arrive()
        return await self._back(await self._inner.set_retention(name, retention_us))

    async def claim_sweep(self, *, now_us: int, until_us: int) -> Namespace | None:
        """Returns a namespace that is to be swept."""
        await self._arrive()
        return await self._back(await self._inner.claim_sweep(now_us=now_us, until_us=until_us))

    async def delete_namespace(self, name: str) -> bool:
        """Deletes the row of a namespace."""
        await self._arrive()
        return await self._back(await self._inner.delete_namespace(name))

    async def count_runs(self, namespace: str) -> Mapping[RunStatus, int]:
        """Returns how many runs of a namespace have each status."""
        await self._arrive()
        return await self._back(await self._inner.count_runs(namespace))

    async def run_ids(self, namespace: str, status: RunStatus, *, limit: int) -> list[str]:
        """Returns the oldest runs that have a status."""
        await self._arrive()
        return await self._back(await self._inner.run_ids(namespace, status, limit=limit))

    async def delete_closed_runs(
        self, namespace: str, *, before_us: int, limit: int, max_events: int, max_bytes: int
    ) -> int:
        """Deletes the oldest closed runs of a namespace, or dies around it."""
        await self._arrive()
        await self._may_die(self.faults.die_before)
        count = await self._inner.delete_closed_runs(
            namespace, before_us=before_us, limit=limit, max_events=max_events, max_bytes=max_bytes
        )
        await self._may_die(self.faults.die_after)
        return await self._back(count)

    async def queue_depths(self, namespace: str, now_us: int) -> list[QueueDepth]:
        """Returns the queues of a namespace that have tasks."""
        await self._arrive()
        return await self._back(await self._inner.queue_depths(namespace, now_us))

    async def load_schedules(self, keys: Sequence[ScheduleKey]) -> list[ScheduleRow]:
        """Returns those of some schedules that exist."""
        await self._arrive()
        return await self._back(await self._inner.load_schedules(keys))

    async def list_schedules(self, namespace: str, *, after: str, limit: int) -> list[ScheduleRow]:
        """Returns schedules by name."""
        await self._arrive()
        found = await self._inner.list_schedules(namespace, after=after, limit=limit)
        return await self._back(found)

    async def due_schedules(self, *, after: ScheduleRow | None, limit: int) -> list[ScheduleRow]:
        """Returns the schedules to be served first."""
        await self._arrive()
        return await self._back(await self._inner.due_schedules(after=after, limit=limit))

    async def waiting_schedules(
        self, *, after: ScheduleKey | None, limit: int
    ) -> list[ScheduleRow]:
        """Returns schedules that wait."""
        await self._arrive()
        return await self._back(await self._inner.waiting_schedules(after=after, limit=limit))

    async def count_schedules(self, namespace: str) -> int:
        """Returns how many schedules a namespace has."""
        await self._arrive()
        return await self._back(await self._inner.count_schedules(namespace))

    async def delete_schedules(self, namespace: str, *, limit: int) -> int:
        """Deletes schedules of a namespace."""
        await self._arrive()
        return await self._back(await self._inner.delete_schedules(namespace, limit=limit))

    async def latest_runs(
        self, workflows: Sequence[tuple[str, str]]
    ) -> Mapping[tuple[str, str], LatestRun]:
        """Returns the newest run of each of several workflows."""
        await self._arrive()
        return await self._back(await self._inner.latest_runs(workflows))

    async def insert_api_key(
        self, key: ApiKey, *, only_first: bool, unless_label: bool
    ) -> KeyInserted:
        """Inserts an API key, or answers why not."""
        await self._arrive()
        answer = await self._inner.insert_api_key(
            key, only_first=only_first, unless_label=unless_label
        )
        return await self._back(answer)

    async def list_api_keys(self) -> list[ApiKey]:
        """Returns every API key, newest first."""
        await self._arrive()
        return await self._back(await self._inner.list_api_keys())

    async def delete_api_key(self, prefix: str) -> bool:
        """Deletes an API key."""
        await self._arrive()
        return await self._back(await self._inner.delete_api_key(prefix))

    async def put_workers(self, workers: Sequence[Worker]) -> None:
        """Inserts or replaces workers, or dies around it."""
        await self._arrive()
        await self._may_die(self.faults.die_before)
        await self._inner.put_workers(workers)
        await self._may_die(self.faults.die_after)
        await self._back(None)

    async def hear_workers(self, words: Sequence[Heard]) -> None:
        """Notes that workers were heard."""
        await self._arrive()
        await self._inner.hear_workers(words)
        await self._back(None)

    async def delete_workers(self, keys: Sequence[tuple[str, str]], *, silent_us: int) -> None:
        """Deletes workers."""
        await self._arrive()
        await self._inner.delete_workers(keys, silent_us=silent_us)
        await self._back(None)

    async def find_workers(self, worker_ids: Sequence[str]) -> list[Worker]:
        """Returns every row of these workers."""
        await self._arrive()
        return await self._back(await self._inner.find_workers(worker_ids))

    async def registered_workers(self) -> list[Worker]:
        """Returns the workers without a server."""
        await self._arrive()
        return await self._back(await self._inner.registered_workers())

    async def list_workers(
        self, namespace: str, *, queue: str | None, now_us: int
    ) -> list[ListedWorker]:
        """Returns the workers of a namespace or queue."""
        await self._arrive()
        listed = await self._inner.list_workers(namespace, queue=queue, now_us=now_us)
        return await self._back(listed)

    async def wait_for_work(self, timeout_us: int) -> None:
        """Waits as the inner store does."""
        await self._inner.wait_for_work(timeout_us)

    async def _arrive(self) -> None:
        """What may happen to any call on its way in."""
        await self._may_die(0.0)
        await self._pause()
        if self._happens(self.faults.refuse):
            raise StoreUnavailable("the simulated database is not there")

    async def _back(self, answer: T) -> T:
        """What may happen to an answer on its way to the server, which may not be awake."""
        return answer

    async def _pause(self) -> None:
        if self._happens(self.faults.delay):
            await asyncio.sleep(self._random.randint(0, self.faults.delay_us_max) / SECOND_US)

    async def _may_die(self, probability: float) -> None:
        if not self._dead and self._happens(probability):
            self.kill()
            self._on_death()
        if self._dead:
            await asyncio.get_running_loop().create_future()

    def _happens(self, probability: float) -> bool:
        return probability > 0 and self._random.random() < probability
