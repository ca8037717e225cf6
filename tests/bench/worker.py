"""A worker process of the bench: `python -m tests.bench.worker HOST:PORT`."""

from __future__ import annotations

import asyncio
import sys

from perdure import Client, Worker
from tests.bench.flows import ACTIVITIES, QUEUE, WORKFLOWS


async def serve(address: str) -> None:
    """Works until the process is ended."""
    async with Client.connect(address) as client:
        worker = Worker(
            client, QUEUE, WORKFLOWS, ACTIVITIES, max_activities=1_000, max_workflow_tasks=1_000
        )
        await worker.run()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
