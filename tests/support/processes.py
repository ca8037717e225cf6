"""Owns real processes: servers and workers that tests start, kill and start again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
PATIENCE_S: Final = 30.0
"""How long a process may take to start or to end before a test calls it broken."""
_PORTS: Final = range(20_000, 32_000)
"""Below the ports that the system gives to connections, so that none takes a server's port while
the server is down."""


class RealProcess:
    """A Python program in a process of its own.

    It says one line on standard output when it is ready; standard error goes to the file `log`.
    """

    def __init__(
        self, arguments: Sequence[str], *, log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.log: Final = log
        self._arguments = [sys.executable, *arguments]
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[str] | None = None

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process id; AssertionError before the first start."""
        assert self._process is not None
        return self._process.pid

    def launch(self) -> None:
        """Starts it, without waiting until it is ready."""
        assert not self.is_running, "the process runs already"
        with self.log.open("a") as log:
            self._process = subprocess.Popen(
                self._arguments,
                cwd=ROOT,
                env=self._environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def start(self) -> str:
        """Starts it and waits until it is ready; returns the line it said."""
        self.launch()
        assert self._process is not None
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"the process did not start: {self.complaints()}"
        return line

    def kill(self) -> None:
        """Ends it by SIGKILL: it can do nothing about it. Does nothing when it has ended."""
        self.end(signal.SIGKILL)

    def end(self, number: signal.Signals) -> int:
        """Sends a signal and waits for the end; returns the exit code."""
        assert self._process is not None
        if self.is_running:
            self._process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Waits until it ends by itself; returns the exit code."""
        assert self._process is not None
        assert self._process.stdout is not None
        code = self._process.wait(PATIENCE_S)
        self._process.stdout.close()
        return code

    def complaints(self) -> str:
        """Returns what it and those before it said on standard error."""
        return self.log.read_text() if self.log.exists() else ""


class ServerProcess(RealProcess):
    """`perdure server` on a folder; each start serves the same data on the same address."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.address: Final = f"127.0.0.1:{free_port()}"
        command = ["-m", "perdure_server", "server", "--log-level", "warning"]
        command += ["--data", str(folder), "--grpc", self.address]
        super().__init__(command, log=folder / "server.log")


class SharedServer(RealProcess):
    """`perdure server` beside others on a PostgreSQL; each start serves on the same address."""

    def __init__(
        self, store: str, *, log: Path, schema: str = "perdure", module: str = "perdure_server"
    ) -> None:
        self.address: Final = f"127.0.0.1:{free_port()}"
        command = ["-m", module, "server", "--log-level", "warning"]
        command += ["--store", store, "--schema", schema, "--grpc", self.address]
        super().__init__(command, log=log)

    def send(self, number: signal.Signals) -> None:
        """Sends a signal that it outlives."""
        os.kill(self.pid, number)

    def set_environment(self, name: str, value: str) -> None:
        """Sets a variable of the next start."""
        self._environment[name] = value


def any_of(servers: Sequence[SharedServer], first: int = 0) -> str:
    """Names servers as one target: a client tries them in order, from the first given on."""
    addresses = [server.address for server in servers]
    return "ipv4:" + ",".join(addresses[first:] + addresses[:first])


def free_port() -> int:
    """Returns a port on which nobody listens."""
    numbers = Random()
    while True:
        port = numbers.choice(_PORTS)
        with socket.socket() as candidate:
            candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                candidate.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
