"""The backends that several servers may share, and servers that have joined."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable

import pytest

from perdure_server.store.shared import SharedStore
from tests.store.shared.rig import Ear, Servers
from tests.support.histories import START_US
from tests.support.model_shared import SharedContents, SharedModelStore


@pytest.fixture
def model_servers() -> Servers:
    """Opens views of one model, whose time goes on by a microsecond with every look at it."""
    shared, time = SharedContents(), itertools.count(START_US)

    async def open_one() -> SharedStore:
        store = SharedModelStore(shared, lambda: next(time))
        await store.open()
        return store

    return open_one


@pytest.fixture
def postgres_servers(postgres_disk: Callable[[], SharedStore]) -> Servers:
    """Opens stores in one schema."""
    return opener(postgres_disk)


@pytest.fixture
def later_postgres_servers(later_postgres_disk: Callable[[], SharedStore]) -> Servers:
    """The same in one that a later version has migrated."""
    return opener(later_postgres_disk)


def opener(disk: Callable[[], SharedStore]) -> Servers:
    async def open_one() -> SharedStore:
        store = disk()
        await store.open()
        return store

    return open_one


@pytest.fixture(params=["model", "postgres", "later_postgres"])
async def servers(request: pytest.FixtureRequest) -> AsyncIterator[Servers]:
    """Opens stores of one database. A backend joins with its name and a fixture `NAME_servers`."""
    made: Servers = request.getfixturevalue(f"{request.param}_servers")
    opened: list[SharedStore] = []

    async def open_one() -> SharedStore:
        opened.append(await made())
        return opened[-1]

    yield open_one
    for store in opened:
        await store.close()


@pytest.fixture
async def one(servers: Servers) -> SharedStore:
    store = await servers()
    await store.join("one")
    return store


@pytest.fixture
async def two(one: SharedStore, servers: Servers) -> SharedStore:
    store = await servers()
    await store.join("two")
    return store


@pytest.fixture
async def three(two: SharedStore, servers: Servers) -> SharedStore:
    store = await servers()
    await store.join("three")
    return store


@pytest.fixture
async def ear(two: SharedStore) -> AsyncIterator[Ear]:
    """The ear of `two`, which has heard that it knows nothing."""
    ear = Ear(two)
    assert (await ear.hear()).everything
    yield ear
    await ear.close()
