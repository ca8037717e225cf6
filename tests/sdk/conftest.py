"""A real server on a SQLite file, and a client of it."""

from __future__ import annotations

import pytest

from perdure.client import Client
from perdure_server.app import SystemClock, SystemIds, listening, running_engine
from perdure_server.store.sqlite.store import SqliteStore


@pytest.fixture
async def address(tmp_path):
    store = SqliteStore(tmp_path / "perdure.db")
    async with (
        running_engine(store, SystemClock(), SystemIds()) as engine,
        listening(engine, "127.0.0.1:0", grace_seconds=0) as address,
    ):
        yield address


@pytest.fixture
async def client(address):
    async with Client.connect(address) as client:
        yield client
