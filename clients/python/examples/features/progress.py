"""Activities that take long: each attempt goes on where the last one stopped, and can be cancelled.

python clients/python/examples/features/progress.py
"""

from __future__ import annotations

import asyncio
import tempfile
from datetime import timedelta
from pathlib import Path

from perdure import Client, RetryPolicy, WorkerOptions, WorkflowCancelledError, activity, workflow

AT_ONCE = RetryPolicy(initial_interval=timedelta(milliseconds=10))
WAITING = asyncio.Event()


@activity(retry=AT_ONCE, heartbeat=timedelta(seconds=30))
async def copy(pages: int) -> str:
    first = activity.heartbeat_details(int) or 0
    for page in range(first, pages):
        activity.heartbeat(page)
        if page == 3 and activity.info().attempt == 1:
            raise ConnectionError("the line broke")
    return f"pages {first} to {pages - 1} in attempt {activity.info().attempt}"


@activity(heartbeat=timedelta(seconds=30))
async def wait_for_parcel() -> None:
    WAITING.set()
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        print(f"stopped waiting: {activity.cancel_reason()}")


@workflow(task_queue="office")
async def office(pages: int) -> str:
    return await copy(pages)


@workflow(task_queue="office")
async def doorman() -> None:
    await wait_for_parcel()


async def work(client: Client) -> None:
    copied = await client.execute(office, 10)
    print(copied)
    handle = await client.start(doorman)
    await WAITING.wait()
    await handle.cancel("we close")
    try:
        await handle.result()
    except WorkflowCancelledError:
        print("cancelled")


async def main() -> None:
    workers = [WorkerOptions("office", [office, doorman], [copy, wait_for_parcel])]
    with tempfile.TemporaryDirectory() as folder:
        async with Client.embedded(Path(folder) / "app.db", workers=workers) as client:
            await work(client)


if __name__ == "__main__":
    asyncio.run(main())
