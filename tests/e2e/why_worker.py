"""A worker whose workflows get stuck in their ways: `why_worker.py ADDRESS QUEUE old|new`."""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta

from perdure import Client, RetryPolicy, Worker, activity, signal, workflow

approvals = signal("approval", str)
TEN_MINUTES = timedelta(minutes=10)
NEW = sys.argv[3] == "new"


@activity
async def charge():
    raise ValueError("the bank is closed")


@activity
async def hang():
    await asyncio.get_running_loop().create_future()


@workflow
async def waits():
    await approvals.wait()


@workflow
async def sleeps():
    await workflow.sleep(3600)


@workflow
async def retries():
    await charge.options(retry=RetryPolicy(initial_interval=TEN_MINUTES))()


@workflow
async def hangs():
    await hang()


@workflow
async def elsewhere():
    await hang.options(task_queue=f"{sys.argv[2]}-elsewhere")()


@workflow
async def refuses():
    try:
        await approvals.wait()
    except asyncio.CancelledError:
        await workflow.sleep(3600)


@workflow
async def changes():
    await (workflow.sleep(3600) if NEW else approvals.wait())


WORKFLOWS = [waits, sleeps, retries, hangs, elsewhere, refuses, changes]


async def main(address, queue):
    async with (
        Client.connect(address) as client,
        Worker(client, queue, workflows=WORKFLOWS, activities=[charge, hang]),
    ):
        print("ready", flush=True)
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3]))
