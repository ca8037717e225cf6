"""The environment for tests, with schedules and children: they too happen at their instants."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import groupby

import pytest

from perdure import workflow
from perdure.testing import Environment

DAY = timedelta(days=1)
CHANGES = [
    (
        "Europe/Berlin",
        "30 2 * * *",  # on the 29th of March there is no half past two
        "2026-03-26 12:00",
        [
            "2026-03-27 01:30",
            "2026-03-28 01:30",
            "2026-03-29 01:00",
            "2026-03-30 00:30",
            "2026-03-31 00:30",
        ],
    ),
    (
        "Europe/Berlin",
        "30 2 * * *",  # on the 25th of October there are two of them
        "2026-10-22 12:00",
        [
            "2026-10-23 00:30",
            "2026-10-24 00:30",
            "2026-10-25 00:30",
            "2026-10-26 01:30",
            "2026-10-27 01:30",
        ],
    ),
    (
        "America/New_York",
        "30 2 * * *",  # on the 8th of March there is no half past two
        "2026-03-05 12:00",
        [
            "2026-03-06 07:30",
            "2026-03-07 07:30",
            "2026-03-08 07:00",
            "2026-03-09 06:30",
            "2026-03-10 06:30",
        ],
    ),
    (
        "America/New_York",
        "30 2 * * *",
        "2026-10-29 12:00",
        [
            "2026-10-30 06:30",
            "2026-10-31 06:30",
            "2026-11-01 07:30",
            "2026-11-02 07:30",
            "2026-11-03 07:30",
        ],
    ),
    (
        "America/New_York",
        "30 1 * * *",  # on the 1st of November there are two of them
        "2026-10-29 12:00",
        [
            "2026-10-30 05:30",
            "2026-10-31 05:30",
            "2026-11-01 05:30",
            "2026-11-02 06:30",
            "2026-11-03 06:30",
        ],
    ),
    (
        "Europe/Berlin",
        "0 * * * *",
        "2026-03-28 22:30",
        [
            "2026-03-28 23:00",
            "2026-03-29 00:00",
            "2026-03-29 01:00",
            "2026-03-29 02:00",
            "2026-03-29 03:00",
        ],
    ),
    (
        "Europe/Berlin",
        "0 * * * *",
        "2026-10-24 22:30",
        [
            "2026-10-24 23:00",
            "2026-10-25 00:00",
            "2026-10-25 01:00",
            "2026-10-25 02:00",
            "2026-10-25 03:00",
        ],
    ),
    (
        "America/New_York",
        "0 * * * *",
        "2026-03-08 04:30",
        [
            "2026-03-08 05:00",
            "2026-03-08 06:00",
            "2026-03-08 07:00",
            "2026-03-08 08:00",
            "2026-03-08 09:00",
        ],
    ),
    (
        "America/New_York",
        "0 * * * *",
        "2026-11-01 03:30",
        [
            "2026-11-01 04:00",
            "2026-11-01 05:00",
            "2026-11-01 06:00",
            "2026-11-01 07:00",
            "2026-11-01 08:00",
        ],
    ),
]
"""A zone, when to start by its clocks, a beginning, and the next five instants; both in UTC."""
YEAR = [
    ("Europe/Berlin", [("01:30", 87), ("01:00", 1), ("00:30", 210), ("01:30", 67)]),
    ("America/New_York", [("07:30", 66), ("07:00", 1), ("06:30", 237), ("07:30", 61)]),
]
"""When half past two is by UTC in the nights of 2026, and for how many nights on end."""


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


def instant(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%d %H:%M").replace(tzinfo=UTC)


async def starts(env: Environment, zone: str, cron: str, span: timedelta) -> list[str]:
    """The instants at which a schedule starts workflows during a span, as they saw them."""
    await env.client.create_schedule("nightly", now, cron=cron, timezone=zone, overlap="allow_all")
    await env.advance(span)
    runs = [run.workflow_id async for run in env.client.list()]
    found = [f"{name[8:18]} {name[19:24]}" for name in sorted(runs)]
    saw = [await env.client.get_handle(name).result() for name in sorted(runs)]
    assert (len(set(found)), saw) == (len(found), found)
    return found


@pytest.mark.parametrize(("zone", "cron", "begin", "instants"), CHANGES)
async def test_a_schedule_where_the_clocks_change(zone, cron, begin, instants):
    span = instant(instants[-1]) - instant(begin) + timedelta(minutes=15)
    async with Environment([now], start=instant(begin)) as env:
        assert await starts(env, zone, cron, span) == instants


@pytest.mark.parametrize(("zone", "nights"), YEAR)
async def test_a_year_has_a_start_on_each_of_its_days(zone, nights):
    async with Environment([now], start=instant("2025-12-31 12:00")) as env:
        found = await starts(env, zone, "30 2 * * *", 365 * DAY)
    first = instant("2026-01-01 00:00")
    assert [each[:10] for each in found] == [f"{first + n * DAY:%Y-%m-%d}" for n in range(365)]
    times = groupby(each[11:] for each in found)
    assert [(time, len(list(same))) for time, same in times] == nights


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
