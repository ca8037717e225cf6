"""Owns the processes of the example: a server on SQLite, and a worker. Both can be killed."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
PATIENCE_S = 20


class StartError(Exception):
    """The server did not start; what it complained about says why."""


class Processes:
    """A server and a worker, each in a process of its own.

    Their complaints go to the file `log`, or to the terminal.

    Attributes:
        address: Where the server listens. Port 0 becomes a free one with the first start.
        http: Where the Envoy beside it serves REST, likewise.
    """

    def __init__(
        self, data: Path, address: str, log: Path | None = None, *, http: str = "127.0.0.1:0"
    ) -> None:
        self.address = address
        self.http = http
        self._data = data
        self._log = log
        self._server: Process | None = None
        self._worker: Process | None = None

    async def start_server(self) -> int:
        """Starts `perdure dev` and waits until it serves; returns its process id."""
        command = ["-m", "perdure_server", "dev", "--data", str(self._data)]
        command += ["--grpc", self.address, "--http", self.http]
        self._server = await self._start(*command)
        assert self._server.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            line = (await self._server.stdout.readline()).decode()
        if not line:
            await self._server.wait()
            raise StartError("the server did not start")
        # It says: Perdure serves gRPC on 127.0.0.1:12345, HTTP on 127.0.0.1:12346, data in ...
        self.address, self.http = (part.split(",")[0] for part in line.split(" on ")[1:3])
        return self._server.pid

    async def start_worker(self) -> int:
        """Starts `worker.py`; returns its process id."""
        self._worker = await self._start(str(HERE / "worker.py"), self.address)
        return self._worker.pid

    async def kill_server(self) -> None:
        """Ends the server without a warning, like a power cut."""
        await _end(self._server, Process.kill)

    async def kill_worker(self) -> None:
        """Ends the worker without a warning, like a power cut."""
        await _end(self._worker, Process.kill)

    async def stop(self) -> None:
        """Ends what runs: the worker first, so that it can hand in what it has done."""
        await _end(self._worker, Process.terminate)
        await _end(self._server, Process.terminate)

    async def ended(self) -> str:
        """Waits until one of the two ends by itself; returns which."""
        assert self._server is not None
        assert self._worker is not None
        waits = {
            asyncio.create_task(self._server.wait()): "the server",
            asyncio.create_task(self._worker.wait()): "the worker",
        }
        done, others = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for other in others:
            other.cancel()
        return waits[done.pop()]

    async def _start(self, *arguments: str) -> Process:
        with contextlib.ExitStack() as files:
            log = None if self._log is None else files.enter_context(self._log.open("a"))
            # A group of its own: Ctrl-C reaches only the parent, which stops the worker first.
            return await asyncio.create_subprocess_exec(
                sys.executable, *arguments, stdout=PIPE, stderr=log, process_group=0
            )


async def _end(process: Process | None, how: Callable[[Process], None]) -> None:
    if process is not None and process.returncode is None:
        how(process)
        async with asyncio.timeout(PATIENCE_S):
            await process.wait()
