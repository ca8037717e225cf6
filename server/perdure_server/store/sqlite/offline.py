"""Owns a SQLite file beside its server: its schema, and all of its rows for a copy."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Final

from perdure_server.core.errors import StoreUnavailable
from perdure_server.store.offline import Ending, Row, Schema, Table, check_readable
from perdure_server.store.queries import load_queries
from perdure_server.store.sqlite.connection import LOCK_WAIT_SECONDS, connect, lock, migrate

_TRUTHS: Final = frozenset(
    {"any_type", "cancel_requested", "closed", "is_least", "paused", "waits"}
)
"""Columns that hold a truth, which SQLite keeps as 0 or 1."""


class SqlitePlace:
    """A file. `Place` says what each method promises."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path
        self._queries = load_queries(__package__)

    async def look(self) -> Schema:
        """Returns the schema of the file, which need not exist."""
        if not self._path.exists():
            return Schema(0, 0)
        with self._faults():
            # `connect` would write: it sets the mode of the journal.
            uri = f"{self._path.absolute().as_uri()}?mode=ro"
            opened = sqlite3.connect(uri, uri=True, timeout=LOCK_WAIT_SECONDS, isolation_level=None)
            with closing(opened) as connection:
                return _schema(connection, self._queries)

    async def migrate(self) -> None:
        """Owns the file for as long as it takes."""
        with self._owned() as connection:
            migrate(connection, self._queries)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[SqliteTables]:
        """Owns the file and reads it in one transaction."""
        # Also a lock makes a file, and its folder may not be there.
        check_readable(await self.look(), self.name)
        with self._owned() as connection:
            connection.execute(self._queries["begin_read"])
            yield SqliteTables(connection, self._queries)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[SqliteTables]:
        """Owns the file and writes it in one transaction."""
        with self._owned() as connection:
            migrate(connection, self._queries)
            connection.execute(self._queries["begin_write"])
            yield SqliteTables(connection, self._queries)
            connection.commit()

    @contextmanager
    def _owned(self) -> Iterator[sqlite3.Connection]:
        with self._faults():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # Closing the connection rolls back what was not committed.
            with lock(self._path), closing(connect(self._path)) as connection:
                yield connection

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise StoreUnavailable(f"the database {self._path} cannot be used: {error}") from error


class SqliteTables:
    """All rows of a file. `Writing` says what each method promises."""

    def __init__(self, connection: sqlite3.Connection, queries: Mapping[str, str]) -> None:
        self._connection = connection
        self._queries = queries

    async def rows(self, table: Table, after: Row, limit: int) -> list[Row]:
        """Returns rows after a key."""
        found = self._connection.execute(self._queries[table.read], (*after, limit)).fetchall()
        places = [number for number, name in enumerate(table.columns) if name in _TRUTHS]
        if not places:
            return found
        return [
            tuple(bool(value) if at in places else value for at, value in enumerate(row))
            for row in found
        ]

    async def write(self, table: Table, rows: Sequence[Row]) -> None:
        """Inserts rows."""
        text = self._queries[table.write]
        for row in rows:
            # One by one, since some of these queries answer a row.
            self._connection.execute(text, row).fetchall()

    async def ending(self) -> Ending:
        """Returns where the events end."""
        return Ending(*self._connection.execute(self._queries["copied_position"]).fetchone())

    async def forget_namespace(self, name: str) -> None:
        """Deletes the row of a namespace."""
        self._connection.execute(self._queries["delete_namespace"], (name,)).fetchall()

    async def end_at(self, ending: Ending) -> None:
        """Sets where the next commit begins."""
        place = (ending.epoch, ending.commit, ending.index)
        self._connection.execute(self._queries["put_position"], place)


def _schema(connection: sqlite3.Connection, queries: Mapping[str, str]) -> Schema:
    (found,) = connection.execute(queries["has_schema"]).fetchone()
    if not found:
        return Schema(0, 0)
    return Schema(*connection.execute(queries["schema_version"]).fetchone())
