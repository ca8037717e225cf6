"""Owns the stage of a crash test: a server and workers, each in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from datetime import timedelta

from perdure import Client
from tests.crash.worker import EXECUTIONS, FOLDER
from tests.support.processes import PATIENCE_S, RealProcess, ServerProcess

PLAY_S = 100


class Stage:
    """Where a crash test plays: the processes, and the folder that they and the test share."""

    def __init__(self, folder):
        self.folder = folder
        self.server = ServerProcess(folder / "data")
        self.workers = []

    async def start_server(self):
        await asyncio.to_thread(self.server.start)

    async def start_worker(self, **environment):
        """Starts one more worker and returns its process."""
        worker = RealProcess(
            ["-m", "tests.crash.worker", self.server.address],
            log=self.folder / f"worker-{len(self.workers)}.log",
            environment={FOLDER: str(self.folder), **environment},
        )
        self.workers.append(worker)
        await asyncio.to_thread(worker.start)
        return worker

    @contextlib.asynccontextmanager
    async def client(self):
        """A client that outlasts every restart, but not a play that hangs."""
        patience = timedelta(seconds=PLAY_S)
        async with (
            asyncio.timeout(PLAY_S),
            Client.connect(self.server.address, patience=patience) as client,
        ):
            yield client

    def open_gate(self, name):
        """Lets the steps go on that wait for a file."""
        (self.folder / name).touch()

    def executions(self):
        """Returns how often each activity was run, by workflow id and number."""
        return Counter((line[0], int(line[1])) for line in self._executions())

    def executing_processes(self):
        """Returns which processes ran each activity."""
        processes = {}
        for line in self._executions():
            processes.setdefault((line[0], int(line[1])), []).append(int(line[3]))
        return processes

    async def until_executing(self, count):
        """Waits until so many executions have begun."""
        async with asyncio.timeout(PATIENCE_S):
            while self.executions().total() < count:
                await asyncio.sleep(0.02)

    def close(self):
        """Kills what still runs; shows what was complained about, if the test failed."""
        for process in (*self.workers, self.server):
            if process.is_running:
                process.kill()
            print(process.log.name, process.complaints(), sep="\n")

    def _executions(self):
        file = self.folder / EXECUTIONS
        return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


@contextlib.asynccontextmanager
async def opened_stage(folder):
    """A stage with a server; in the end, whatever still runs is killed."""
    stage = Stage(folder)
    try:
        await stage.start_server()
        yield stage
    finally:
        stage.close()
