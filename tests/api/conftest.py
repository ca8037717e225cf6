"""A real server on each backend, called over gRPC."""

from __future__ import annotations

import pytest

from perdure_server.app import DatabaseClock, SystemIds, listening, running_engine
from perdure_server.store.postgres.store import PostgresStore
from perdure_server.store.sqlite.store import SqliteStore
from tests.api.calls import Caller
from tests.api.flows import Flows
from tests.support.model_store import ModelStore


@pytest.fixture
def model_store():
    return ModelStore()


@pytest.fixture
def sqlite_store(tmp_path):
    return SqliteStore(tmp_path / "perdure.db")


@pytest.fixture
def postgres_store(schemas):
    with schemas.lent() as schema:
        yield PostgresStore(schemas.url, schema=schema)


@pytest.fixture(params=["model", "sqlite", "postgres"])
def store(request):
    return request.getfixturevalue(f"{request.param}_store")


@pytest.fixture
async def engine(store):
    async with running_engine(store, DatabaseClock(), SystemIds()) as engine:
        yield engine


@pytest.fixture
async def address(engine):
    async with listening(engine, "127.0.0.1:0", grace_seconds=0) as address:
        yield address


@pytest.fixture
async def caller(address):
    caller = Caller(address)
    yield caller
    await caller.close()


@pytest.fixture
def flows(caller):
    return Flows(caller)
