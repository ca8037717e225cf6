"""Owns the one writer: a thread that drains its queue into one transaction and one disk sync.

A call hands over operations and gets their answers after the commit, never before. The thread
speaks to the event loop once per group.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread
from typing import Protocol, TypeVar, cast

from perdure_server.core.errors import StoreBusy
from perdure_server.core.limits import COMMIT_GROUP_MAX, COMMIT_QUEUE_MAX
from perdure_server.store.sqlite.group import Group
from perdure_server.store.sqlite.transactions import Operation, Transactions

T = TypeVar("T")


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

    def take(self, answer: object) -> bool:
        """Puts the answer into its place; returns whether it was the last of its call."""
        self.call.answers[self.index] = answer
        self.call.missing -= 1
        return not self.call.missing


class Writes(Protocol):
    """Who writes for one event loop."""

    async def run(self, operations: Sequence[Callable[[Group], T]]) -> list[T | Exception]:
        """Runs the operations in order, inside a transaction, and answers after its commit.

        An answer is what the operation returned, or the error for which nothing of it was written:
        StoreBusy when too many wait, StoreUnavailable when the database cannot be written.
        """

    async def stop(self) -> None:
        """Finishes what was handed over; nothing may be handed over after."""


class Writer:
    """Runs operations in groups, in a thread of its own, for one event loop."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue[Sequence[_Job] | None] = SimpleQueue()
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
        jobs = [_Job(operation, call, index) for index, operation in enumerate(operations)]
        for first in range(0, count, COMMIT_GROUP_MAX):
            # Together: one by one, the thread might pay for the sync of the first alone.
            self._queue.put(jobs[first : first + COMMIT_GROUP_MAX])
        return cast("list[T | Exception]", await call.answered)

    async def stop(self) -> None:
        """Finishes what was handed over and ends the thread; nothing may be handed over after."""
        self._queue.put(None)
        await self._stopped
        self._thread.join()

    def _serve(self) -> None:
        """The thread: takes all that waits as one group, until the mark that ends the queue.

        The last call that fits begins below the bound of a group, and may end above it.
        """
        handed = iter(self._queue.get, None)
        for jobs in handed:
            group = list(jobs)
            while len(group) < COMMIT_GROUP_MAX and not self._queue.empty():
                group += next(handed, ())
            answers = self._transactions.answers([job.operation for job in group])
            taken = zip(group, answers, strict=True)
            self._tell(self._deliver, [job.call for job, answer in taken if job.take(answer)])
        self._transactions.close()
        self._tell(self._stopped.set_result, None)

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


class PromptWriter:
    """Runs each call's operations at once, in the thread of the event loop.

    For one process that is its own only client, as tests of workflows are: nobody waits meanwhile
    whom a thread would let go on, and a thread costs more than what is written.
    """

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    async def run(self, operations: Sequence[Callable[[Group], T]]) -> list[T | Exception]:
        """Runs the operations in one transaction."""
        if not operations:
            return []
        return cast("list[T | Exception]", self._transactions.answers(operations))

    async def stop(self) -> None:
        """Closes the connection."""
        self._transactions.close()
