"""Owns the questions that workers of this server are asked: which worker gets one, who waits.

Nothing of a question is stored. It is put to one worker at a time; when that one is lost, or gives
it back, to another.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from perdure.v1.interaction_pb2 import QueryOutcome
from perdure.v1.task_pb2 import QueryTask
from perdure.v1.worker_service_pb2 import QueryAnswer
from perdure_server.core import limits
from perdure_server.core.errors import DomainError
from perdure_server.core.model import Lane, TaskKind
from perdure_server.engine.lanes import Lanes
from perdure_server.engine.session import Session

_FIRST_BYTES = 7
"""The first number of a server is one of so many bytes: it never counts beyond eight."""
_PAUSE_S = 0.25
"""How soon a worker is asked again that gave a question back, when there is no other."""

Send = Callable[[QueryTask], None]


@dataclass(slots=True, eq=False)
class Line:
    """One stream to a worker that answers, and what it was asked on it."""

    session: Session
    send: Send
    asked: dict[int, asyncio.Future[QueryOutcome | None]] = field(default_factory=dict)

    def cut(self) -> None:
        """Gives every question back."""
        for future in self.asked.values():
            if not future.done():
                future.set_result(None)
        self.asked.clear()


class Questions:
    """Puts questions to the workers that are connected to this server."""

    def __init__(self, lanes: Lanes, server_id: str) -> None:
        self._lanes = lanes
        # A worker may answer on a stream to another server what it was asked here.
        digest = hashlib.blake2b(server_id.encode(), digest_size=_FIRST_BYTES).digest()
        self._numbers = count(int.from_bytes(digest))
        self._lines: dict[Session, Line] = {}
        self._waiting: dict[asyncio.Future[None], None] = {}
        self._leaving: DomainError | None = None

    def open(self, line: Line) -> None:
        """Lets the worker behind a stream be asked; `close` follows."""
        earlier = self._lines.get(line.session)
        self._lines[line.session] = line
        if earlier is not None:
            earlier.cut()
        self.changed()

    def close(self, line: Line) -> None:
        """Lets it be asked no more; what it has not answered goes to others."""
        if self._lines.get(line.session) is line:
            del self._lines[line.session]
        line.cut()

    def answer(self, line: Line, answer: QueryAnswer) -> None:
        """Takes an answer; one without an outcome gives the question back.

        Until then it counts as one that the worker has, even if nobody waits for it any more.
        """
        future = line.asked.pop(answer.query_id, None)
        if future is not None and not future.done():
            future.set_result(answer.outcome if answer.HasField("outcome") else None)
        self.changed()

    def end(self, error: DomainError) -> None:
        """Refuses everything that waits, and what comes."""
        self._leaving = error
        for line in self._lines.values():
            line.cut()
        self.changed()

    def changed(self) -> None:
        """Lets those who wait for a worker look again."""
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)

    def can_ask(self, lane: Lane) -> bool:
        """Whether a worker of a lane is connected that answers, busy or not."""
        return any(self._lines_of(lane))

    async def ask(self, task: QueryTask) -> QueryOutcome:
        """Returns what a worker answers, however long that takes: whoever asks bounds it."""
        while True:
            outcome = await self.ask_here(task)
            if outcome is not None:
                return outcome
            await self._change(None)

    async def ask_here(self, task: QueryTask) -> QueryOutcome | None:
        """Does the same while there is a worker to ask, busy or not; None when there is none."""
        lane = lane_of(task)
        tried: set[Line] = set()
        while True:
            if self._leaving is not None:
                raise self._leaving
            if not self.can_ask(lane):
                return None
            line = self._choose(lane, task.run_id, tried)
            if line is None:
                await self._change(_PAUSE_S if tried else None)
                tried.clear()
                continue
            outcome = await self._put(line, task)
            if outcome is not None:
                return outcome
            tried.add(line)

    async def _change(self, seconds: float | None) -> None:
        """Returns when another worker may be there, or room at one, or so many seconds later."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[waiter] = None
        try:
            await asyncio.wait([waiter], timeout=seconds)
        finally:
            del self._waiting[waiter]

    def _lines_of(self, lane: Lane) -> list[Line]:
        sessions = self._lanes.sessions(lane.namespace, lane.queue)
        able = (each for each in sessions if each.takes(lane) and not each.draining)
        return [self._lines[each] for each in able if each in self._lines]

    def _choose(self, lane: Lane, run_id: str, tried: set[Line]) -> Line | None:
        """Returns the worker that has the run in memory, else the one that is asked least."""
        lines = [
            line
            for line in self._lines_of(lane)
            if line not in tried and len(line.asked) < limits.QUERIES_PER_SESSION_MAX
        ]
        return min(
            lines,
            key=lambda line: (run_id not in line.session.cached, len(line.asked)),
            default=None,
        )

    async def _put(self, line: Line, task: QueryTask) -> QueryOutcome | None:
        future: asyncio.Future[QueryOutcome | None] = asyncio.get_running_loop().create_future()
        query_id = next(self._numbers)
        line.asked[query_id] = future
        numbered = QueryTask()
        numbered.CopyFrom(task)
        numbered.query_id = query_id
        if task.run_id not in line.session.cached:
            # What a worker has in memory of a run that went on elsewhere may be another story.
            numbered.current_seq = 0
        line.send(numbered)
        return await future


def lane_of(task: QueryTask) -> Lane:
    """Returns the lane whose workers can answer a question."""
    return Lane(task.namespace, task.task_queue, TaskKind.WORKFLOW, task.workflow_type)
