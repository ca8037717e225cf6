"""Workflows by the clock: one each night, three in a row, one by hand, and what was missed."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime, timedelta

from perdure import Client, WorkerOptions, activity, workflow

SPRING = datetime(2026, 3, 28, tzinfo=UTC)


@activity
async def count_orders(shop: str) -> int:
    return len(shop)


@workflow(task_queue="reports")
async def report(shop: str) -> str:
    return f"{shop}: {await count_orders(shop)} orders"


async def by_the_clock(path: str) -> None:
    reports = WorkerOptions("reports", workflows=[report], activities=[count_orders])
    async with Client.embedded(path, workers=[reports]) as client:
        nightly = await client.create_schedule(
            "nightly", report, "berlin", cron="30 2 * * *", timezone="Europe/Berlin"
        )
        # On March 29 there is no 2:30 in Berlin: the report comes at 3:00, which is 1:00 in UTC.
        for night in await nightly.preview(3, after=SPRING):
            print(f"{night:%B %d, %H:%M}")

        # Each second, three times, one after another.
        often = await client.create_schedule(
            "often",
            report,
            "hamburg",
            every=timedelta(seconds=1),
            overlap="buffer_all",
            remaining_runs=3,
        )
        while True:
            described = await often.describe()
            if not described.remaining_runs:
                break
            await asyncio.sleep(0.1)
        print(await client.get_handle(described.last_workflow_id).result())

        await nightly.pause("holidays")
        run = await nightly.trigger()
        print(await client.get_handle(run.workflow_id).result())

        # What some nights would have brought; asked for again, they bring nothing more.
        for _ in range(2):
            runs = await nightly.backfill(SPRING, SPRING + timedelta(days=7))
            print(len(runs), "nights", runs[0].outcome)


if __name__ == "__main__":
    asyncio.run(by_the_clock(sys.argv[1] if len(sys.argv) > 1 else "nightly.db"))
