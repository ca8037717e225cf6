"""Owns those who wait for the answer to an update."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from itertools import chain

from perdure_server.core.errors import DomainError
from perdure_server.core.model import Update

Waiter = asyncio.Future[bytes]
"""Gets the encoded UpdateOutcome."""


class Outcomes:
    """Waiters by run and by the number of the update."""

    def __init__(self) -> None:
        self._waiters: dict[str, dict[int, dict[Waiter, None]]] = {}

    def __len__(self) -> int:
        return sum(len(waiters) for run in self._waiters.values() for waiters in run.values())

    def add(self, run_id: str, seq: int, waiter: Waiter) -> None:
        """Tells a waiter the outcome once it is durable; call `drop` in the end."""
        self._waiters.setdefault(run_id, {}).setdefault(seq, {})[waiter] = None

    def drop(self, run_id: str, seq: int, waiter: Waiter) -> None:
        """Forgets a waiter."""
        run = self._waiters[run_id]
        run[seq].pop(waiter, None)
        if not run[seq]:
            del run[seq]
        if not run:
            del self._waiters[run_id]

    def close(self, error: DomainError) -> None:
        """Refuses every waiter."""
        every = [waiters for run in self._waiters.values() for waiters in run.values()]
        for waiter in chain.from_iterable(every):
            if not waiter.done():
                waiter.set_exception(error)

    def awaited(self, run_ids: Iterable[str] | None) -> list[tuple[str, int]]:
        """Returns the updates of runs, of all with None, that somebody waits for."""
        known = list(self._waiters) if run_ids is None else run_ids
        return [(run_id, seq) for run_id in known for seq in self._waiters.get(run_id, ())]

    def told(self, run_id: str, updates: Mapping[int, Update]) -> None:
        """Tells the waiters of a run what became of updates; those without an outcome say nothing.

        A waiter stays until it is dropped.
        """
        run = self._waiters.get(run_id, {})
        for seq, update in updates.items():
            waiters = run.get(seq, ()) if update.outcome else ()
            for waiter in (each for each in waiters if not each.done()):
                waiter.set_result(update.outcome)
