"""The server goes and comes back while activities run: they are not run again."""

from __future__ import annotations

import asyncio
import signal

import pytest

from tests.crash.histories import faults_of
from tests.crash.stage import PLAY_S
from tests.crash.worker import gather_at_gates

GATES = 20

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(PLAY_S + 20)]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_a_restart_reruns_no_running_activity(stage, how):
    await stage.start_worker()
    async with stage.client() as client:
        gates = ["first"] * (GATES // 2) + ["second"] * (GATES // 2)
        handle = await client.start(gather_at_gates, gates, id="gates")
        await stage.until_executing(2 * GATES)

        await asyncio.to_thread(stage.server.end, how)
        stage.open_gate("first")  # these end while there is no server
        await stage.start_server()
        stage.open_gate("second")  # and these on the new one
        assert await handle.result() == [*range(GATES), *range(GATES)]
        history = await handle.history()

    assert faults_of(history) == []
    assert {
        e.activity_completed.attempt for e in history.events if e.HasField("activity_completed")
    } == {1}
    assert stage.executions() == {("gates", seq + 1): 1 for seq in range(2 * GATES)}
