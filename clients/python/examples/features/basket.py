"""A workflow as a class: methods take what callers send, `run` waits for what they change.

python clients/python/examples/features/basket.py
"""

from __future__ import annotations

import asyncio
import tempfile
from datetime import timedelta
from pathlib import Path

from perdure import Client, WorkerOptions, activity, query, signal, workflow


@activity
async def charge(things: list[str]) -> int:
    return 100 * len(things)


@workflow
class Basket:
    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.things: list[str] = []
        self.paid: int | None = None

    async def run(self, owner: str) -> str:
        await workflow.wait_condition(lambda: self.paid is not None, timeout=timedelta(days=1))
        return f"{owner} paid {self.paid} for {', '.join(self.things)}"

    @signal
    def put(self, thing: str) -> None:
        self.things.append(thing)

    @signal
    async def pay(self) -> None:
        self.paid = await charge(self.things)

    @query
    def holds(self, thing: str) -> bool:
        return thing in self.things


async def main() -> None:
    workers = [WorkerOptions("shop", [Basket], [charge])]
    with tempfile.TemporaryDirectory() as folder:
        async with Client.embedded(Path(folder) / "app.db", workers=workers) as client:
            await shop(client)


async def shop(client: Client) -> None:
    handle = await client.start(Basket, "Ada", id="basket-ada", task_queue="shop")
    await handle.signal(Basket.put, "a book")
    await handle.signal(Basket.put, "a pen")
    print("with a pen:", await handle.query(Basket.holds, "a pen"))
    await handle.signal(Basket.pay)
    print(await handle.result())


if __name__ == "__main__":
    asyncio.run(main())
