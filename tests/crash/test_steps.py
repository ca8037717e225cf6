"""Steps of one workflow while its worker and its server are killed."""

from __future__ import annotations

import pytest

from tests.crash.stage import PLAY_S
from tests.crash.worker import climb

STEPS = 200

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(PLAY_S + 20)]


async def test_each_step_is_recorded_once_and_no_recorded_one_is_run_again(stage):
    first = await stage.start_worker()
    async with stage.client() as client:
        handle = await client.start(climb, STEPS, id="stairs")
        await stage.until_executing(STEPS // 4)
        stage.server.kill()
        await stage.start_server()
        await stage.until_executing(STEPS // 2)
        first.kill()
        known = recorded(await handle.history())
        await stage.start_worker()
        assert await handle.result() == sum(range(1, STEPS + 1))
        history = await handle.history()

    assert recorded(history) == list(range(1, STEPS + 1))
    processes = stage.executing_processes()
    assert {number for _, number in processes} == set(range(1, STEPS + 1))
    # A restart of the server loses nothing: its worker still has what was not recorded. That of a
    # worker loses what it was at work on.
    again = [number for (_, number), pids in processes.items() if len(pids) > 1]
    assert again in ([], [len(known) + 1])
    assert all(processes["stairs", number] == [first.pid] for number in known)


def recorded(history):
    """The steps that a history holds, in order."""
    return [
        event.step_completed.step_seq
        for event in history.events
        if event.HasField("step_completed")
    ]
