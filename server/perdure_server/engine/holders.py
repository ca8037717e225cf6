"""Owns which session holds which task."""

from __future__ import annotations

from collections.abc import Iterable

from perdure_server.core.model import Task
from perdure_server.engine.session import Held, Session, TaskKey


class Holders:
    """The tasks that sessions of this server hold, by key and by run."""

    def __init__(self) -> None:
        self._holders: dict[TaskKey, Session] = {}
        self._by_run: dict[str, dict[TaskKey, None]] = {}

    def __len__(self) -> int:
        return len(self._holders)

    def get(self, key: TaskKey) -> Session | None:
        """Returns the session that holds a task."""
        return self._holders.get(key)

    def keys(self, run_ids: Iterable[str] | None) -> list[TaskKey]:
        """Returns the tasks of runs, of all runs with None, that sessions hold."""
        if run_ids is None:
            return list(self._holders)
        return [key for run_id in run_ids for key in self._by_run.get(run_id, ())]

    def hold(self, session: Session, held: Held) -> None:
        """Notes that a session holds a task."""
        session.held[held.key] = held
        self._holders[held.key] = session
        self._by_run.setdefault(held.key[0], {})[held.key] = None

    def let_go(self, session: Session, key: TaskKey) -> None:
        """Notes that nobody holds a task which the session held."""
        del session.held[key]
        del self._holders[key]
        keys = self._by_run[key[0]]
        keys.pop(key, None)
        if not keys:
            del self._by_run[key[0]]


def is_over(task: Task, row: Task) -> bool:
    """Whether the lease of a task that was claimed has ended; its row may be an old one."""
    return row.lease > task.lease or (row.lease == task.lease and row.session_id is None)
