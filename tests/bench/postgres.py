"""What is measured of PostgreSQL, one server and several, beside SQLite in the same run."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg

from perdure import Client
from tests.bench import flows
from tests.bench.load import Sample, keep_in_flight
from tests.bench.rig import cpu_s, rig, served
from tests.bench.scenarios import SECONDS, BenchError, Figures
from tests.support.postgres import Cluster

_DURABLE = {"fsync": "on", "full_page_writes": "on", "autovacuum": "on"}
_COUNT = """
    SELECT count(*) FILTER (WHERE status <> 'COMPLETED'), count(*) FILTER (WHERE history_length <> (
        SELECT count(*) FROM perdure.events WHERE events.run_id = runs.run_id)), count(*)
    FROM perdure.runs
"""


@dataclass(slots=True, frozen=True)
class Shared:
    """Some servers on one PostgreSQL, a worker at each, and a client of each."""

    url: str
    servers: list[subprocess.Popen[str]]
    clients: list[Client]

    def cpu_s(self) -> float:
        """Returns the processor seconds that the servers have used."""
        return sum(cpu_s(server.pid) for server in self.servers)


async def beside_sqlite(in_flight: int) -> Figures:
    """Measures workflows per second on both backends by turns, with synchronous commits on both."""
    ours, sqlite = Sample(in_flight), Sample(in_flight)
    async with sharing(1) as shared:
        with rig() as processes:
            async with Client.connect(processes.address) as other:
                before = await _commits(shared.url)
                for turn in range(4):
                    seconds = SECONDS / 5 if turn == 0 else SECONDS / 2
                    for total, client in ((ours, shared.clients[0]), (sqlite, other)):
                        part = await _keep(client, in_flight, seconds, f"turn-{turn}")
                        if turn:
                            _add(total, part)
        runs = await check(shared.url)
        commits = await _commits(shared.url) - before
    return {
        "per_s": round(ours.rate, 1),
        "sqlite_per_s": round(sqlite.rate, 1),
        "share": round(ours.rate / sqlite.rate, 3),
        "p50_ms": round(ours.percentile_ms(0.5), 2),
        "sqlite_p50_ms": round(sqlite.percentile_ms(0.5), 2),
        "commits_per_workflow": round(commits / runs, 3),
    }


async def beside_one(in_flight: int) -> Figures:
    """Measures two servers on these cores against one, each with half of the load."""
    rates: dict[int, float] = {}
    used: dict[int, float] = {}
    for servers in (1, 2):
        async with sharing(servers) as shared:
            await _spread(shared, in_flight, SECONDS / 5, "warm")
            before = shared.cpu_s()
            parts = await _spread(shared, in_flight, SECONDS, "run")
            done = sum(len(part.latencies_s) for part in parts)
            rates[servers] = sum(part.rate for part in parts)
            used[servers] = (shared.cpu_s() - before) / done * 1e3
            await check(shared.url)
    return {
        "one_per_s": round(rates[1], 1),
        "two_per_s": round(rates[2], 1),
        "share": round(rates[2] / rates[1], 3),
        "cpu_share": round(used[2] / used[1], 3),
    }


async def across(count: int) -> Figures:
    """Measures start to result where the only worker is at another server than the client."""
    here, there = Sample(1), Sample(1)
    async with sharing(2, workers=1) as shared:
        for turn in range(count + 20):
            for sample, client in zip((here, there), shared.clients, strict=True):
                part = await _keep(client, 1, 0.0001, f"{id(sample)}-{turn}")
                if turn >= 20:
                    _add(sample, part)
    same, other = here.percentile_ms(0.5), there.percentile_ms(0.5)
    # A workflow has one task that is made across: its first, where the client is.
    return {
        "same_p50_ms": round(same, 2),
        "across_p50_ms": round(other, 2),
        "added_ms": round(other - same, 2),
    }


async def idle(seconds: float) -> Figures:
    """Measures what an idle server with a worker asks of the database and of the processor."""
    async with sharing(1) as shared:
        await asyncio.sleep(2)
        before, used = await _commits(shared.url), shared.cpu_s()
        await asyncio.sleep(seconds)
        statements = await _commits(shared.url) - before
        used = shared.cpu_s() - used
    return {
        "statements_per_s": round(statements / seconds, 2),
        "cpu_percent": round(100 * used / seconds, 2),
    }


@asynccontextmanager
async def sharing(
    servers: int, workers: int | None = None, *, counting: bool = False
) -> AsyncIterator[Shared]:
    """Starts servers on one PostgreSQL that syncs, with a worker at each of the first `workers`."""
    with cluster() as url:
        async with AsyncExitStack() as stack:
            processes, clients = [], []
            for number in range(servers):
                works = workers is None or number < workers
                server, address = stack.enter_context(served(url, works=works, counting=counting))
                processes.append(server)
                clients.append(await stack.enter_async_context(Client.connect(address)))
            yield Shared(url, processes, clients)


@contextmanager
def cluster() -> Iterator[str]:
    """Starts a PostgreSQL that syncs, with its autovacuum; yields its URL and ends it."""
    made = Cluster(settings=_DURABLE)
    made.create()
    try:
        yield made.url
    finally:
        made.remove()


async def _spread(shared: Shared, in_flight: int, seconds: float, prefix: str) -> list[Sample]:
    each = in_flight // len(shared.clients)
    return await asyncio.gather(
        *(
            _keep(client, each, seconds, f"{prefix}-{number}")
            for number, client in enumerate(shared.clients)
        )
    )


async def _keep(client: Client, in_flight: int, seconds: float, prefix: str) -> Sample:
    return await keep_in_flight(
        client, flows.one, 0, in_flight=in_flight, seconds=seconds, prefix=prefix
    )


async def _commits(url: str) -> int:
    """Returns how many transactions the database has committed; reads count as well."""
    return int(
        await _fetch(url, "SELECT xact_commit FROM pg_stat_database WHERE datname = 'perdure'")
    )


async def check(url: str) -> int:
    """Returns the number of runs, all of them complete with a dense history."""
    connection = await asyncpg.connect(url)
    counts = await connection.fetchrow(_COUNT)
    await connection.close()
    if counts is None or counts[0] or counts[1]:
        raise BenchError("the database does not hold what was run")
    return int(counts[2])


async def _fetch(url: str, query: str) -> Any:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


def _add(total: Sample, part: Sample) -> None:
    total.latencies_s += part.latencies_s
    total.wall_s += part.wall_s
