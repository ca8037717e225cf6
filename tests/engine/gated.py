"""A store that holds its answers back, or refuses, as a test says."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager

from tests.support.model_store import ModelStore


class GatedStore(ModelStore):
    """Calls named in a closed gate are answered when it opens.

    Writes and timers are done before it, a summary is read behind it.
    """

    def __init__(self):
        super().__init__()
        self.refuse_with = None
        self.outcomes = []
        self._gates = {}

    @contextmanager
    def closed(self, *calls):
        gate = asyncio.Event()
        self._gates.update(dict.fromkeys(calls, gate))
        try:
            yield gate
        finally:
            gate.set()
            for call in calls:
                del self._gates[call]

    async def commit(self, changesets):
        if self.refuse_with is not None:
            return [self.refuse_with] * len(changesets)
        outcomes = await super().commit(changesets)
        self.outcomes += outcomes
        return await self._pass("commit", outcomes)

    async def due_timers(self, **options):
        return await self._pass("due_timers", await super().due_timers(**options))

    async def summarize_run(self, run_id):
        await self._pass("summarize_run", None)
        return await super().summarize_run(run_id)

    async def load_run(self, run_id, **known):
        if self.refuse_with is not None:
            raise self.refuse_with
        return await super().load_run(run_id, **known)

    async def _pass(self, call, answer):
        gate = self._gates.get(call)
        if gate is not None:
            await gate.wait()
        return answer
