"""kill -9 of the server, again and again, under many workflows and a worker that lives on."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from tests.crash.histories import count, faults_of
from tests.crash.stage import PLAY_S
from tests.crash.worker import journey, word

SEED = 20_260_101
SIZES = {"sqlite": (20, 500), "postgres": (6, 150)}
"""Kills and workflows. What differs between the two is seen in the first kills."""
STEPS = 4

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(PLAY_S + 20)]


async def test_kills_lose_nothing_and_double_nothing(stage, backend):
    kills, workflows = SIZES[backend]
    luck = Random(SEED)
    await stage.start_worker()
    async with stage.client() as client:
        travels, strikes = [], 0
        for wave in range(kills):
            numbers = range(wave, workflows, kills)
            travels += [asyncio.create_task(travel(client, number)) for number in numbers]
            # Into the midst of it, after the worker has come back from the last kill.
            await stage.until_executing(stage.executions().total() + luck.randint(1, 60))
            await asyncio.sleep(luck.uniform(0, 0.1))
            strikes += not all(task.done() for task in travels)
            await kill_and_start_again(stage, luck)
        assert strikes > kills // 2  # a kill of a server that had nothing to do proves little
        results = await asyncio.gather(*travels)
        assert sorted(results) == [(number, 12 * number) for number in range(workflows)]

        # What was answered is on disk: the server that is asked now has seen nothing of it.
        await kill_and_start_again(stage, luck)
        histories = {n: await client.get_handle(f"journey-{n}").history() for n in range(workflows)}
    assert {n: faults for n, history in histories.items() if (faults := faults_of(history))} == {}
    for history in histories.values():
        assert count(history, "activity_completed") == STEPS
        assert count(history, "signal_received") == 1
        assert count(history, "workflow_completed") == 1

    # The worker lived on, and was told after each restart what the server still believed it to
    # hold: so each step ran once, not only counted once.
    assert set(stage.executions().values()) == {1}
    assert len(stage.executions()) == workflows * STEPS


async def travel(client, number):
    """Starts a workflow, signals it, and waits for it; the client outlasts the kills."""
    handle = await client.start(journey, number, id=f"journey-{number}")
    await handle.signal(word, number)
    return number, await handle.result()


async def kill_and_start_again(stage, luck):
    """Kills the server, now and then once more while it starts."""
    stage.server.kill()
    if luck.random() < 0.25:
        stage.server.launch()
        await asyncio.sleep(luck.uniform(0, 0.4))
        stage.server.kill()
    await stage.start_server()
