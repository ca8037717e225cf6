"""Schedules on three servers that are killed by turns: each due time starts one workflow."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from random import Random

import pytest
import pytest_asyncio

from tests.crash.stage import PLAY_S, a_client, end
from tests.support.processes import SharedServer, any_of

SERVERS = 3
SCHEDULES = 8
KILLS = 6
CATCH_UP_S = 30

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(PLAY_S + 20)]


@pytest_asyncio.fixture(loop_scope="session")
async def trio(schemas, tmp_path):
    """Three servers; in the end they are killed."""
    schema = schemas.new()
    servers = [
        SharedServer(schemas.url, schema=schema, log=tmp_path / f"server-{number}.log")
        for number in range(SERVERS)
    ]
    try:
        await asyncio.gather(*(asyncio.to_thread(server.start) for server in servers))
        yield servers
    finally:
        end(servers)


async def test_each_due_time_starts_one_workflow_while_servers_are_killed(trio):
    luck = Random(1)
    async with a_client(any_of(trio)) as client:
        every, names = timedelta(seconds=1), [f"beside-{n}" for n in range(SCHEDULES)]
        for name in names:
            await client.create_schedule(name, "tick", every=every, overlap="allow_all")
        replacing = await client.create_schedule(
            "replacing", "tick", every=every, overlap="terminate_other"
        )
        created = {name: await first_of(client, name) for name in names}

        for _ in range(KILLS):
            server = trio[luck.randrange(SERVERS)]
            server.kill()
            await asyncio.sleep(luck.uniform(0.2, 1.5))
            await asyncio.to_thread(server.start)

        ends = {name: await end_of(client, name, every) for name in names}
        await client.get_schedule("replacing").pause()
        runs = [run async for run in client.list()]
        described = await replacing.describe()

    counts = Counter(run.workflow_id for run in runs)
    assert [each for each, count in counts.items() if count > 1] == []
    for name in names:
        due = [
            f"{name}-{(created[name] + number * every).strftime('%Y-%m-%dT%H:%M:%SZ')}"
            for number in range((ends[name] - created[name]) // every)
        ]
        assert len(due) > KILLS
        assert sorted(each for each in counts if each.startswith(name)) == due
    replaced = sorted(each for each in counts if each.startswith("replacing"))
    still_open = {run.workflow_id for run in runs if run.status in ("PENDING", "RUNNING")}
    assert len(replaced) > 1
    assert still_open & set(replaced) <= {replaced[-1]}
    assert described.last_workflow_id == replaced[-1]


async def first_of(client, name):
    """Returns the first due time of a schedule, rightly also after it has passed."""
    described = await client.get_schedule(name).describe()
    runs = described.run_count
    return described.next_run_at - runs * described.every


async def end_of(client, name, every):
    """Waits until nothing is overdue, pauses a schedule, and returns the due time that is next."""
    handle = client.get_schedule(name)
    async with asyncio.timeout(CATCH_UP_S):
        while True:
            described = await handle.describe()
            newest = max([run async for run in client.list()], key=lambda run: run.created_at)
            if described.next_run_at > newest.created_at:
                break
            await asyncio.sleep(0.1)
    # What comes between the look and the pause is counted by the pause.
    paused = await handle.pause()
    return described.next_run_at + (paused.run_count - described.run_count) * every
