"""Owns the namespaces whose runs do not stay: which go, when, and what they leave behind."""

from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import timedelta

import asyncpg

from perdure.errors import NamespaceAlreadyExistsError
from perdure.v1 import namespace_service_pb2 as pb

SWEEP_S = 2
"""How often the servers of these tests look for runs that are too old."""
BRIEF = "brief"
LASTING = "lasting"
RETENTION = {BRIEF: timedelta(seconds=10), LASTING: timedelta(days=1)}
BRIEF_S = RETENTION[BRIEF].total_seconds()
_LATE_S = 20.0
"""How much longer than their time the last runs may be there: a server may just have died."""
_SKEW_S = 0.5
"""By how much what servers hold to be the time may differ from the database's."""
_LOOK_S = 0.5
_NOW = "extract(epoch FROM clock_timestamp())::float8"
_RUNS = f"SELECT run_id, closed_at_us::float8 / 1e6, {_NOW} FROM perdure.runs WHERE namespace = $1"
_STAY = "SELECT run_id FROM perdure.runs WHERE run_id = ANY($1)"
_ROWS = (
    "activities",
    "children",
    "events",
    "search_attributes",
    "snapshots",
    "tasks",
    "timers",
    "updates",
)
_LEFT = (
    "SELECT DISTINCT run_id FROM perdure.{0} WHERE run_id NOT IN (SELECT run_id FROM perdure.runs)"
)
_MESSAGES = "SELECT DISTINCT run_id FROM perdure.inbox WHERE namespace = $1"
_REQUESTS = """
SELECT DISTINCT workflow_id FROM perdure.requests WHERE namespace = $1 AND workflow_id NOT IN (
    SELECT workflow_id FROM perdure.runs WHERE namespace = $1
)
"""


async def make_namespaces(client):
    """Makes those that are not there yet."""
    for name, retention in RETENTION.items():
        request = pb.CreateNamespaceRequest(name=name)
        request.retention.FromTimedelta(retention)
        with contextlib.suppress(NamespaceAlreadyExistsError):
            await client.connection.unary(
                "NamespaceService/CreateNamespace", request, pb.CreateNamespaceResponse
            )


class Attic:
    """Looks at the runs of `BRIEF` for as long as a play lasts; `ask` runs a query."""

    def __init__(self, ask):
        self._ask = ask
        self._seen = {}
        self._too_young = {}
        self.gone = 0

    @contextlib.asynccontextmanager
    async def watching(self):
        """Looks again and again meanwhile, also when the database is away for a while."""
        looking = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await looking

            with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await self._look()
            await asyncio.sleep(_LOOK_S)

    async def judge(self, verdict, kept):
        """Waits until all that is old is gone; adds to a verdict what went early or did not go.

        `kept` are the ids of runs of other namespaces, all of which are to be there.
        """
        until_s = time.monotonic() + BRIEF_S + 2 * SWEEP_S + _LATE_S
        await self._look()
        while self._seen and time.monotonic() < until_s:
            await asyncio.sleep(_LOOK_S)
            await self._look()
        for run_id, (closed_s, _) in self._seen.items():
            how = "open" if closed_s is None else "not deleted"
            verdict.stranded[f"{BRIEF} {run_id}"] = f"it is still {how}"
        verdict.lost.update(self._too_young)
        there = {run_id for (run_id,) in await self._ask(_STAY, list(kept))}
        verdict.lost.update(dict.fromkeys(set(kept) - there, "it was deleted"))
        async for table, run_id in self._left_over():
            verdict.stranded[f"{table} of {run_id}"] = "they are there without a run"

    async def _watch(self):
        while True:
            with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await self._look()
            await asyncio.sleep(_LOOK_S)

    async def _left_over(self):
        for table in _ROWS:
            for (run_id,) in await self._ask(_LEFT.format(table)):
                yield table, run_id
        for table, query in (("messages", _MESSAGES), ("requests", _REQUESTS)):
            for (name,) in await self._ask(query, BRIEF):
                yield table, name

    async def _look(self):
        found = await self._ask(_RUNS, BRIEF)
        ((now_s,),) = await self._ask(f"SELECT {_NOW}")
        there = {run_id: (closed_s, seen_s) for run_id, closed_s, seen_s in found}
        for run_id in self._seen.keys() - there.keys():
            closed_s, seen_s = self._seen.pop(run_id)
            self.gone += 1
            # One that was open when it was seen last has closed since.
            age_s = now_s - (seen_s if closed_s is None else closed_s)
            if age_s < BRIEF_S - _SKEW_S:
                self._too_young[run_id] = f"it was deleted {age_s:.1f} s after its end"
        self._seen.update(there)
