"""A connection that freezes is noticed by both sides, and its tasks run elsewhere."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import timedelta

from perdure import Client, RetryPolicy, Worker, activity, workflow
from perdure_server.app import SystemClock, SystemIds, listening, running_engine
from perdure_server.store.sqlite.store import SqliteStore
from tests.support.proxy import freezing_proxy

NOTICED_WITHIN_S = 10.0
ELSEWHERE_WITHIN_S = 13.0
"""The lease ends 10 seconds after the last word of the worker; then come one tick and a back-off.
"""

here: list[str] = []


@activity(
    name="hold",
    retry=RetryPolicy(initial_interval=timedelta(milliseconds=10)),
)
async def hold_for_ever(worker: str) -> str:
    here.append("frozen")
    await asyncio.Event().wait()
    return worker


@activity(name="hold")
async def hold_briefly(worker: str) -> str:
    del worker
    here.append("healthy")
    return "healthy"


@workflow
async def holding() -> str:
    return await hold_for_ever.options(
        retry=RetryPolicy(initial_interval=timedelta(milliseconds=10))
    )("w")


async def test_both_sides_notice_and_the_task_runs_elsewhere(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    here.clear()
    store = SqliteStore(tmp_path / "perdure.db")
    async with (
        running_engine(store, SystemClock(), SystemIds()) as engine,
        listening(engine, "127.0.0.1:0", grace_seconds=0) as address,
        freezing_proxy(address) as proxy,
        Client.connect(address) as client,
        Client.connect(proxy.address) as frozen_client,
        Worker(client, "q", [holding]),
        Worker(frozen_client, "q", [], [hold_for_ever], drain_timeout=timedelta(0)),
    ):
        handle = await client.start(holding, id="w", task_queue="q")
        await _until(lambda: here == ["frozen"])
        proxy.freeze()
        frozen_at = time.monotonic()
        async with Worker(client, "q", [], [hold_briefly]):
            worker_noticed = await _until(lambda: "no word for" in caplog.text)
            server_noticed = await _until(lambda: not _is_streaming(engine))
            assert worker_noticed - frozen_at < NOTICED_WITHIN_S
            assert server_noticed - frozen_at < NOTICED_WITHIN_S
            assert await handle.result() == "healthy"
            assert time.monotonic() - frozen_at < ELSEWHERE_WITHIN_S
        proxy.thaw()


def _is_streaming(engine):
    """Whether the server still believes in the stream of the worker that holds the activity."""
    sessions = engine.sessions.all()
    return any(s.activity_types and s.held and s.sink is not None for s in sessions)


async def _until(condition):
    """Waits for something that happens in real time; returns when it did."""
    while not condition():
        await asyncio.sleep(0.02)
    return time.monotonic()
