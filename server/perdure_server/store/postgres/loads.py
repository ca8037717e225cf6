"""Owns reading whole runs: those that are asked for while others are read go together.

A server that claims tasks of runs it does not know asks for hundreds at once, and a statement for
each would cost more than what it finds.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from enum import Enum
from itertools import islice
from typing import Any, Final

from perdure_server.core.model import Activity, Child, EventRow, Run, Task, Timer, Update
from perdure_server.core.state import RunState
from perdure_server.store.postgres.connection import Row, Session
from perdure_server.store.postgres.readers import Readers
from perdure_server.store.sqlite import rows

_TOGETHER_MAX: Final = 100
"""Runs of one statement: more gain nothing, and all wait for the last."""
_LEADERS: Final = 2
"""Statements under way: less than the connections, so that other reads find one."""
_LOADED: Final = tuple(
    len(fields(kind)) for kind in (Activity, Task, Timer, Child, Update, EventRow)
)
"""How many columns the rows have that are loaded with a run."""


class _Turn(Enum):
    """What is answered to who waits for a run instead of the run."""

    LEAD = "it is to read the run itself, and others with it"


@dataclass(slots=True, eq=False)
class _Wish:
    """A run that somebody waits for."""

    run_id: str
    answer: asyncio.Future[RunState | _Turn | None]


class Loads:
    """Reads runs by `statement` over connections that read.

    Who asks first reads for itself at once. Whoever asks meanwhile waits, and when the first has
    its run, one of these reads for all: nobody is answered with what was read before it asked.
    """

    def __init__(self, readers: Readers, statement: str) -> None:
        self._readers = readers
        self._statement = statement
        self._waiting: deque[_Wish] = deque()
        self._leaders = 0

    async def load(self, run_id: str, known_seq: int | None) -> RunState | None:
        """Returns a run, or None. Raises StoreUnavailable."""
        if known_seq is not None or not (run_id.isascii() and run_id.isprintable()):
            # It may be large, or no text for a database: others shall not suffer from that.
            found = await self._readers.rows(self._statement, [run_id], [known_seq])
            return to_state(found[0]) if found else None
        wish = _Wish(run_id, asyncio.get_running_loop().create_future())
        if self._leaders < _LEADERS:
            self._leaders += 1
            return await self._lead(wish)
        self._waiting.append(wish)
        try:
            answer = await wish.answer
        except asyncio.CancelledError:
            if not wish.answer.cancelled() and wish.answer.exception() is None:
                self._decline(wish.answer.result())
            raise
        return await self._lead(wish) if isinstance(answer, _Turn) else answer

    async def _lead(self, wish: _Wish) -> RunState | None:
        """Reads a run for oneself, and others for those who wait; one of the rest leads next."""
        wishes = [wish]

        async def read(session: Session) -> list[Row]:
            while self._waiting and len(wishes) < _TOGETHER_MAX:
                wishes.append(self._waiting.popleft())
            run_ids = [each.run_id for each in wishes]
            return await session.rows_of(self._statement, run_ids, [None] * len(wishes))

        try:
            found = {row[0]: row for row in await self._readers.run(read)}
        except BaseException as fault:
            self._fail(wishes[1:], fault)
            raise
        finally:
            self._pass_on()
        for place, each in enumerate(wishes[1:], 2):
            _answer(each, found.get(place))
        return to_state(found[1]) if 1 in found else None

    def _fail(self, wishes: Sequence[_Wish], fault: BaseException) -> None:
        """Tells those who wait why nothing was read; a leader that gives up is replaced."""
        if not isinstance(fault, Exception):
            self._waiting.extendleft(reversed(wishes))
            return
        for each in wishes:
            if not each.answer.done():
                each.answer.set_exception(fault)

    def _pass_on(self) -> None:
        """Lets the next who waits lead."""
        while self._waiting:
            wish = self._waiting.popleft()
            if not wish.answer.done():
                wish.answer.set_result(_Turn.LEAD)
                return
        self._leaders -= 1

    def _decline(self, answer: RunState | _Turn | None) -> None:
        """Passes the lead on that came to somebody who does not wait any more."""
        if isinstance(answer, _Turn):
            self._pass_on()


def to_state(row: Row) -> RunState:
    """Builds a run from the columns of `load`: of the rows beside it, each is an array."""
    columns = islice(row, 1, None)
    run = rows.to_run(list(islice(columns, len(fields(Run)))))
    started = next(columns)
    pending = (_across(islice(columns, width)) for width in _LOADED)
    return rows.to_state(run, started, pending)


def _answer(wish: _Wish, row: Row | None) -> None:
    if wish.answer.done():
        return
    try:
        wish.answer.set_result(None if row is None else to_state(row))
    except Exception as fault:  # noqa: BLE001 - a row that cannot be read is the trouble of its run
        wish.answer.set_exception(fault)


def _across(columns: Iterable[Sequence[Any] | None]) -> Iterable[Row]:
    """Returns the rows whose columns these are; without a row each column is None."""
    return zip(*(column or () for column in columns), strict=True)
