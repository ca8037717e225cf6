"""Owns the stage of a crash test: a server and workers, each in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from datetime import timedelta

from perdure import Client
from tests.crash.worker import EXECUTIONS, FOLDER
from tests.support.processes import PATIENCE_S, RealProcess, ServerProcess

PLAY_S = 400


class Stage:
    """Where a crash test plays: the processes, and the folder that they and the test share."""

    def __init__(self, folder, server):
        self.folder = folder
        self.server = server
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

    def client(self):
        """A client that outlasts every restart, but not a play that hangs."""
        return a_client(self.server.address)

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
        """Kills what still runs."""
        end([*self.workers, self.server])

    def _executions(self):
        file = self.folder / EXECUTIONS
        return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


@contextlib.asynccontextmanager
async def opened_stage(folder, server=None):
    """A stage with a server, on SQLite unless given; in the end, whatever still runs is killed."""
    stage = Stage(folder, server or ServerProcess(folder / "data"))
    try:
        await stage.start_server()
        yield stage
    finally:
        stage.close()


@contextlib.asynccontextmanager
async def a_client(target):
    """A client that outlasts a server, but not a play that hangs."""
    patience = timedelta(seconds=PLAY_S)
    async with asyncio.timeout(PLAY_S), Client.connect(target, patience=patience) as client:
        yield client


@contextlib.asynccontextmanager
async def a_worker(target, folder, name="worker"):
    """A worker in a process of its own."""
    command = ["-m", "tests.crash.worker", target]
    environment = {FOLDER: str(folder)}
    worker = RealProcess(command, log=folder / f"{name}.log", environment=environment)
    try:
        await asyncio.to_thread(worker.start)
        yield worker
    finally:
        end([worker])


def end(processes):
    """Kills what still runs; shows what was complained about, if the test failed."""
    for process in processes:
        if process.is_running:
            process.kill()
        print(process.log.name, process.complaints(), sep="\n")
