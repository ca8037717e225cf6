"""The stage, and the one scenario that takes so long that it plays beside all others."""

from __future__ import annotations

import asyncio

import pytest
import pytest_asyncio

from tests.crash.blocked import block_a_worker
from tests.crash.stage import opened_stage
from tests.support.processes import ServerProcess, SharedServer


@pytest_asyncio.fixture(scope="session", loop_scope="session", autouse=True)
async def blocked(request, tmp_path_factory):
    """The scenario of the blocked worker, begun beside the other tests because it takes long."""
    names = {
        item.originalname for item in request.session.items if isinstance(item, pytest.Function)
    }
    if "test_a_blocked_loop_loses_no_activity" not in names:
        yield None
        return
    task = asyncio.create_task(block_a_worker(tmp_path_factory.mktemp("blocked")))
    yield task
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.fixture(params=["sqlite", "postgres"])
def backend(request):
    """On what the server of the stage keeps its data."""
    return request.param


@pytest_asyncio.fixture(loop_scope="session")
async def stage(backend, request, tmp_path):
    """A stage with a server."""
    if backend == "sqlite":
        server = ServerProcess(tmp_path / "data")
    else:
        schemas = request.getfixturevalue("schemas")
        log = tmp_path / "server.log"
        server = SharedServer(schemas.url, schema=schemas.new(), log=log)
    async with opened_stage(tmp_path, server) as stage:
        yield stage
