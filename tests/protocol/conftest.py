"""A real server on each backend, and nothing but generated stubs before it."""

from __future__ import annotations

import pytest

from perdure_server.app import DatabaseClock, SystemIds, listening, running_engine
from perdure_server.store.postgres.store import PostgresStore
from perdure_server.store.sqlite.store import SqliteStore
from tests.api.calls import Caller


@pytest.fixture
def sqlite_store(tmp_path):
    return SqliteStore(tmp_path / "perdure.db")


@pytest.fixture
def postgres_store(schemas):
    with schemas.lent() as schema:
        yield PostgresStore(schemas.url, schema=schema)


@pytest.fixture(params=["sqlite", "postgres"])
async def caller(request):
    store = request.getfixturevalue(f"{request.param}_store")
    async with (
        running_engine(store, DatabaseClock(), SystemIds()) as engine,
        listening(engine, "127.0.0.1:0", grace_seconds=0) as address,
    ):
        caller = Caller(address)
        yield caller
        await caller.close()
