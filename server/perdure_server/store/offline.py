"""Owns what is done to a database beside its servers: to look at its schema, and to copy it.

Each backend has a `Place` for that. None of it is of use to a server.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Final, Protocol

from perdure_server.store.migrate import SCHEMA_VERSION, check_schema

BATCH_ROWS: Final = 100
"""Rows that are in memory at once: an event has at most a few megabytes."""

Row = Sequence[Any]
"""The columns of a row as plain values, the same on every backend: truth is a `bool`."""


class CopyRefused(Exception):
    """A database cannot be copied from here or to here; the text says why and what to do."""


@dataclass(slots=True, frozen=True)
class Schema:
    """What a database says of its schema; version 0 is one that has none yet."""

    version: int
    min_server: int

    @property
    def needs_migration(self) -> bool:
        """Whether this server would change it before it serves."""
        return self.version < SCHEMA_VERSION

    @property
    def is_too_new(self) -> bool:
        """Whether only a later server may use it."""
        return self.min_server > SCHEMA_VERSION

    def check(self) -> None:
        """Raises SchemaTooNew when only a later server may use it."""
        check_schema(version=self.version, min_server=self.min_server)


@dataclass(slots=True, frozen=True)
class Table:
    """A table that is copied: its columns, and how its rows are read in the order of their key."""

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    below: Row
    """A key that stands below every other."""
    read: str
    """The query of the rows after a key."""
    write: str
    """The query of one row's insertion."""

    def key_of(self, row: Row) -> Row:
        """Returns the key of a row."""
        return tuple(row[self.columns.index(name)] for name in self.key)


@dataclass(slots=True, frozen=True)
class Ending:
    """The epoch of positions, and the last place that an event has or had in it."""

    epoch: int
    commit: int
    index: int


class Reading(Protocol):
    """A database that no server uses meanwhile, all of it as it is at one moment."""

    async def rows(self, table: Table, after: Row, limit: int) -> list[Row]:
        """Returns the first `limit` rows with a key above `after`, in the order of their keys."""

    async def ending(self) -> Ending:
        """Returns where the events end."""


class Writing(Reading, Protocol):
    """A database that is written in one transaction: all of it, or nothing when it fails."""

    async def write(self, table: Table, rows: Sequence[Row]) -> None:
        """Inserts rows."""

    async def forget_namespace(self, name: str) -> None:
        """Deletes the row of a namespace."""

    async def end_at(self, ending: Ending) -> None:
        """Sets the epoch; whatever is committed later stands behind this place."""


class Place(Protocol):
    """Where a database is or may come to be. Errors are those of `Store`, and CopyRefused."""

    name: str
    """What it is called in errors and answers; it holds no secret."""

    async def look(self) -> Schema:
        """Returns the schema found; changes nothing, also while servers use the database."""

    async def migrate(self) -> None:
        """Brings the schema to this version; raises SchemaTooNew, and StoreInUse where it must."""

    def reading(self) -> AbstractAsyncContextManager[Reading]:
        """Lends the database while no server may begin to use it; StoreInUse when one does."""

    def writing(self) -> AbstractAsyncContextManager[Writing]:
        """Makes and migrates the database, then lends it like `reading`; commits in the end."""


def check_readable(schema: Schema, name: str) -> None:
    """Raises CopyRefused for a schema that is not exactly the one that this version knows."""
    if not schema.version:
        raise CopyRefused(f"there is no database to copy in {name}")
    if schema.version != SCHEMA_VERSION:
        raise CopyRefused(
            f"{name} has schema version {schema.version} and this version copies"
            f" {SCHEMA_VERSION}: run `perdure db migrate` on it, or the version that belongs to it"
        )
