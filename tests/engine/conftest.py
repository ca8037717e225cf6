"""One engine per test, or some that share a database."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from tests.engine.gated import GatedStore
from tests.engine.rig import Database, running, settle

SERVERS = 3


@pytest.fixture
async def store():
    store = GatedStore()
    await store.open()
    return store


@pytest.fixture
async def rig(store):
    async with running(store) as rig:
        yield rig


@pytest.fixture
def database():
    return Database()


@pytest.fixture
async def servers(database):
    """Some servers."""
    async with AsyncExitStack() as stack:
        rigs = []
        for _ in range(SERVERS):
            store = database.store()
            await store.open()
            options = {"clock": database.clock, "ids": database.ids}
            rigs.append(await stack.enter_async_context(running(store, **options)))
        await settle()
        yield rigs
