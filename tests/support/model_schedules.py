"""Owns the schedules of the reference model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence

from perdure_server.core.changeset import ScheduleChange
from perdure_server.core.model import Run, ScheduleKey, ScheduleRow
from perdure_server.store.contract import LatestRun


class ModelSchedules(ABC):
    """The part of the model that concerns schedules."""

    @property
    @abstractmethod
    def stored_schedules(self) -> dict[ScheduleKey, ScheduleRow]:
        """The schedules on the disk."""

    @property
    @abstractmethod
    def stored_runs(self) -> list[Run]:
        """The runs on the disk."""

    def is_current_schedule(self, change: ScheduleChange) -> bool:
        """Whether a schedule has the version that a change expects."""
        row = self.stored_schedules.get(change.row.key)
        return (row.version if row else 0) == change.expected_version

    def change_schedule(self, change: ScheduleChange) -> None:
        """Writes a change."""
        self.stored_schedules[change.row.key] = change.row
        if change.deletes:
            del self.stored_schedules[change.row.key]

    async def load_schedules(self, keys: Sequence[ScheduleKey]) -> list[ScheduleRow]:
        """Returns those of some schedules that exist."""
        stored = self.stored_schedules
        return [stored[key] for key in keys if key in stored]

    async def list_schedules(self, namespace: str, *, after: str, limit: int) -> list[ScheduleRow]:
        """Returns schedules by name."""
        rows = self._schedules(lambda row: row.namespace == namespace and row.name > after)
        return rows[:limit]

    async def due_schedules(self, *, after: ScheduleRow | None, limit: int) -> list[ScheduleRow]:
        """Returns the schedules to be served first."""
        rows = sorted(self._schedules(lambda row: row.serve_at_us is not None), key=_served)
        return [row for row in rows if after is None or _served(row) > _served(after)][:limit]

    async def waiting_schedules(
        self, *, after: ScheduleKey | None, limit: int
    ) -> list[ScheduleRow]:
        """Returns schedules that wait, by namespace and name."""
        rows = self._schedules(lambda row: row.waits and (after is None or row.key > after))
        return rows[:limit]

    async def count_schedules(self, namespace: str) -> int:
        """Returns how many schedules a namespace has."""
        return len(self._schedules(lambda row: row.namespace == namespace))

    async def delete_schedules(self, namespace: str, *, limit: int) -> int:
        """Deletes schedules of a namespace."""
        rows = self._schedules(lambda row: row.namespace == namespace)[:limit]
        for row in rows:
            del self.stored_schedules[row.key]
        return len(rows)

    async def latest_runs(
        self, workflows: Sequence[tuple[str, str]]
    ) -> Mapping[tuple[str, str], LatestRun]:
        """Returns the newest run of each of several workflows."""
        found: dict[tuple[str, str], Run] = {}
        for run in self.stored_runs:
            key = (run.namespace, run.workflow_id)
            if key in workflows and (key not in found or found[key].generation < run.generation):
                found[key] = run
        return {key: LatestRun(run.run_id, run.status) for key, run in found.items()}

    def _schedules(self, wanted: Callable[[ScheduleRow], bool]) -> list[ScheduleRow]:
        """The schedules that are wanted, by their keys."""
        rows = self.stored_schedules
        return [rows[key] for key in sorted(rows) if wanted(rows[key])]


def _served(row: ScheduleRow) -> tuple[int, str, str]:
    return (row.serve_at_us or 0, *row.key)
