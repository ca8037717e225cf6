"""A real server on each backend, called over gRPC."""

from __future__ import annotations

import pytest

from perdure_server.app import SystemClock, SystemIds, listening, running_engine
from perdure_server.store.sqlite.store import SqliteStore
from tests.api.calls import Caller
from tests.api.flows import Flows
from tests.support.model_store import ModelStore


@pytest.fixture(params=["model", "sqlite"])
def store(request, tmp_path):
    return ModelStore() if request.param == "model" else SqliteStore(tmp_path / "perdure.db")


@pytest.fixture
async def engine(store):
    async with running_engine(store, SystemClock(), SystemIds()) as engine:
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
