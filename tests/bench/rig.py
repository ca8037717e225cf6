"""Processes of the bench and what they cost, read from the operating system."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil


@dataclass(slots=True)
class Rig:
    """A server and a worker, each a process of its own, on a database of its own."""

    folder: Path
    address: str
    server: subprocess.Popen[str]
    worker: subprocess.Popen[str]

    def counted(self) -> dict[str, int]:
        """Asks the server what it counted."""
        return ask(self.server)

    def cpu_s(self) -> dict[str, float]:
        """Returns the processor seconds that each process has used."""
        return {
            "server": cpu_s(self.server.pid),
            "worker": cpu_s(self.worker.pid),
            "client": cpu_s(),
        }

    def peak_rss_mb(self) -> dict[str, float]:
        """Returns the largest resident size of each process, in MB."""
        return {
            "server": peak_rss_mb(self.server.pid),
            "worker": peak_rss_mb(self.worker.pid),
            "client": peak_rss_mb(None),
        }


@contextmanager
def rig(*, counting: bool = False) -> Iterator[Rig]:
    """Starts a server and a worker; ends both."""
    with tempfile.TemporaryDirectory(prefix="perdure-bench-") as folder:
        arguments = [folder, *(["--count"] if counting else [])]
        server = _spawn("tests.bench.server", *arguments)
        worker = None
        try:
            address = _line(server)
            worker = _spawn("tests.bench.worker", address)
            yield Rig(Path(folder), address, server, worker)
        finally:
            for process in (worker, server):
                if process is not None:
                    process.kill()
                    process.wait()


@contextmanager
def served(
    place: str, *, works: bool, counting: bool = False
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Starts a server on a folder or a database, with a worker if it `works`; ends both."""
    processes = [_spawn("tests.bench.server", place, *(["--count"] if counting else []))]
    try:
        address = _line(processes[0])
        if works:
            processes.append(_spawn("tests.bench.worker", address))
        yield processes[0], address
    finally:
        for process in reversed(processes):
            process.kill()
            process.wait()


def ask(server: subprocess.Popen[str]) -> dict[str, int]:
    """Sends a line to the bench server and returns its counters."""
    if server.stdin is None:
        raise RuntimeError("the server was started without a pipe")
    server.stdin.write("\n")
    server.stdin.flush()
    counters: dict[str, int] = json.loads(_line(server))
    return counters


def cpu_s(pid: int | None = None) -> float:
    """Returns the processor seconds of a process, of this one by default."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def peak_rss_mb(pid: int | None) -> float:
    """Returns the largest resident size of a process, in MB."""
    status = Path(f"/proc/{pid or 'self'}/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def rss_mb(pid: int) -> float:
    """Returns the resident size of a process, in MB."""
    return float(psutil.Process(pid).memory_info().rss) / 1024**2


def histories_are_whole(folder: Path, expected: dict[str, int]) -> bool:
    """Checks the database against what was asked: statuses, dense histories, no row left over.

    `expected` maps the name of a status to the number of runs that must have it.
    """
    with sqlite3.connect(f"file:{folder / 'perdure.db'}?mode=ro", uri=True) as database:
        statuses = dict(database.execute("SELECT status, count(*) FROM runs GROUP BY status"))
        ragged = database.execute(
            "SELECT count(*) FROM runs r WHERE history_length <>"
            " (SELECT count(*) FROM events e WHERE e.run_id = r.run_id)"
        ).fetchone()[0]
        tables = ("tasks", "activities", "timers")
        left = sum(
            database.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables
        )
    database.close()
    return statuses == expected and not ragged and not left


def database_bytes(folder: Path) -> int:
    """Returns the size of the database with its log."""
    return sum(path.stat().st_size for path in folder.glob("perdure.db*"))


def _spawn(module: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _line(process: subprocess.Popen[Any]) -> str:
    if process.stdout is None:
        raise RuntimeError("the process was started without a pipe")
    line: str = process.stdout.readline()
    if not line:
        raise RuntimeError(f"a process of the bench ended with {process.wait()}")
    return line.strip()
