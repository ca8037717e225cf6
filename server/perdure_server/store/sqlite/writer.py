"""Owns the one writer: a thread that drains its queue into one transaction and one disk sync.

A call hands over operations and gets their answers after the commit, never before. The thread
speaks to the event loop once per group.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from queue import SimpleQueue
from threading import Thread
from typing import Final, TypeVar, cast

from perdure_server.core.errors import StoreBusy, StoreUnavailable
from perdure_server.core.limits import COMMIT_GROUP_MAX, COMMIT_QUEUE_MAX
from perdure_server.store.sqlite.group import Group

T = TypeVar("T")

_PASSING: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL})
"""Errors that leave the connection as good as before."""


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

    operation: Callable[[Group], object]
    call: _Call
    index: int

    def take(self, answer: object) -> bool:
        """Puts the answer into its place; returns whether it was the last of its call."""
        self.call.answers[self.index] = answer
        self.call.missing -= 1
        return not self.call.missing


class Writer:
    """Runs operations in groups, in a thread with a connection of its own, for one event loop."""

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection],
        queries: Mapping[str, str],
        stats: StoreStats,
    ) -> None:
        self._connect = connect
        self._queries = queries
        self._stats = stats
        self._connection: sqlite3.Connection | None = None
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._waiting = 0
        self._stopped: asyncio.Future[None] = self._loop.create_future()
        # A daemon, so that a process that ends without `stop` does not hang; a commit it cuts off
        # was not answered.
        self._thread = Thread(target=self._serve, name="perdure-writer", daemon=True)
        self._thread.start()

    async def run(self, operations: Sequence[Callable[[Group], T]]) -> list[T | Exception]:
        """Runs the operations in order, inside a transaction, and answers after its commit.

        An answer is what the operation returned, or the error for which nothing of it was written:
        StoreBusy when too many wait, StoreUnavailable when the database cannot be written.
        """
        count = len(operations)
        if self._waiting + count > COMMIT_QUEUE_MAX:
            text = f"{self._waiting} changes wait for the disk and at most {COMMIT_QUEUE_MAX} may"
            return [StoreBusy(text)] * count
        if not operations:
            return []
        call = _Call([None] * count, count, self._loop.create_future())
        self._waiting += count
        for index, operation in enumerate(operations):
            self._queue.put(_Job(operation, call, index))
        return cast("list[T | Exception]", await call.answered)

    async def stop(self) -> None:
        """Finishes what was handed over and ends the thread; nothing may be handed over after."""
        self._queue.put(None)
        await self._stopped
        self._thread.join()

    def _serve(self) -> None:
        """The thread: takes all that waits as one group, until the mark that ends the queue."""
        jobs = iter(self._queue.get, None)
        for job in jobs:
            waiting = min(self._queue.qsize(), COMMIT_GROUP_MAX - 1)
            group = [job, *islice(jobs, waiting)]
            answers = self._answers(group)
            taken = zip(group, answers, strict=True)
            self._tell(self._deliver, [job.call for job, answer in taken if job.take(answer)])
        if self._connection is not None:
            self._connection.close()
        self._tell(self._stopped.set_result, None)

    def _answers(self, group: Sequence[_Job]) -> list[object]:
        """Runs a group, and each job alone when the content of one spoiled the group."""
        try:
            return self._transact(group)
        except Exception as fault:  # noqa: BLE001 - a fault is the answer of the job that caused it
            if _is_of_database(fault):
                self._recover(fault)
                text = f"the database cannot be written: {fault}"
                return [StoreUnavailable(text) for _ in group]
            self._roll_back()
            if len(group) == 1:
                return [fault]
            return [answer for job in group for answer in self._answers([job])]

    def _transact(self, jobs: Sequence[_Job]) -> list[object]:
        if self._connection is None:
            self._connection = self._connect()
        self._connection.execute(self._queries["begin_write"])
        group = Group(self._connection, self._queries)
        answers = [job.operation(group) for job in jobs]
        group.finish()
        self._connection.commit()
        self._stats.commits += 1
        self._stats.changesets += group.changesets
        self._stats.statements += group.statements
        return answers

    def _recover(self, fault: Exception) -> None:
        """Rolls back; drops the connection, to be opened anew, when it may have suffered."""
        rolled_back = self._roll_back()
        code = getattr(fault, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if self._connection is not None and not (rolled_back and code in _PASSING):
            self._connection.close()
            self._connection = None

    def _roll_back(self) -> bool:
        with suppress(sqlite3.Error):
            if self._connection is not None:
                self._connection.rollback()
            return True
        return False

    def _deliver(self, calls: Sequence[_Call]) -> None:
        """In the event loop: wakes the callers, except those that were cancelled meanwhile."""
        for call in calls:
            self._waiting -= len(call.answers)
            if not call.answered.done():
                call.answered.set_result(call.answers)

    def _tell(self, callback: Callable[[T], object], argument: T) -> None:
        # A loop that is gone has no one left to tell.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(callback, argument)


def _is_of_database(fault: Exception) -> bool:
    """Whether the disk or the file is at fault, and not what was to be written."""
    return isinstance(fault, sqlite3.OperationalError) or type(fault) is sqlite3.DatabaseError
