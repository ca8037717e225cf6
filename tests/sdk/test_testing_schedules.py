"""The environment for tests, with schedules and children: they too happen at their instants."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from perdure import workflow
from perdure.testing import Environment

DAY = timedelta(days=1)
NIGHTS = {
    "Europe/Berlin": (
        "30 2 * * *",
        ["2026-03-28 01:30", "2026-03-29 01:00", "2026-03-30 00:30"],
        ["2026-10-24 00:30", "2026-10-25 00:30", "2026-10-26 01:30"],
    ),
    "America/New_York": (
        "30 2 * * *",
        ["2026-03-07 07:30", "2026-03-08 07:00", "2026-03-09 06:30"],
        ["2026-10-31 06:30", "2026-11-01 07:30", "2026-11-02 07:30"],
    ),
}
"""Half past two around both days of 2026 on which the clocks change, in UTC."""


@workflow
async def now() -> str:
    return workflow.now().strftime("%Y-%m-%d %H:%M")


@workflow
async def after(days: int) -> str:
    await asyncio.sleep(days * DAY.total_seconds())
    return await now()


@workflow
async def family(days: list[int]) -> list[str]:
    return list(await asyncio.gather(*map(after, days)))


@pytest.mark.parametrize("change", [0, 1])
@pytest.mark.parametrize("zone", NIGHTS)
async def test_a_schedule_where_the_clocks_change(zone, change):
    expr, *changes = NIGHTS[zone]
    instants = changes[change]
    start = datetime.strptime(instants[0], "%Y-%m-%d %H:%M").replace(tzinfo=UTC) - DAY / 2
    async with Environment([now], start=start) as env:
        await env.client.create_schedule(
            "nightly", now, cron=expr, timezone=zone, overlap="allow_all"
        )
        await env.advance(3 * DAY)
        found = {run.workflow_id async for run in env.client.list()}
        results = [await env.client.get_handle(name).result() for name in sorted(found)]
    assert sorted(found) == [f"nightly-{each.replace(' ', 'T')}:00Z" for each in instants]
    assert results == instants


async def test_children_sleep_side_by_side():
    async with Environment([family, after, now]) as env:
        start = env.now()
        results = await env.client.execute(family, [1, 365, 30, 365])
    expected = [start + days * DAY for days in (1, 365, 30, 365)]
    assert results == [at.strftime("%Y-%m-%d %H:%M") for at in expected]


async def test_a_schedule_of_parents():
    async with Environment([family, after, now]) as env:
        await env.client.create_schedule(
            "yearly", family, [2, 1], every=timedelta(days=5), overlap="buffer_all"
        )
        start = env.now()
        await env.advance(timedelta(days=20))
        runs = [run async for run in env.client.list(filter="type = 'family'")]
        assert len(runs) == 4
        latest = max(runs, key=lambda run: run.workflow_id)
        ended = await env.client.get_handle(latest.workflow_id).result()
    # Starts are counted from the epoch, so the first comes within five days.
    first = datetime.strptime(ended[1], "%Y-%m-%d %H:%M").replace(tzinfo=UTC)
    assert start + timedelta(days=15) < first <= start + timedelta(days=21)
    assert datetime.strptime(ended[0], "%Y-%m-%d %H:%M").replace(tzinfo=UTC) == first + DAY
