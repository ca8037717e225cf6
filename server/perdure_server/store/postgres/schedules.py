"""Owns what is read of schedules on PostgreSQL, and their deletion with a namespace."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from perdure_server.core.model import ScheduleKey, ScheduleRow
from perdure_server.store.contract import LatestRun
from perdure_server.store.postgres import upkeep
from perdure_server.store.postgres.connection import Row
from perdure_server.store.sqlite import rows

_BELOW_ALL: Final = (-(2**63), "", "")
"""Stands below the place of every schedule."""


class ScheduleQueries(ABC):
    """The part of the store that concerns schedules. `Store` says what each method promises."""

    async def load_schedules(self, keys: Sequence[ScheduleKey]) -> list[ScheduleRow]:
        """Returns those of some schedules that exist."""
        return [
            rows.to_schedule(row) for row in await self._rows("load_schedules", *_columns(keys))
        ]

    async def list_schedules(self, namespace: str, *, after: str, limit: int) -> list[ScheduleRow]:
        """Returns schedules by name."""
        found = await self._rows("list_schedules", namespace, after, limit)
        return [rows.to_schedule(row) for row in found]

    async def due_schedules(self, *, after: ScheduleRow | None, limit: int) -> list[ScheduleRow]:
        """Returns the schedules to be served first."""
        key = _BELOW_ALL if after is None else (after.serve_at_us, *after.key)
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
        return int(await self._step(upkeep.delete_schedules, namespace=namespace, limit=limit))

    async def latest_runs(
        self, workflows: Sequence[tuple[str, str]]
    ) -> Mapping[tuple[str, str], LatestRun]:
        """Returns the newest run of each of several workflows."""
        return rows.to_latest(await self._rows("latest_runs", *_columns(workflows)))

    @abstractmethod
    async def _rows(self, query: str, *parameters: object) -> list[Row]:
        """Returns the rows of a named query."""

    @abstractmethod
    async def _step(self, function: Callable[..., Awaitable[Any]], **arguments: Any) -> Any:
        """Has the writer run a function in a transaction of its own."""


def _columns(keys: Sequence[tuple[str, str]]) -> list[list[str]]:
    """Returns pairs as two columns."""
    return [[first for first, _ in keys], [second for _, second in keys]]
