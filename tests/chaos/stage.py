"""Owns what the faults strike: one PostgreSQL, three servers, two workers, each a real process."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from tests.support.postgres import Cluster
from tests.support.processes import RealProcess, SharedServer, any_of
from tests.support.proxy import freezing_proxy

SERVERS = 3
WORKERS = 2
_SETTINGS = {
    "fsync": "on",
    "full_page_writes": "on",
    "autovacuum": "on",
    "track_commit_timestamp": "on",
}
_COMMITTED = """
SELECT workflow_id, seq, extract(epoch FROM pg_xact_commit_timestamp(events.xmin))
FROM perdure.events JOIN perdure.runs USING (run_id)
"""


@dataclass(slots=True)
class Fault:
    """When it struck, and from when on no task may be left lying, by the wall clock in seconds."""

    began_s: float
    counts_s: float


class Stage:
    """The processes, and a record of what was done to them."""

    def __init__(self, folder, cluster):
        self.folder = folder
        self.cluster = cluster
        self.nodes = []
        self.workers = []
        self.faults = []
        self.proxy = None

    def target(self, first):
        """All servers, as a client names them that tries the given one first."""
        return any_of(self.nodes, first)

    @contextlib.contextmanager
    def fault(self, *, of_all=False):
        """Notes a fault; one of all servers must end before any of them can do anything."""
        began_s = time.time()
        yield
        self.faults.append(Fault(began_s, time.time() if of_all else began_s))

    async def start(self, *, module):
        """Starts all processes. The first server reaches the database through the proxy, if any."""
        for number in range(SERVERS):
            store = self.cluster.url
            if self.proxy is not None and not number:
                store = f"postgresql://perdure@{self.proxy.address}/perdure"
            log = self.folder / f"server-{number}.log"
            self.nodes.append(SharedServer(store, log=log, module=module))
        for node in self.nodes:
            await asyncio.to_thread(node.start)
        for number in range(WORKERS):
            command = ["-m", "tests.chaos.flows", self.target(number % SERVERS)]
            worker = RealProcess(command, log=self.folder / f"worker-{number}.log")
            self.workers.append(worker)
            await asyncio.to_thread(worker.start)

    async def ask(self, query, *arguments):
        """Runs a query as the one who may do anything."""
        connection = await asyncpg.connect(self.cluster.superuser_url)
        try:
            return await connection.fetch(query, *arguments)
        finally:
            await connection.close()

    async def commit_times(self):
        """Returns when each event was committed, in seconds, by workflow id and number.

        An event's own time is when it was decided; what a server decides that is cut off from the
        database is a fact much later.
        """
        times = defaultdict(dict)
        for workflow_id, seq, at_s in await self.ask(_COMMITTED):
            times[workflow_id][seq] = float(at_s)
        return times

    def close(self):
        """Ends what still runs."""
        for process in (*self.workers, *self.nodes):
            if process.is_running:
                process.kill()


@contextlib.asynccontextmanager
async def opened_stage(*, module="perdure_server", is_proxied=False, **settings):
    """A stage on a database of its own."""
    cluster = Cluster(settings=_SETTINGS | settings)
    folder = Path(tempfile.mkdtemp(prefix="perdure-chaos-"))
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(cluster.remove)
        await asyncio.to_thread(cluster.create)
        stage = Stage(folder, cluster)
        if is_proxied:
            socket = cluster.folder / ".s.PGSQL.5432"
            stage.proxy = await stack.enter_async_context(freezing_proxy(str(socket)))
        stack.callback(stage.close)
        await stage.start(module=module)
        yield stage
