"""Owns what stands before the first write: the lock on the file, the connection, the schema."""

from __future__ import annotations

import fcntl
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Final

from perdure_server.core.errors import StoreInUse
from perdure_server.core.limits import SECOND_US, STORE_LOCK_WAIT_US
from perdure_server.store.migrate import check_schema, load_migrations

LOCK_WAIT_SECONDS: Final = STORE_LOCK_WAIT_US / SECOND_US

_CACHE_KIB: Final = 16 * 1024
"""Holds the pages that a busy server touches again and again; only pages in use take memory."""


def connect(path: Path) -> sqlite3.Connection:
    """Opens the connection of the writer: a commit is on the disk when it returns.

    Transactions are opened and ended by hand. The connection is made in one thread and used by
    another.
    """
    connection = sqlite3.connect(
        path, timeout=LOCK_WAIT_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    except BaseException:
        connection.close()
        raise
    return connection


def connect_unsynced(path: Path) -> sqlite3.Connection:
    """Opens the connection of a writer whose database need not outlive the machine's crash."""
    connection = connect(path)
    try:
        connection.execute("PRAGMA synchronous = OFF")
    except BaseException:
        connection.close()
        raise
    return connection


def migrate(connection: sqlite3.Connection, queries: Mapping[str, str]) -> None:
    """Runs the migrations that the schema lacks.

    Raises SchemaTooNew when the schema needs a newer server.
    """
    version, min_server = 0, 0
    (found,) = connection.execute(queries["has_schema"]).fetchone()
    if found:
        version, min_server = connection.execute(queries["schema_version"]).fetchone()
    check_schema(version=version, min_server=min_server)
    for migration in load_migrations(__package__):
        if migration.number > version:
            connection.executescript(migration.script)


def lock(path: Path) -> IO[bytes]:
    """Takes ownership of the database until the returned file is closed or the process ends.

    Raises StoreInUse when another server owns it. The lock is on a file of its own, so that it does
    not meet the locks that SQLite takes on the database.
    """
    file = path.with_name(f"{path.name}.lock").open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise StoreInUse(
            f"the database {path} is in use by another server: stop that one, or use another file"
        ) from None
    return file
