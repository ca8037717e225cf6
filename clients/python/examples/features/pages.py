"""A workflow that might never end: it goes on with a new history, and can be held back.

python clients/python/examples/features/pages.py
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from perdure import Client, WorkerOptions, signal, workflow

additions = signal("additions", int)

PAGE = 2


@workflow
async def count(total: int) -> int:
    """Takes a page of additions, then goes on as a new run; 0 ends it."""
    for _ in range(PAGE):
        addition = await additions.wait()
        if addition == 0:
            return total
        total += addition
    return workflow.continue_as_new(total)


async def main() -> None:
    workers = [WorkerOptions("pages", [count], [])]
    with tempfile.TemporaryDirectory() as folder:
        async with Client.embedded(Path(folder) / "app.db", workers=workers) as client:
            await add_up(client)


async def add_up(client: Client) -> None:
    handle = await client.start(count, 0, id="counter", task_queue="pages")
    for number in (1, 2):
        await handle.signal(additions, number)
    await handle.pause("let me look", identity="ann")
    await handle.signal(additions, 3)
    print((await client.get_handle("counter").describe()).status)
    await handle.unpause()
    await handle.signal(additions, 0)
    print(await handle.result())


if __name__ == "__main__":
    asyncio.run(main())
