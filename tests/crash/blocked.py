"""A worker whose loop is blocked by an activity, beside others that wait."""

from __future__ import annotations

import asyncio

from tests.crash.stage import opened_stage
from tests.crash.worker import Block, block_beside_others, word

SECONDS = 30
OTHERS = 50


async def block_a_worker(folder):
    """Plays the scenario; returns the history and how often each activity was run."""
    async with opened_stage(folder) as stage:
        await stage.start_worker()
        async with stage.client() as client:
            handle = await client.start(block_beside_others, Block(SECONDS, OTHERS), id="blocked")
            await stage.until_executing(OTHERS)
            await handle.signal(word, 0)  # it blocks now
            await until_completed(handle)
            stage.open_gate("unblocked")
            assert await handle.result() == OTHERS
            return await handle.history(), stage.executions()


async def until_completed(handle):
    """Waits until the first activity, that which blocks, has a result."""
    while not any(e.HasField("activity_completed") for e in (await handle.history()).events):
        await asyncio.sleep(0.2)
