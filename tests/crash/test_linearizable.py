"""Three servers on one PostgreSQL are to their callers what one server is that does all in turn."""

from __future__ import annotations

import asyncio
import contextlib
from itertools import cycle
from random import Random

import pytest
import pytest_asyncio

from tests.crash.callers import Door, Play
from tests.support.linear import UNKNOWN, explain, judge
from tests.support.linear_workflow import WorkflowModel, WorkflowView
from tests.support.processes import SharedServer

SERVERS = 3
OPERATIONS = 10_000
OPERATIONS_UNDER_KILLS = 4_000
AT_ONCE = 10
CALLERS = 5
STEPS = 5
KILL_EVERY_S = 1.0
PLAY_S = 280

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(PLAY_S + 20)]


@pytest_asyncio.fixture(loop_scope="session")
async def servers(schemas, tmp_path):
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
        for server in servers:
            if server.is_running:
                server.kill()
            print(server.log.name, server.complaints(), sep="\n")


@pytest_asyncio.fixture(loop_scope="session")
async def doors(servers):
    """The servers, as callers reach them."""
    doors = [Door(server.address) for server in servers]
    yield doors
    for door in doors:
        await door.channel.close()


async def test_three_servers_are_like_one(doors):
    plays = await perform(doors, OPERATIONS, name="like-one")

    no_blame(plays)
    assert unknown(plays) < OPERATIONS / 100


async def test_they_are_like_one_while_one_after_another_dies(servers, doors):
    async with asyncio.timeout(PLAY_S), killing(servers, doors) as killed:
        plays = await perform(doors, OPERATIONS_UNDER_KILLS, name="dying")

    no_blame(plays)
    assert killed
    assert unknown(plays) < OPERATIONS_UNDER_KILLS / 10


async def perform(doors, operations, *, name):
    """Performs plays, some at a time, until there were so many operations; returns them."""
    plays = []

    async def perform_some():
        while sum(len(play.history) for play in plays) < operations:
            play = Play(f"{name}-{len(plays)}", doors, Random(f"{name}-{len(plays)}"))
            plays.append(play)
            await play.perform(callers=CALLERS, steps=STEPS)

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(perform_some())
    return plays


@contextlib.asynccontextmanager
async def killing(servers, doors):
    """Kills one server after another, each when the one before serves again; yields them."""
    killed = []

    async def kill_by_turns():
        for server, door in cycle(zip(servers, doors, strict=True)):
            await asyncio.sleep(KILL_EVERY_S)
            door.is_open = False
            await asyncio.to_thread(server.kill)
            killed.append(server)
            await asyncio.to_thread(server.start)
            await door.channel.channel_ready()
            door.is_open = True

    killer = asyncio.create_task(kill_by_turns())
    try:
        yield killed
    finally:
        killer.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await killer


def unknown(plays):
    """Counts the operations whose outcome is unknown."""
    return sum(each.answer is UNKNOWN for play in plays for each in play.history)


def no_blame(plays):
    """Fails with a history that no order of its operations explains, if there is one."""
    model = WorkflowModel()
    verdicts = [(judge(model, WorkflowView(), play.history), play) for play in plays]
    blamed = [(verdict, play) for verdict, play in verdicts if not verdict.is_linearizable]
    if blamed:
        verdict, play = blamed[0]
        told = explain(verdict, play.history)
        pytest.fail(f"{len(blamed)} of {len(plays)} plays, first {play.workflow_id}: {told}")
