"""Ways to wait: together, one after another, with a bound, until somebody cancels a block.

python clients/python/examples/features/waiting.py
"""

from __future__ import annotations

import asyncio

import perdure
from perdure import activity, workflow


@activity
async def fetch(page: int) -> str:
    await asyncio.sleep(0.01 * page)
    return f"page {page}"


@activity
async def never() -> None:
    await asyncio.get_running_loop().create_future()


@workflow
async def visits() -> list[str]:
    log = [*await asyncio.gather(fetch(1), fetch(2))]

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(fetch(page)) for page in (3, 4)]
    log += [task.result() for task in tasks]

    # The order in which they end comes from the history, so it is the same in every replay.
    log += sorted([await page for page in workflow.as_completed([fetch(5), fetch(6)])])

    two_at_a_time = asyncio.Semaphore(2)

    async def bounded(page: int) -> str:
        async with two_at_a_time:
            return await fetch(page)

    log += await asyncio.gather(*(bounded(page) for page in (7, 8, 9)))

    try:
        async with asyncio.timeout(0.05):
            await never()
    except TimeoutError:
        log.append("gave up after a durable timeout")

    async with workflow.scope() as scope:
        asyncio.get_running_loop().call_later(0.05, scope.cancel)
        await never()
    log.append(f"the block was cancelled: {scope.cancelled}")
    return log


if __name__ == "__main__":
    for line in perdure.run(visits, activities=[fetch, never]):
        print(line)
