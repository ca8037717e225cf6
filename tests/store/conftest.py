"""The backends that the conformance suite runs on. A new one joins by adding its name here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from perdure_server.store.contract import Store
from perdure_server.store.sqlite.store import SqliteStore
from tests.support.model_store import Contents, ModelStore


@pytest.fixture(params=["model", "sqlite"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Store]:
    """Makes a store on the same contents each time, as a server does that starts again."""
    if request.param == "model":
        contents = Contents()
        return lambda: ModelStore(contents)
    return lambda: SqliteStore(tmp_path / "perdure.db")


@pytest.fixture
async def store(disk: Callable[[], Store]) -> AsyncIterator[Store]:
    store = disk()
    await store.open()
    yield store
    await store.close()
