"""Owns a PostgreSQL database beside its servers: its schema, and all of its rows for a copy."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

from perdure_server.core.errors import StoreInUse
from perdure_server.store.offline import Ending, Row, Schema, Table, check_readable
from perdure_server.store.postgres.connection import (
    FAULTS,
    Database,
    Session,
    migrate,
    refuse_servers,
)
from perdure_server.store.queries import load_queries


class PostgresPlace:
    """One schema of a database. `Place` says what each method promises."""

    def __init__(self, url: str, *, schema: str) -> None:
        self._database = Database(url, schema, load_queries(__package__))
        self.name = self._database.place

    async def look(self) -> Schema:
        """Returns the schema found, which need not exist."""
        with self._faults():
            session = await self._database.connect()
            try:
                return await _schema(session)
            finally:
                await session.close()

    async def migrate(self) -> None:
        """Takes its turn with servers that do the same; the others go on meanwhile."""
        with self._faults():
            await migrate(self._database)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[PostgresTables]:
        """Reads in one transaction, with a lock that every server asks for when it starts."""
        async with self._owned() as session:
            check_readable(await _schema(session), self.name)
            await refuse_servers(session, self.name)
            async with session.transaction("begin_snapshot"):
                yield PostgresTables(session)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[PostgresTables]:
        """Writes in one transaction, with a lock that every server asks for when it starts."""
        async with self._owned():
            pass  # Nobody has the lock; for one who copies, a migration would wait.
        await self.migrate()
        async with self._owned() as session:
            await refuse_servers(session, self.name)
            async with session.transaction("begin_together"):
                yield PostgresTables(session)

    @asynccontextmanager
    async def _owned(self) -> AsyncIterator[Session]:
        with self._faults():
            session = await self._database.connect(bounded=False)
            try:
                ((free,),) = await session.rows("try_lock_migrations", self._database.schema)
                if not free:
                    raise StoreInUse(
                        f"{self.name} is being migrated, copied or opened by a server: try again"
                        " when that has ended"
                    )
                yield session
            finally:
                # The lock goes with the connection.
                await session.close()

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except FAULTS as fault:
            raise self._database.unavailable(fault) from fault


class PostgresTables:
    """All rows of a schema. `Writing` says what each method promises."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def rows(self, table: Table, after: Row, limit: int) -> list[Row]:
        """Returns rows after a key."""
        found = await self._session.rows(table.read, *after, limit)
        return [tuple(row) for row in found]

    async def write(self, table: Table, rows: Sequence[Row]) -> None:
        """Inserts rows, by the protocol that is made for many of them."""
        await self._session.connection.copy_records_to_table(
            table.name, columns=table.columns, records=rows
        )

    async def ending(self) -> Ending:
        """Returns where the events end."""
        ((epoch, commit, index),) = await self._session.rows("copied_position")
        return Ending(epoch, commit, index)

    async def forget_namespace(self, name: str) -> None:
        """Deletes the row of a namespace."""
        await self._session.rows("delete_namespace", name)

    async def end_at(self, ending: Ending) -> None:
        """Sets from where transactions are counted."""
        await self._session.rows("put_position", ending.epoch, ending.commit, ending.index)


async def _schema(session: Session) -> Schema:
    ((found,),) = await session.rows("has_schema")
    if not found:
        return Schema(0, 0)
    ((version, min_server),) = await session.rows("schema_version")
    return Schema(version, min_server)
