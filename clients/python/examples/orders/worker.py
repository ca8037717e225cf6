"""Runs the workflow and its steps: `python worker.py [HOST:PORT]`.

Start as many as you like. One that is told to stop finishes the steps it has begun; one that is
killed leaves them to the others.
"""

from __future__ import annotations

import asyncio
import sys

from activities import charge, refund, release_stock, reserve_stock, ship
from shop import TASK_QUEUE
from workflows import fulfil

from perdure import Client, Worker


async def main(address: str = "localhost:7766") -> None:
    """Works until it is told to stop."""
    async with Client.connect(address) as client:
        worker = Worker(
            client,
            TASK_QUEUE,
            workflows=[fulfil],
            activities=[reserve_stock, charge, ship, refund, release_stock],
        )
        await worker.serve()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
