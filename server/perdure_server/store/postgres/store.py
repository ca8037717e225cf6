"""Owns the PostgreSQL store: one database, one writer and a few readers, any number of servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, cast

from perdure_server.core.changeset import Changeset
from perdure_server.core.errors import StoreUnavailable
from perdure_server.core.filters.fields import Field
from perdure_server.core.limits import SECOND_US, SERVER_SILENCE_US
from perdure_server.core.model import (
    ApiKey,
    EventRow,
    Lane,
    Message,
    MessageKey,
    Namespace,
    RequestRecord,
    RunStatus,
    Snapshot,
    Task,
    TaskKind,
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
from perdure_server.store.postgres import members, upkeep
from perdure_server.store.postgres.connection import FAULTS, LOCK_SECONDS, Database, Row, migrate
from perdure_server.store.postgres.flush import Statements
from perdure_server.store.postgres.group import Claim, Commit, Extend, Operation, Step
from perdure_server.store.postgres.hints import Ears
from perdure_server.store.postgres.loads import Loads
from perdure_server.store.postgres.pulse import Pulse
from perdure_server.store.postgres.readers import Readers
from perdure_server.store.postgres.schedules import ScheduleQueries
from perdure_server.store.postgres.turns import Turns
from perdure_server.store.postgres.writer import StoreStats, Writer
from perdure_server.store.queries import load_queries
from perdure_server.store.shared import Beat, Hint, Overdue, Taken
from perdure_server.store.sqlite import rows
from perdure_server.store.sqlite.upkeep import Old

_ABOVE_ALL: Final = "\U0010ffff"
"""Stands above every run id."""
_JOIN_US: Final = int(LOCK_SECONDS * SECOND_US) + SERVER_SILENCE_US
"""How long joining may take: it waits for a migration."""
_BELOW_ALL: Final = (-(2**63), "", "", 0)
"""Stands below the key of every timer."""


@dataclass(slots=True, frozen=True)
class _Opened:
    """What an open store has."""

    epoch: int
    readers: Readers
    loads: Loads
    writer: Writer
    ears: Ears
    turns: Turns
    pulse: Pulse
    held: AsyncExitStack


class PostgresStore(ScheduleQueries):
    """The store in one schema of a PostgreSQL database. `Store` says what each method promises.

    `stats` counts what the writer did. The URL may hold a password; no error and no log has it.
    """

    def __init__(self, url: str, *, schema: str = "perdure") -> None:
        self.stats = StoreStats()
        queries = load_queries(__package__)
        self._statements = Statements(queries)
        self._database = Database(url, schema, queries)
        self._listing = Listing(queries, self._ask)
        self._opened: _Opened | None = None

    async def open(self) -> None:
        """Migrates the schema, starts the readers and the writer."""
        try:
            epoch = await migrate(self._database)
        except FAULTS as fault:
            raise self._database.unavailable(fault) from fault
        async with AsyncExitStack() as held:
            ears = Ears(self._database)
            held.push_async_callback(ears.close)
            await ears.open()
            turns = Turns(self._database, ears)
            held.push_async_callback(turns.close)
            pulse = Pulse(self._database)
            held.push_async_callback(pulse.close)
            readers = Readers(self._database)
            held.push_async_callback(readers.close)
            loads = Loads(readers, self._statements.load)
            writer = Writer(self._database, self._statements, ears, epoch=epoch, stats=self.stats)
            held.push_async_callback(writer.stop)
            self._opened = _Opened(
                epoch, readers, loads, writer, ears, turns, pulse, held.pop_all()
            )

    async def close(self) -> None:
        """Finishes accepted commits and reads, then disconnects."""
        opened, self._opened = self._opened, None
        if opened is not None:
            await opened.held.aclose()

    @property
    def epoch(self) -> int:
        """The epoch of positions."""
        return self._open.epoch

    async def commit(self, changesets: Sequence[Changeset]) -> list[Committed | Exception]:
        """Applies each changeset atomically."""
        answers = await self._open.writer.run([Commit(changeset) for changeset in changesets])
        return cast("list[Committed | Exception]", answers)

    async def claim_tasks(self, claims: Sequence[ClaimRequest], now_us: int) -> list[list[Task]]:
        """Leases ready tasks."""
        return cast("list[list[Task]]", await self._write(Claim(claims, now_us)))

    async def extend_leases(self, leases: Sequence[tuple[Task, int]]) -> None:
        """Moves the end of the leases that still stand."""
        await self._write(Extend(leases))

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
        return await self._open.loads.load(run_id, known_seq)

    async def load_history(
        self, run_id: str, *, after_seq: int, limit: int, max_bytes: int
    ) -> list[EventRow]:
        """Returns the next events of a run."""
        found = await self._rows("load_history", run_id, after_seq, limit, max_bytes)
        return [EventRow(*row) for row in found]

    async def find_events(self, run_id: str, kinds: Sequence[str], *, limit: int) -> list[EventRow]:
        """Returns the newest events of these kinds."""
        found = await self._rows("find_events", run_id, list(kinds), limit)
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
        columns = map(list, zip(*keys, strict=True)) if keys else ([], [])
        found = await self._rows("standing_messages", *columns)
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
        return bool(await self._step(upkeep.insert_namespace, namespace=namespace))

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
        found: Namespace | None = await self._step(
            upkeep.set_retention, name=name, retention_us=retention_us
        )
        return found

    async def claim_sweep(self, *, now_us: int, until_us: int) -> Namespace | None:
        """Returns a namespace that is to be swept."""
        found: Namespace | None = await self._step(
            upkeep.claim_sweep, now_us=now_us, until_us=until_us
        )
        return found

    async def delete_namespace(self, name: str) -> bool:
        """Deletes the row of a namespace."""
        return bool(await self._step(upkeep.delete_namespace, name=name))

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
        old = Old(namespace, before_us, max_events, max_bytes)
        while await self._run(upkeep.thin_oldest_run, old=old):
            pass
        delete = partial(upkeep.delete_closed_runs, statements=self._statements)
        return int(await self._run(delete, old=old, limit=limit))

    async def queue_depths(self, namespace: str, now_us: int) -> list[QueueDepth]:
        """Returns the queues of a namespace that have tasks."""
        return rows.to_queue_depths(await self._rows("queue_depths", namespace, now_us))

    async def insert_api_key(
        self, key: ApiKey, *, only_first: bool, unless_label: bool
    ) -> KeyInserted:
        """Inserts an API key, or answers why not."""
        inserted: KeyInserted = await self._step(
            upkeep.insert_api_key,
            key=key,
            ears=self._open.ears,
            only_first=only_first,
            unless_label=unless_label,
        )
        return inserted

    async def list_api_keys(self) -> list[ApiKey]:
        """Returns every API key, newest first."""
        return [rows.to_api_key(row) for row in await self._rows("list_api_keys")]

    async def delete_api_key(self, prefix: str) -> bool:
        """Deletes an API key."""
        return bool(await self._step(upkeep.delete_api_key, prefix=prefix, ears=self._open.ears))

    async def put_workers(self, workers: Sequence[Worker]) -> None:
        """Inserts or replaces workers."""
        await self._run(members.put_workers, workers)

    async def hear_workers(self, words: Sequence[Heard]) -> None:
        """Notes that workers were heard."""
        await self._run(members.hear_workers, words)

    async def delete_workers(self, keys: Sequence[tuple[str, str]], *, silent_us: int) -> None:
        """Deletes workers."""
        await self._run(members.delete_workers, keys, silent_us=silent_us)

    async def find_workers(self, worker_ids: Sequence[str]) -> list[Worker]:
        """Returns every row of these workers."""
        return [rows.to_worker(row) for row in await self._rows("find_workers", worker_ids)]

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
        """Returns after the timeout."""
        await asyncio.sleep(timeout_us / SECOND_US)

    @property
    def is_cut_off(self) -> bool:
        """Whether every call is refused."""
        return self._database.is_given_up

    async def join(self, server_id: str) -> int:
        """Enters this server among the living."""
        join = partial(members.join, schema=self._database.schema, server_id=server_id)
        now_us = await self._open.pulse.run(join, silent_us=_JOIN_US)
        self._open.ears.server_id = server_id
        return now_us

    async def beat(self, *, silent_us: int) -> Beat | None:
        """Shows that this server lives."""
        show = partial(members.beat, server_id=self._server_id, silent_us=silent_us)
        return await self._open.pulse.run(show, silent_us=silent_us)

    async def bury(self, server_id: str, *, silent_us: int) -> list[str] | None:
        """Removes a server that is still silent and takes over its sessions."""
        ids = (self._server_id, server_id)
        taken: list[str] | None = await self._run(members.bury, *ids, silent_us=silent_us)
        return taken

    async def leave(self) -> None:
        """Removes this server and the entries of its sessions."""
        server_id, self._open.ears.server_id = self._server_id, ""
        if server_id:
            await self._run(members.leave, server_id)

    async def take_session(self, session_id: str) -> Taken:
        """Makes a session this server's."""
        take = partial(members.take_session, if_orphan=False)
        taken: Taken = await self._run(take, self._open.ears, session_id)
        return taken

    async def take_orphan(self, session_id: str) -> Taken | None:
        """Makes a session this server's unless another one has it."""
        take = partial(members.take_session, if_orphan=True)
        taken: Taken | None = await self._run(take, self._open.ears, session_id)
        return taken

    async def release_session(self, session_id: str) -> bool:
        """Removes a session of this server."""
        return bool(await self._run(members.release_session, self._server_id, session_id))

    async def leases_here(self) -> list[Task]:
        """Returns the tasks leased without an end to a session of this server or of none."""
        return [rows.to_task(row) for row in await self._rows("leases_here", self._server_id)]

    async def overdue(self, before_us: int, *, limit: int) -> Overdue:
        """Returns the earliest timers due and leases run out."""
        ((timers, leases, messages),) = await self._rows("overdue", before_us, limit)
        return Overdue(
            tuple(map(rows.to_timer, timers)),
            tuple(map(rows.to_task, leases)),
            tuple(map(rows.to_message, messages)),
        )

    async def ready_lanes(self, now_us: int) -> list[Lane]:
        """Returns the lanes that have a ready task which no session holds."""
        return [
            Lane(namespace, queue, TaskKind(kind), type_)
            for namespace, queue, kind, type_ in await self._rows("ready_lanes", now_us)
        ]

    async def send_note(self, server_id: str, note: bytes) -> None:
        """Sends something to another server."""
        await self._run(self._open.ears.send_note, server_id, note)

    def hints(self) -> AsyncGenerator[Hint]:
        """Yields what other servers have committed."""
        return self._open.ears.hints()

    def alone_with(self, run_id: str) -> AbstractAsyncContextManager[None]:
        """Lets no other server into its own such block for the run."""
        return self._open.turns.alone_with(run_id)

    @property
    def _server_id(self) -> str:
        return self._open.ears.server_id

    @property
    def _open(self) -> _Opened:
        if self._opened is None:
            raise StoreUnavailable(f"{self._database.name} is not open")
        return self._opened

    async def _ask(self, sql: Sql) -> list[Row]:
        return await self._open.readers.rows(sql.text, *sql.parameters)

    async def _rows(self, query: str, *parameters: object) -> list[Row]:
        return await self._open.readers.rows(self._statements.queries[query], *parameters)

    async def _run(self, function: Callable[..., Awaitable[Any]], *given: Any, **named: Any) -> Any:
        """Runs what concerns the servers themselves, which does not wait for the writer."""
        return await self._open.readers.run(lambda session: function(session, *given, **named))

    async def _step(self, function: Callable[..., Awaitable[Any]], **arguments: Any) -> Any:
        return await self._write(Step(partial(function, **arguments)))

    async def _write(self, operation: Operation) -> Any:
        (answer,) = await self._open.writer.run([operation])
        if isinstance(answer, Exception):
            raise answer
        return answer
