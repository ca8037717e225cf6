"""A workflow that goes on after a mistake: its failed activity again, or from any event on.

python clients/python/examples/features/again.py
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from perdure import Client, WorkerOptions, WorkflowFailedError, activity, workflow
from perdure.errors import ApplicationError

BANKS = {"open": False}


@activity
async def reserve(order: str) -> str:
    print(f"reserves {order}")
    return order


@activity
async def charge(order: str) -> str:
    if not BANKS["open"]:
        raise ApplicationError("closed", non_retryable=True)
    return f"charged {order}"


@workflow
async def checkout(order: str) -> str:
    return await charge(await reserve(order))


async def main() -> None:
    workers = [WorkerOptions("shop", [checkout], [reserve, charge])]
    with tempfile.TemporaryDirectory() as folder:
        async with Client.embedded(Path(folder) / "app.db", workers=workers) as client:
            await shop(client)


async def shop(client: Client) -> None:
    handle = await client.start(checkout, "o-1", id="checkout-1", task_queue="shop")
    try:
        await handle.result()
    except WorkflowFailedError as error:
        print(f"failed: {error.__cause__}")
    BANKS["open"] = True
    # A new run has what had happened before the failure; nothing is reserved twice.
    again = await client.get_handle("checkout-1").retry_failed_activity(
        "ann", "the bank has opened"
    )
    print(await again.result())
    # Behind its first event nothing has happened yet.
    afresh = await client.get_handle("checkout-1").reset(1, "the customer wants another one")
    print(await afresh.result())


if __name__ == "__main__":
    asyncio.run(main())
