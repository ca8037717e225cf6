"""Owns the sign of life of a server: a connection that carries nothing else.

It is also how a server learns that it is cut off. A network that drops packets closes nothing, and
what waits for an answer would wait until its own bound; a sign of life is answered at once or not
at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import asyncpg

from perdure_server.core.errors import SchemaTooNew, StoreUnavailable
from perdure_server.core.limits import SECOND_US
from perdure_server.store.postgres.connection import FAULTS, Database, Link, Session

T = TypeVar("T")

_NO_WORD: Final = "no word from it for seconds"
STEP_SECONDS: Final = 1.0
"""Silence is counted in steps, which a process that was stopped misses too: it may look again."""


class Pulse:
    """Runs signs of life. One that no answer comes to gives the database up until one is answered.

    Meanwhile all that waits for the database and all that comes is refused at once.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._link = Link(database, is_pulse=True)
        self._missed = 0

    async def close(self) -> None:
        """Disconnects."""
        await self._link.close()

    async def run(self, show: Callable[[Session], Awaitable[T]], *, silent_us: int) -> T:
        """Runs a sign of life; raises StoreUnavailable, and SchemaTooNew when it does.

        Once no answer has come for about `silent_us`, to this one or to several, the database is
        given up. After SchemaTooNew it is, for good.
        """
        # The last answer may have come a step before this was asked.
        steps = max(1, int(silent_us / SECOND_US / STEP_SECONDS) - 1)
        showing = asyncio.ensure_future(self._show(show))
        try:
            for _ in range(steps):
                await asyncio.wait([showing], timeout=STEP_SECONDS)
                if showing.done():
                    break
                self._miss(steps, _NO_WORD)
            if not showing.done():
                raise self._database.unavailable(TimeoutError(_NO_WORD))
            answer = await showing
        except SchemaTooNew as refusal:
            self._database.shut(refusal)
            raise
        except StoreUnavailable as refusal:
            if _is_answer(refusal.__cause__):
                self._heard()
            else:
                self._miss(steps, str(refusal.__cause__ or "") or _NO_WORD)
            raise
        finally:
            showing.cancel()
            await asyncio.gather(showing, return_exceptions=True)
        self._heard()
        return answer

    async def _show(self, show: Callable[[Session], Awaitable[T]]) -> T:
        session = await self._link.session()
        try:
            return await show(session)
        except FAULTS as fault:
            self._link.drop()
            raise self._database.unavailable(fault) from fault
        except asyncio.CancelledError:
            self._link.drop()
            raise

    def _miss(self, steps: int, why: str) -> None:
        self._missed += 1
        if self._missed >= steps:
            self._database.give_up(why)

    def _heard(self) -> None:
        self._missed = 0
        self._database.take_up()


def _is_answer(fault: BaseException | None) -> bool:
    """Whether a fault is the word of a database that is there."""
    is_its_word = isinstance(fault, asyncpg.PostgresError)
    return is_its_word and not isinstance(fault, asyncpg.PostgresConnectionError)
