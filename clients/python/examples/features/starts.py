"""Ways to start: many at once, later, bounded in time, tried again as a whole, with notes.

python clients/python/examples/features/starts.py
"""

from __future__ import annotations

import asyncio
import tempfile
from datetime import timedelta
from pathlib import Path

from perdure import Client, RetryPolicy, Start, WorkerOptions, WorkflowTimedOutError, workflow
from perdure.errors import RpcError

SHORT = timedelta(milliseconds=50)


@workflow(task_queue="shop")
async def pack(order: str) -> str:
    return f"packed {order}"


@workflow(task_queue="shop")
async def deliver(order: str) -> str:
    attempt = workflow.info().attempt
    if attempt < 3:
        raise ValueError("nobody is at home")
    return f"delivered {order} at attempt {attempt}"


@workflow(task_queue="shop")
async def wait_for_ever() -> None:
    await workflow.sleep(timedelta(days=365))


async def begin(client: Client) -> None:
    # Many in one call; each stands or falls alone.
    orders = ["o-1", "o-2", "o-1"]
    for outcome in await client.start_batch([Start(pack, each, id=each) for each in orders]):
        if isinstance(outcome, RpcError):
            print(f"refused: {outcome.reason}")
        else:
            print(await outcome.result())

    # Later; the record tells what it is for.
    later = await client.start(
        pack, "o-3", start_delay=SHORT, summary="A parcel", details="Fragile.", memo={"by": "ann"}
    )
    print(await later.result(), "-", (await later.describe()).summary)

    # The whole workflow is tried again, each time as another run.
    retry = RetryPolicy(initial_interval=SHORT, max_attempts=3)
    delivered = await client.execute(deliver, "o-4", retry=retry)
    print(delivered)

    # A bound on the whole.
    try:
        await client.execute(wait_for_ever, execution_timeout=SHORT)
    except WorkflowTimedOutError:
        print("took too long")


async def main() -> None:
    workers = [WorkerOptions("shop", [pack, deliver, wait_for_ever])]
    with tempfile.TemporaryDirectory() as folder:
        async with Client.embedded(Path(folder) / "app.db", workers=workers) as client:
            await begin(client)


if __name__ == "__main__":
    asyncio.run(main())
