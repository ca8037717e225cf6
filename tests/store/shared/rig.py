"""What tests of several servers need: work for them, and ears."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from perdure_server.core.model import Task
from perdure_server.store.contract import Committed
from perdure_server.store.shared import Hint, SharedStore, Taken
from tests.support.histories import START_US, a_run, a_task, alone, starting
from tests.support.model_shared import merged

LANE = a_task(a_run()).lane
OTHER_LANE = replace(LANE, queue="other")
HOUR_US = 3_600_000_000
NOW_US = START_US + 1_000

Servers = Callable[[], Awaitable[SharedStore]]
"""Opens another store of the same database."""


async def add_tasks(store: SharedStore, *columns: dict[str, object]) -> list[Task]:
    """Commits one run per mapping, each with one workflow task of these columns."""
    tasks = [a_task(a_run(number), **values) for number, values in enumerate(columns, 1)]
    starts = [alone(starting(a_run(number), task)) for number, task in enumerate(tasks, 1)]
    assert all(isinstance(outcome, Committed) for outcome in await store.commit(starts))
    return tasks


def by_run(taken: Taken) -> list[str]:
    """The runs whose tasks a session holds, in order."""
    return sorted(task.run_id for task in taken.tasks)


class Ear:
    """Listens to the hints for one server; one hint may be made of several."""

    def __init__(self, store: SharedStore) -> None:
        self._hints = store.hints()

    async def hear(self) -> Hint:
        """Returns the next hint."""
        async with asyncio.timeout(30):
            return await anext(self._hints)

    async def hear_until(self, expected: Hint) -> Hint:
        """Returns what was heard until all that is expected was."""
        heard = Hint()
        while merged(heard, expected) != heard:
            heard = merged(heard, await self.hear())
        return heard

    async def close(self) -> None:
        """Listens no more."""
        await self._hints.aclose()  # type: ignore[attr-defined]
