"""Owns the one writer of a server: all that waits goes to the database in groups.

A group is split into batches, each one transaction and mostly one round trip. A conflict with
another server is tried again and never told; a fault of the database is the answer of the whole
batch; content that cannot be stored is the answer of its own operation only.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Final

import asyncpg

from perdure_server.core.errors import StoreBusy, StoreUnavailable
from perdure_server.core.limits import COMMIT_GROUP_MAX, COMMIT_QUEUE_MAX
from perdure_server.store.postgres.connection import LOST, Database, Link, Session, until_alone
from perdure_server.store.postgres.flush import Statements
from perdure_server.store.postgres.group import Batch, Commit, Operation, batch_for
from perdure_server.store.postgres.hints import Ears

_DATABASE: Final = (
    *LOST,
    asyncpg.InsufficientResourcesError,
    asyncpg.PostgresSystemError,
    asyncpg.InternalServerError,
    asyncpg.SyntaxOrAccessError,
    asyncpg.InvalidTransactionStateError,
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.LockNotAvailableError,
)
"""Faults of the database or of the way to it, and not of what was to be written."""


@dataclass(slots=True)
class StoreStats:
    """What a writer has done: its transactions, and the changesets and statements in them."""

    commits: int = 0
    changesets: int = 0
    statements: int = 0


@dataclass(slots=True)
class _Call:
    """One call's operations: `missing` counts the answers that are not in yet."""

    answers: list[object]
    missing: int
    answered: asyncio.Future[list[object]]


@dataclass(slots=True, frozen=True)
class _Job:
    """One operation and the place of its answer."""

    operation: Operation
    call: _Call
    index: int


class Writer:
    """Runs operations in groups, one batch after another, over connections of its own."""

    def __init__(
        self,
        database: Database,
        statements: Statements,
        ears: Ears,
        *,
        epoch: int,
        stats: StoreStats,
    ) -> None:
        self._ears = ears
        self._stats = stats
        self._database = database
        self._statements = statements
        self._epoch = epoch
        self._links = {by_key: Link(database, by_key=by_key) for by_key in (True, False)}
        self._queue: deque[_Job] = deque()
        self._arrived = asyncio.Event()
        self._is_stopping = False
        self._serving = asyncio.create_task(self._serve(), name="perdure-writer")

    async def run(self, operations: Sequence[Operation]) -> list[object]:
        """Runs the operations in order and answers after their commits.

        An answer is what the operation gave, or the error for which nothing of it was written:
        StoreBusy when too many wait, StoreUnavailable when the database cannot be written.
        """
        count, waiting = len(operations), len(self._queue)
        if waiting + count > COMMIT_QUEUE_MAX:
            text = f"{waiting} changes wait for the database and at most {COMMIT_QUEUE_MAX} may"
            return [StoreBusy(text)] * count
        if not operations:
            return []
        call = _Call([None] * count, count, asyncio.get_running_loop().create_future())
        self._queue.extend(_Job(each, call, index) for index, each in enumerate(operations))
        self._arrived.set()
        return await call.answered

    async def stop(self) -> None:
        """Finishes what was handed over and disconnects; nothing may be handed over after."""
        self._is_stopping = True
        self._arrived.set()
        await self._serving
        for link in self._links.values():
            await link.close()

    async def _serve(self) -> None:
        while self._queue or not self._is_stopping:
            await self._arrived.wait()
            self._arrived.clear()
            while self._queue:
                await self._group()

    async def _group(self) -> None:
        """Takes all that waits, up to a bound, and runs it batch by batch."""
        jobs = list(islice(self._queue, COMMIT_GROUP_MAX))
        while jobs:
            batch, count = self._batch([job.operation for job in jobs])
            taken, jobs = jobs[:count], jobs[count:]
            answers = await self._answers(batch, [job.operation for job in taken])
            for job, answer in zip(taken, answers, strict=True):
                self._queue.popleft()
                _take(job, answer)

    def _batch(self, operations: Sequence[Operation]) -> tuple[Batch, int]:
        """Puts as many of the first operations together as go together; returns how many."""
        batch = batch_for(operations[0], self._statements, self._epoch, self._ears)
        count = 0
        while count < len(operations) and batch.add(operations[count]):
            count += 1
        return batch, count

    async def _answers(self, batch: Batch, operations: Sequence[Operation]) -> Sequence[object]:
        """Runs a batch; halves it when content of it cannot be stored, until it is found."""
        try:
            answers = await until_alone(partial(self._run, batch))
        except StoreUnavailable as refusal:
            return [refusal] * len(operations)
        except Exception as fault:  # noqa: BLE001 - a fault is the answer of the operation that caused it
            if isinstance(fault, _DATABASE):
                return [self._database.unavailable(fault)] * len(operations)
            if len(operations) == 1:
                return [fault]
            return [
                answer
                for half in _halves(operations)
                for answer in await self._answers(self._batch(half)[0], half)
            ]
        self._stats.commits += 1
        self._stats.changesets += sum(
            isinstance(each, Commit) and not isinstance(answer, Exception)
            for each, answer in zip(operations, answers, strict=True)
        )
        return answers

    async def _run(self, batch: Batch) -> Sequence[object]:
        link = self._links[batch.by_key]
        session = await link.session()
        before = session.statements
        try:
            return await batch.run(session)
        except BaseException as fault:
            if not _is_harmless(fault, session):
                link.drop()
            raise
        finally:
            self._stats.statements += session.statements - before


def _is_harmless(fault: BaseException, session: Session) -> bool:
    """Whether a fault leaves the connection as good as before."""
    return (
        isinstance(fault, asyncpg.PostgresError)
        and not isinstance(fault, LOST)
        and session.is_alive
    )


def _take(job: _Job, answer: object) -> None:
    """Puts an answer into its place; wakes the caller after its last, unless it has left."""
    call = job.call
    call.answers[job.index] = answer
    call.missing -= 1
    if not call.missing and not call.answered.done():
        call.answered.set_result(call.answers)


def _halves(operations: Sequence[Operation]) -> tuple[Sequence[Operation], Sequence[Operation]]:
    middle = len(operations) // 2
    return operations[:middle], operations[middle:]
