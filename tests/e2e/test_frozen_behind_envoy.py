"""A connection that freezes before or behind Envoy is noticed, and its tasks run elsewhere.

Signs of life pass through Envoy, so what `test_frozen_connection.py` shows without it holds.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from perdure import Client, RetryPolicy, Worker, activity, workflow
from perdure_server.app import SystemClock, SystemIds, listening, running_engine
from perdure_server.store.sqlite.store import SqliteStore
from tests.support.envoy import running_envoy
from tests.support.proxy import freezing_proxy

NOTICED_WITHIN_S = 10.0
ELSEWHERE_WITHIN_S = 13.0
"""The lease ends 10 seconds after the last word of the worker; then come one tick and a back-off.
"""
AT_ONCE = RetryPolicy(initial_interval=timedelta(milliseconds=10))

here: list[str] = []


@activity(name="hold", retry=AT_ONCE)
async def hold_until_lost() -> str:
    here.append("frozen")
    if here == ["frozen"]:
        await asyncio.Event().wait()
    return "thawed"


@activity(name="hold")
async def hold_briefly() -> str:
    here.append("healthy")
    return "healthy"


@workflow
async def holding() -> str:
    return await hold_until_lost()


@asynccontextmanager
async def frozen_before_envoy(server):
    """Lends worker → proxy → Envoy → server: the proxy, and where the worker connects."""
    async with running_envoy(server) as door, freezing_proxy(door.address) as proxy:
        yield proxy, proxy.address


@asynccontextmanager
async def frozen_behind_envoy(server):
    """Lends worker → Envoy → proxy → server."""
    async with freezing_proxy(server) as proxy, running_envoy(proxy.address) as door:
        yield proxy, door.address


@pytest.mark.parametrize("path", [frozen_before_envoy, frozen_behind_envoy])
async def test_both_sides_notice_and_the_task_runs_elsewhere(tmp_path, caplog, path):
    caplog.set_level(logging.INFO)
    here.clear()
    store = SqliteStore(tmp_path / "perdure.db")
    async with (
        running_engine(store, SystemClock(), SystemIds()) as engine,
        listening(engine, "127.0.0.1:0", grace_seconds=0) as address,
        path(address) as (proxy, through_envoy),
        Client.connect(address) as client,
        Client.connect(through_envoy) as frozen_client,
        Worker(client, "q", [holding]),
        Worker(frozen_client, "q", [], [hold_until_lost], drain_timeout=timedelta(0)),
    ):
        handle = await client.start(holding, id="w", task_queue="q")
        await _until(lambda: here == ["frozen"])
        proxy.freeze()
        frozen_at = time.monotonic()
        async with Worker(client, "q", [], [hold_briefly]):
            worker_noticed = await _until(lambda: "lost its server" in caplog.text)
            server_noticed = await _until(lambda: not _is_streaming(engine))
            assert worker_noticed - frozen_at < NOTICED_WITHIN_S
            assert server_noticed - frozen_at < NOTICED_WITHIN_S
            assert await handle.result() == "healthy"
            assert time.monotonic() - frozen_at < ELSEWHERE_WITHIN_S
        proxy.thaw()
        # And the worker is one again.
        assert await client.execute(holding, id="again", task_queue="q") == "thawed"


def _is_streaming(engine):
    """Whether the server still believes in the stream of the worker that holds the activity."""
    sessions = engine.sessions.all()
    return any(s.activity_types and s.held and s.sink is not None for s in sessions)


async def _until(condition):
    """Waits for something that happens in real time; returns when it did."""
    while not condition():
        await asyncio.sleep(0.02)
    return time.monotonic()
