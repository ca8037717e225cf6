"""Updates and queries: callers change a running workflow, are answered, and look into it.

python clients/python/examples/features/updates.py
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from perdure import Client, UpdateRejectedError, WorkerOptions, query, signal, update, workflow


@workflow(task_queue="shop")
class Cart:
    def __init__(self) -> None:
        self.things: list[str] = []
        self.closed = False

    async def run(self) -> list[str]:
        await workflow.wait_condition(lambda: self.closed)
        return self.things

    @update
    def add(self, thing: str) -> int:
        self.things.append(thing)
        return len(self.things)

    @add.validator
    def check(self, thing: str) -> None:
        if not thing:
            raise ValueError("nothing has no place in a cart")

    @query
    def listed(self) -> list[str]:
        return self.things

    @signal
    def close(self) -> None:
        self.closed = True


async def shop(client: Client) -> None:
    # The first update starts the cart; both are one commit.
    size = await client.update_with_start(Cart.add, "a book").start(Cart, id="cart-ada")
    print(size)
    cart = client.get_handle("cart-ada", workflow=Cart)
    # Under one request id an update counts once and has one answer, however often it is asked.
    for _ in range(2):
        size = await cart.update(Cart.add, "a pen", request_id="click-7")
        print(size)
    try:
        await cart.update(Cart.add, "")
    except UpdateRejectedError as error:
        print(f"refused: {error}")
    listed = await cart.query(Cart.listed)
    print(listed)
    # An open cart takes the signal; without one, a cart would be started for it.
    await client.signal_with_start(Cart.close).start(Cart, id="cart-ada")
    print(await cart.result())
    # Queries need neither a worker nor an open run.
    listed = await cart.query(Cart.listed)
    print(listed)


async def main() -> None:
    workers = [WorkerOptions("shop", [Cart])]
    with tempfile.TemporaryDirectory() as folder:
        async with Client.embedded(Path(folder) / "app.db", workers=workers) as client:
            await shop(client)


if __name__ == "__main__":
    asyncio.run(main())
