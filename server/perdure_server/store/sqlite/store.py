"""Owns the SQLite store: one file, one writer and a few readers, one server at a time."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from perdure_server.core.changeset import Changeset
from perdure_server.core.errors import StoreUnavailable
from perdure_server.core.filters.fields import Field
from perdure_server.core.limits import SECOND_US
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
    WatchedEvent,
)
from perdure_server.store.listing import Listing
from perdure_server.store.pieces import Sql
from perdure_server.store.queries import load_queries
from perdure_server.store.sqlite import rows, upkeep
from perdure_server.store.sqlite.connection import connect, lock, migrate
from perdure_server.store.sqlite.group import Group
from perdure_server.store.sqlite.readers import Readers
from perdure_server.store.sqlite.rows import Row
from perdure_server.store.sqlite.transactions import StoreStats, Transactions
from perdure_server.store.sqlite.writer import Writer, Writes

T = TypeVar("T")

_ABOVE_ALL: Final = "\U0010ffff"
"""Stands above every run id."""
_BELOW_ALL: Final = (-(2**63), "", "", 0)
"""Stands below the key of every timer."""


@dataclass(slots=True, frozen=True)
class _Opened:
    """What an open store has."""

    epoch: int
    readers: Readers
    writer: Writes
    held: AsyncExitStack


class SqliteStore:
    """The store on one SQLite file. `Store` says what each method promises.

    `connect` opens the connection that writes, `writer` decides when and in which thread;
    `stats` counts what was done.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        connect: Callable[[Path], sqlite3.Connection] = connect,
        writer: Callable[[Transactions], Writes] = Writer,
    ) -> None:
        self.stats = StoreStats()
        self._path = Path(path)
        self._connect = partial(connect, self._path)
        self._writer = writer
        self._queries = load_queries(__package__)
        self._listing = Listing(self._queries, self._ask)
        self._opened: _Opened | None = None

    async def open(self) -> None:
        """Takes ownership of the file, migrates it, starts the readers and the writer."""
        readers = Readers(self._path, self._queries)
        async with AsyncExitStack() as held:
            try:
                held.enter_context(await asyncio.to_thread(lock, self._path))
                epoch = await asyncio.to_thread(self._prepare)
                held.push_async_callback(readers.close)
                await readers.open()
            except (OSError, sqlite3.Error) as error:
                text = f"the database {self._path} cannot be opened: {error}"
                raise StoreUnavailable(text) from error
            writer = self._writer(Transactions(self._connect, self._queries, self.stats))
            held.push_async_callback(writer.stop)
            self._opened = _Opened(epoch, readers, writer, held.pop_all())

    async def close(self) -> None:
        """Finishes accepted commits and reads, then lets go of the file."""
        opened, self._opened = self._opened, None
        if opened is not None:
            await opened.held.aclose()

    @property
    def epoch(self) -> int:
        """The epoch of positions."""
        return self._open.epoch

    async def commit(self, changesets: Sequence[Changeset]) -> list[Committed | Exception]:
        """Applies each changeset atomically."""
        operations = [partial(Group.commit, changeset=changeset) for changeset in changesets]
        return await self._open.writer.run(operations)

    async def claim_tasks(self, claims: Sequence[ClaimRequest], now_us: int) -> list[list[Task]]:
        """Leases ready tasks."""
        return await self._write(partial(Group.claim, claims=claims, now_us=now_us))

    async def extend_leases(self, leases: Sequence[tuple[Task, int]]) -> None:
        """Moves the end of the leases that still stand."""
        await self._write(partial(Group.extend, leases=leases))

    async def find_request(
        self, namespace: str, workflow_id: str, rpc: str, request_id: str
    ) -> RequestRecord | None:
        """Returns the record of an earlier request."""
        found = await self._rows("find_request", namespace, workflow_id, rpc, request_id)
        return rows.to_request(found[0]) if found else None

    async def find_run(self, namespace: str, workflow_id: str, run_id: str | None) -> str | None:
        """Returns the id of the given or the latest run."""
        if run_id is None:
            found = await self._rows("find_latest_run", namespace, workflow_id)
        else:
            found = await self._rows("find_run", namespace, workflow_id, run_id)
        return str(found[0][0]) if found else None

    async def load_run(self, run_id: str, *, known_seq: int | None = None) -> RunState | None:
        """Returns a run with its pending rows, and its unseen events or those that are new."""
        async with self._open.readers.snapshot() as snapshot:
            found = await snapshot.rows("load_run", run_id)
            if not found:
                return None
            *columns, started = found[0]
            run = rows.to_run(columns)
            activities = await snapshot.rows("load_activities", run_id)
            tasks = await snapshot.rows("load_tasks", run_id)
            timers = await snapshot.rows("load_timers", run_id)
            children = await snapshot.rows("load_children", run_id, known_seq)
            updates = await snapshot.rows("load_updates", run_id)
            after_seq = run.seen_seq if known_seq is None else known_seq
            tail = await snapshot.rows("load_tail", run_id, after_seq)
        pending = (activities, tasks, timers, children, updates, tail)
        return rows.to_state(run, started, pending)

    async def load_history(
        self, run_id: str, *, after_seq: int, limit: int, max_bytes: int
    ) -> list[EventRow]:
        """Returns the next events of a run."""
        found = await self._rows("load_history", run_id, after_seq, limit, max_bytes)
        return [EventRow(*row) for row in found]

    async def find_events(self, run_id: str, kinds: Sequence[str], *, limit: int) -> list[EventRow]:
        """Returns the newest events of these kinds."""
        found = await self._rows("find_events", run_id, json.dumps(list(kinds)), limit)
        return [EventRow(*row) for row in found]

    async def summarize_run(self, run_id: str) -> RunSummary | None:
        """Returns a run as lists show it."""
        found = await self._rows("summarize_run", run_id)
        return rows.to_summary(found[0]) if found else None

    async def list_runs(
        self, where: ListFilter, *, after: Place | None, limit: int
    ) -> list[RunSummary]:
        """Returns runs in the order of a list."""
        found = await self._listing.page(where, after=after, limit=limit)
        return [rows.to_summary(row) for row in found]

    async def count_matching(self, where: ListFilter) -> int:
        """Returns how many runs match."""
        return await self._listing.count(where)

    async def count_groups(
        self, where: ListFilter, by: Field | str, *, limit: int
    ) -> list[RunGroup]:
        """Returns how many matching runs have each value."""
        return await self._listing.groups(where, by, limit=limit)

    async def list_children(self, run_id: str, *, after: str, limit: int) -> list[RunSummary]:
        """Returns the children of a run by run id ascending."""
        found = await self._rows("list_children", run_id, after, limit)
        return [rows.to_summary(row) for row in found]

    async def find_update(self, run_id: str, seq: int) -> Update | None:
        """Returns an update, answered or not."""
        found = await self._rows("find_update", run_id, seq)
        return rows.to_update(found[0]) if found else None

    async def find_snapshot(self, run_id: str) -> Snapshot | None:
        """Returns what the code of a run last published."""
        found = await self._rows("find_snapshot", run_id)
        return rows.to_snapshot(found[0]) if found else None

    async def read_inbox(
        self, *, after: MessageKey | None, before_us: int, limit: int
    ) -> list[Message]:
        """Returns messages that nobody has recorded."""
        found = await self._rows("read_inbox", *(after or ("", 0)), before_us, limit)
        return [rows.to_message(row) for row in found]

    async def standing_messages(self, keys: Sequence[MessageKey]) -> set[MessageKey]:
        """Returns those of the messages that nobody has recorded."""
        found = await self._rows("standing_messages", json.dumps(keys))
        return {(str(run_id), seq) for run_id, seq in found}

    async def due_timers(self, *, after: Timer | None, limit: int) -> list[Timer]:
        """Returns the earliest timers."""
        key = _BELOW_ALL
        if after is not None:
            key = (after.due_at_us, after.run_id, after.kind.value, after.seq)
        return [rows.to_timer(row) for row in await self._rows("due_timers", *key, limit)]

    async def leased_tasks(self) -> list[Task]:
        """Returns every task that a session holds."""
        return [rows.to_task(row) for row in await self._rows("leased_tasks")]

    async def lane_depths(self) -> list[LaneDepth]:
        """Returns every lane that has a task no session holds."""
        return [rows.to_depth(row) for row in await self._rows("lane_depths")]

    async def read_events(self, after: Position, *, limit: int) -> list[WatchedEvent]:
        """Returns committed events after a position."""
        if after.epoch > self.epoch:
            return []
        start = (after.commit, after.index) if after.epoch == self.epoch else (0, -1)
        found = await self._rows("read_events", *start, limit)
        return [rows.to_watched(self.epoch, row) for row in found]

    async def last_position(self) -> Position:
        """Returns the position of the last committed event."""
        return Position(*(await self._rows("last_position"))[0])

    async def insert_namespace(self, namespace: Namespace) -> bool:
        """Inserts a namespace."""
        return await self._write(partial(upkeep.insert_namespace, namespace=namespace))

    async def find_namespace(self, name: str) -> Namespace | None:
        """Returns a namespace that was inserted."""
        found = await self._rows("find_namespace", name)
        return rows.to_namespace(found[0]) if found else None

    async def list_namespaces(self, *, after: str, limit: int) -> list[Namespace]:
        """Returns namespaces by name."""
        found = await self._rows("list_namespaces", after, limit)
        return [rows.to_namespace(row) for row in found]

    async def set_retention(self, name: str, retention_us: int | None) -> Namespace | None:
        """Says how long a namespace keeps closed runs."""
        return await self._write(
            partial(upkeep.set_retention, name=name, retention_us=retention_us)
        )

    async def claim_sweep(self, *, now_us: int, until_us: int) -> Namespace | None:
        """Returns a namespace that is to be swept."""
        return await self._write(partial(upkeep.claim_sweep, now_us=now_us, until_us=until_us))

    async def delete_namespace(self, name: str) -> bool:
        """Deletes the row of a namespace."""
        return await self._write(partial(upkeep.delete_namespace, name=name))

    async def count_runs(self, namespace: str) -> Mapping[RunStatus, int]:
        """Returns how many runs of a namespace have each status."""
        found = await self._rows("count_runs", namespace)
        return {RunStatus(status): count for status, count in found}

    async def run_ids(self, namespace: str, status: RunStatus, *, limit: int) -> list[str]:
        """Returns the oldest runs that have a status."""
        found = await self._rows("run_ids", namespace, status.value, limit)
        return [run_id for (run_id,) in found]

    async def delete_closed_runs(
        self, namespace: str, *, before_us: int, limit: int, max_events: int, max_bytes: int
    ) -> int:
        """Deletes the oldest closed runs of a namespace, a long history before its run."""
        old = upkeep.Old(namespace, before_us, max_events, max_bytes)
        while await self._write(partial(upkeep.thin_oldest_run, old=old)):
            pass
        return await self._write(partial(upkeep.delete_closed_runs, old=old, limit=limit))

    async def queue_depths(self, namespace: str, now_us: int) -> list[QueueDepth]:
        """Returns the queues of a namespace that have tasks."""
        return rows.to_queue_depths(await self._rows("queue_depths", namespace, now_us))

    async def load_schedules(self, keys: Sequence[ScheduleKey]) -> list[ScheduleRow]:
        """Returns those of some schedules that exist."""
        return [rows.to_schedule(row) for row in await self._rows("load_schedules", _pairs(keys))]

    async def list_schedules(self, namespace: str, *, after: str, limit: int) -> list[ScheduleRow]:
        """Returns schedules by name."""
        found = await self._rows("list_schedules", namespace, after, limit)
        return [rows.to_schedule(row) for row in found]

    async def due_schedules(self, *, after: ScheduleRow | None, limit: int) -> list[ScheduleRow]:
        """Returns the schedules to be served first."""
        key = _BELOW_ALL[:3] if after is None else (after.serve_at_us, *after.key)
        found = await self._rows("due_schedules", *key, limit)
        return [rows.to_schedule(row) for row in found]

    async def waiting_schedules(
        self, *, after: ScheduleKey | None, limit: int
    ) -> list[ScheduleRow]:
        """Returns schedules that wait, by namespace and name."""
        found = await self._rows("waiting_schedules", *(after or ("", "")), limit)
        return [rows.to_schedule(row) for row in found]

    async def count_schedules(self, namespace: str) -> int:
        """Returns how many schedules a namespace has."""
        return int((await self._rows("count_schedules", namespace))[0][0])

    async def delete_schedules(self, namespace: str, *, limit: int) -> int:
        """Deletes schedules of a namespace."""
        delete = partial(upkeep.delete_schedules, namespace=namespace, limit=limit)
        return await self._write(delete)

    async def latest_runs(
        self, workflows: Sequence[tuple[str, str]]
    ) -> Mapping[tuple[str, str], LatestRun]:
        """Returns the newest run of each of several workflows."""
        return rows.to_latest(await self._rows("latest_runs", _pairs(workflows)))

    async def insert_api_key(
        self, key: ApiKey, *, only_first: bool, unless_label: bool
    ) -> KeyInserted:
        """Inserts an API key, or answers why not."""
        return await self._write(
            partial(
                upkeep.insert_api_key, key=key, only_first=only_first, unless_label=unless_label
            )
        )

    async def list_api_keys(self) -> list[ApiKey]:
        """Returns every API key, newest first."""
        return [rows.to_api_key(row) for row in await self._rows("list_api_keys")]

    async def delete_api_key(self, prefix: str) -> bool:
        """Deletes an API key."""
        return await self._write(partial(upkeep.delete_api_key, prefix=prefix))

    async def put_workers(self, workers: Sequence[Worker]) -> None:
        """Inserts or replaces workers."""
        await self._write(partial(upkeep.put_workers, workers=workers))

    async def hear_workers(self, words: Sequence[Heard]) -> None:
        """Notes that workers were heard."""
        await self._write(partial(upkeep.hear_workers, words=words))

    async def delete_workers(self, keys: Sequence[tuple[str, str]], *, silent_us: int) -> None:
        """Deletes workers."""
        await self._write(partial(upkeep.delete_workers, keys=keys, silent_us=silent_us))

    async def find_workers(self, worker_ids: Sequence[str]) -> list[Worker]:
        """Returns every row of these workers."""
        found = [await self._rows("find_workers", each) for each in worker_ids]
        return [rows.to_worker(row) for each in found for row in each]

    async def registered_workers(self) -> list[Worker]:
        """Returns the workers without a server."""
        return [rows.to_worker(row) for row in await self._rows("registered_workers")]

    async def list_workers(
        self, namespace: str, *, queue: str | None, now_us: int
    ) -> list[ListedWorker]:
        """Returns the workers of a namespace or queue."""
        found = await self._rows("list_workers", namespace, queue, now_us)
        return [rows.to_listed_worker(row) for row in found]

    async def wait_for_work(self, timeout_us: int) -> None:
        """Returns after the timeout: no other server can make work in a file that this one owns."""
        await asyncio.sleep(timeout_us / SECOND_US)

    @property
    def _open(self) -> _Opened:
        if self._opened is None:
            raise StoreUnavailable(f"the database {self._path} is not open")
        return self._opened

    async def _rows(self, query: str, *parameters: object) -> list[Row]:
        return await self._open.readers.rows(query, *parameters)

    async def _ask(self, sql: Sql) -> list[Row]:
        return await self._open.readers.rows_of(sql.text, *sql.parameters)

    async def _write(self, operation: Callable[[Group], T]) -> T:
        (answer,) = await self._open.writer.run([operation])
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _prepare(self) -> int:
        """Brings the schema up to date; returns the epoch."""
        with closing(self._connect()) as connection:
            migrate(connection, self._queries)
            epoch, _, _ = connection.execute(self._queries["last_position"]).fetchone()
            return int(epoch)


def _pairs(keys: Sequence[tuple[str, str]]) -> str:
    """Returns keys as the one parameter that a query reads them from."""
    return msgspec.json.encode(keys).decode()
