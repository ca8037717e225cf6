"""Owns what the faults strike: one PostgreSQL, three servers, two workers, each a real process."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from tests.chaos.disk import SmallDisk
from tests.support.postgres import Cluster
from tests.support.processes import PATIENCE_S, RealProcess, SharedServer, any_of
from tests.support.proxy import freezing_proxy

SERVERS = 3
WORKERS = 2
SKEW = "CHAOS_TEST_SKEW"
"""The variable that says by how many seconds the clock of a process is ahead."""
_SKEW_SOURCE = Path(__file__).with_name("skew.c")
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


class CannotPlayError(Exception):
    """This machine does not allow what a scenario needs; the text says what."""


class Stage:
    """The processes, and a record of what was done to them."""

    def __init__(self, folder, cluster):
        self.folder = folder
        self.cluster = cluster
        self.nodes = []
        self.workers = []
        self.faults = []
        self.proxy = None
        self.disk = None

    def target(self, first):
        """All servers, as a client names them that tries the given one first."""
        return any_of(self.nodes, first)

    @contextlib.contextmanager
    def fault(self, *, of_all=False):
        """Notes a fault; one of all servers must end before any of them can do anything."""
        began_s = time.time()
        yield
        self.faults.append(Fault(began_s, time.time() if of_all else began_s))

    async def start(self, *, skew=None):
        """Starts all processes, the servers with the library `skew`, if any.

        The first server reaches the database through the proxy, if any."""
        for number in range(SERVERS):
            store = self.cluster.url
            if self.proxy is not None and not number:
                store = f"postgresql://perdure@{self.proxy.address}/perdure"
            log = self.folder / f"server-{number}.log"
            self.nodes.append(SharedServer(store, log=log, module="tests.chaos.server"))
            if skew is not None:
                self.nodes[-1].set_environment("LD_PRELOAD", str(skew))
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

    async def revive(self):
        """Returns when the database answers; starts it when it has given up."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    await self.ask("SELECT 1")
                except (OSError, asyncpg.PostgresError):
                    if not await asyncio.to_thread(lambda: self.cluster.is_running):
                        await asyncio.to_thread(self.cluster.start)
                else:
                    return

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
async def opened_stage(*, is_proxied=False, is_skewed=False, disk_mb=0, **settings):
    """A stage on a database of its own. Raises CannotPlayError."""
    cluster = Cluster(settings=_SETTINGS | settings)
    folder = Path(tempfile.mkdtemp(prefix="perdure-chaos-"))
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(cluster.remove)
        stage = Stage(folder, cluster)
        if disk_mb:
            stage.disk = SmallDisk(cluster.folder / "disk", disk_mb, user=cluster.user)
            stack.callback(stage.disk.close)
            try:
                cluster.data.symlink_to(stage.disk.open())
            except OSError as error:
                raise CannotPlayError(f"no small disk can be had here: {error}") from error
        await asyncio.to_thread(cluster.create)
        if is_proxied:
            socket = cluster.folder / ".s.PGSQL.5432"
            stage.proxy = await stack.enter_async_context(freezing_proxy(str(socket)))
        stack.callback(stage.close)
        await stage.start(skew=built_skew(folder) if is_skewed else None)
        yield stage


def built_skew(folder):
    """Compiles the library that gives a process a wrong clock. Raises CannotPlayError."""
    library = folder / "skew.so"
    command = ["cc", "-shared", "-fPIC", "-O2", "-o", str(library), str(_SKEW_SOURCE)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise CannotPlayError(f"a C compiler is needed: {error}") from error
    return library
