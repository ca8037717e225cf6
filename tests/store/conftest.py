"""The backends that the conformance suite runs on. A new one joins by adding its name here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from perdure_server.store.contract import Store
from perdure_server.store.postgres.store import PostgresStore
from perdure_server.store.queries import load_queries
from perdure_server.store.sqlite.connection import connect, connect_unsynced, migrate
from perdure_server.store.sqlite.store import SqliteStore
from perdure_server.store.sqlite.writer import PromptWriter
from tests.support import postgres
from tests.support.later import later_script
from tests.support.model_contents import Contents
from tests.support.model_store import ModelStore


@pytest.fixture
def model_disk() -> Callable[[], Store]:
    contents = Contents()
    return lambda: ModelStore(contents)


@pytest.fixture
def sqlite_disk(tmp_path: Path) -> Callable[[], Store]:
    return lambda: SqliteStore(tmp_path / "perdure.db")


@pytest.fixture
def prompt_sqlite_disk(tmp_path: Path) -> Callable[[], Store]:
    """A file as tests of workflows have it: written at once in the loop, and without syncs."""
    path = tmp_path / "prompt.db"
    return lambda: SqliteStore(path, connect=connect_unsynced, writer=PromptWriter)


@pytest.fixture
def postgres_disk(schemas: postgres.Schemas) -> Iterator[Callable[[], Store]]:
    with schemas.lent() as schema:
        yield lambda: PostgresStore(schemas.url, schema=schema)


@pytest.fixture
def later_sqlite_disk(tmp_path: Path) -> Callable[[], Store]:
    """A file that a later version has migrated, and this one may still serve."""
    path = tmp_path / "later.db"
    with closing(connect(path)) as connection:
        migrate(connection, load_queries("perdure_server.store.sqlite"))
        connection.executescript(later_script("sqlite"))
    return lambda: SqliteStore(path)


@pytest.fixture
def later_postgres_disk(schemas: postgres.Schemas) -> Iterator[Callable[[], Store]]:
    """The same on PostgreSQL."""
    with schemas.lent(later_script("postgres")) as schema:
        yield lambda: PostgresStore(schemas.url, schema=schema)


@pytest.fixture(
    params=["model", "sqlite", "prompt_sqlite", "postgres", "later_sqlite", "later_postgres"]
)
def disk(request: pytest.FixtureRequest) -> Callable[[], Store]:
    """Makes a store on the same contents each time, as a server does that starts again."""
    made: Callable[[], Store] = request.getfixturevalue(f"{request.param}_disk")
    return made


@pytest.fixture
async def store(disk: Callable[[], Store]) -> AsyncIterator[Store]:
    store = disk()
    await store.open()
    yield store
    await store.close()
