"""What operators do to one activity that fails: hold it back, change its options, count anew.

python clients/python/examples/features/operators.py
"""

from __future__ import annotations

import asyncio
import tempfile
from datetime import timedelta
from pathlib import Path

from perdure import Client, RetryPolicy, WorkerOptions, activity, workflow

BANK = {"open": False}
TRIED = asyncio.Event()


@activity(retry=RetryPolicy(initial_interval=timedelta(hours=1), max_attempts=2))
async def charge(order: str) -> str:
    TRIED.set()
    if not BANK["open"]:
        raise ConnectionError("the bank is closed")
    return f"charged {order}, attempt {activity.info().attempt}"


@workflow(task_queue="shop")
async def checkout(order: str) -> str:
    return await charge(order)


async def help_out(client: Client) -> None:
    handle = await client.start(checkout, "o-1")
    charging = handle.activity(1)
    await TRIED.wait()
    while True:
        state = await charging.pause("the bank does not answer", identity="ann")
        if state.HasField("last_failure"):
            break
        await asyncio.sleep(0.02)
    print(f"attempt {state.attempt} waits: {state.last_failure.message}")

    BANK["open"] = True
    await charging.update_options("be patient", retry=RetryPolicy(max_attempts=9))
    # Its attempts count from 1 again, and it need not wait for an hour.
    await charging.reset("the bank has opened")
    await charging.unpause()
    print(await handle.result())
    kinds = [event.WhichOneof("event") or "" for event in (await handle.history()).events]
    changes = ("activity_options_updated", "activity_reset", "activity_unpaused")
    print([kind for kind in kinds if kind in changes])


async def main() -> None:
    workers = [WorkerOptions("shop", [checkout], [charge])]
    with tempfile.TemporaryDirectory() as folder:
        async with Client.embedded(Path(folder) / "app.db", workers=workers) as client:
            await help_out(client)


if __name__ == "__main__":
    asyncio.run(main())
