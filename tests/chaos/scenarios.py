"""The faults: each function strikes once, and notes when what it took away was back."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from random import Random

import asyncpg

from tests.chaos.stage import SERVERS, SKEW, Stage

SHORT_S = 3.0
"""Not long enough to be taken for dead."""
LONG_S = 16.0
"""Longer than the lease of a session, so all that the server had is another's when it wakes."""
SKEW_S = 30
_CONNECTIONS = 40
_DISK_MB = 160
_TANGLES = 8
_LOCKED = 40
"""Of how many runs the rows are locked at a time: the youngest, which are at work."""
_TANGLED = 0.7
_LOCK = """
SELECT FROM perdure.{0} WHERE run_id IN (
    SELECT run_id FROM perdure.runs ORDER BY run_id DESC LIMIT $1
) ORDER BY random() FOR UPDATE
"""


@dataclass(frozen=True)
class Scenario:
    """What strikes, how long it lets the others rest, in seconds, and on what stage it plays.

    `seen` tells what shows that the faults were there.
    """

    about: str
    strike: Callable[[Stage, Random], Awaitable[None]]
    rest_s: tuple[float, float]
    is_proxied: bool = False
    is_skewed: bool = False
    disk_mb: int = 0
    settings: Mapping[str, str] = field(default_factory=dict)
    seen: Callable[[Stage], Awaitable[str]] | None = None


async def kill_a_server(stage, luck):
    node = stage.nodes[luck.randrange(SERVERS)]
    with stage.fault():
        node.kill()
    await asyncio.sleep(luck.uniform(0.2, 2))
    await asyncio.to_thread(node.start)


async def restart_the_database(stage, luck):
    with stage.fault(of_all=True):
        await asyncio.to_thread(stage.cluster.stop, "immediate")
        await asyncio.sleep(luck.choice((0.0, 0.0, 3.0)))
        await asyncio.to_thread(stage.cluster.start)


async def end_connections(stage, luck):
    """Ends some of the servers' connections, or all."""
    share = luck.choice((0.1, 0.5, 1.0))
    with stage.fault(of_all=True):
        await stage.ask(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE usename = 'perdure' AND random() < $1",
            share,
        )


async def take_all_connections(stage, luck):
    """Leaves the servers no connection for a while."""
    with stage.fault(of_all=True):
        taken = []
        with contextlib.suppress(asyncpg.TooManyConnectionsError):
            while True:
                taken.append(await asyncpg.connect(stage.cluster.url))
        pids = [connection.get_server_pid() for connection in taken]
        await stage.ask(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE usename = 'perdure' AND pid <> ALL($1)",
            pids,
        )
        with contextlib.suppress(asyncpg.TooManyConnectionsError):
            while True:
                taken.append(await asyncpg.connect(stage.cluster.url))
        await asyncio.sleep(luck.uniform(1, 4))
        for connection in taken:
            await connection.close()


async def freeze_a_server(stage, luck):
    node = stage.nodes[luck.randrange(SERVERS)]
    with stage.fault():
        node.send(signal.SIGSTOP)
        await asyncio.sleep(LONG_S)
        node.send(signal.SIGCONT)


async def set_a_clock_wrong(stage, luck):
    """Kills the first server and starts it with another clock."""
    node = stage.nodes[0]
    with stage.fault():
        node.set_environment(SKEW, str(luck.choice((-SKEW_S, SKEW_S))))
        node.kill()
        await asyncio.to_thread(node.start)


async def cut_a_server_off(stage, luck):
    """Cuts the first server off from the database, for less or more than its lease."""
    with stage.fault():
        stage.proxy.freeze()
        await asyncio.sleep(luck.choice((SHORT_S, LONG_S, LONG_S)))
        stage.proxy.thaw()


async def fill_the_disk(stage, luck):
    """Leaves the database no room for a while; it may end, and then it is started again."""
    with stage.fault(of_all=True):
        stage.disk.fill()
        await asyncio.sleep(luck.uniform(2, 8))
        stage.disk.free()
        await stage.revive()


async def refusals_for_room(stage):
    return f"refused for lack of room: {stage.cluster.said().count('No space left on device')}"


async def tangle_locks(stage, luck):
    """Takes what the servers take in another order, so that each waits for the other."""
    with stage.fault(of_all=True):
        for _ in range(_TANGLES):
            await tangle(stage, luck.choice((("tasks", "runs"), ("runs", "tasks"))), luck)


async def tangle(stage, tables, luck):
    connection = await asyncpg.connect(stage.cluster.url)
    try:
        async with connection.transaction():
            for table in tables:
                await connection.execute(_LOCK.format(table), luck.randint(1, _LOCKED))
                await asyncio.sleep(luck.uniform(0, 0.2))
    except asyncpg.DeadlockDetectedError:
        pass
    finally:
        await connection.close()


async def lock_a_table(stage, luck):
    """Lets nobody at a table for a while, or tangles locks."""
    if luck.random() < _TANGLED:
        await tangle_locks(stage, luck)
        return
    with stage.fault(of_all=True):
        connection = await asyncpg.connect(stage.cluster.url)
        table = luck.choice(("events", "runs", "tasks", "timers", "activities"))
        async with connection.transaction():
            await connection.execute(f"LOCK TABLE perdure.{table}")
            await asyncio.sleep(luck.uniform(1, 4))
        await connection.close()


async def deadlocks(stage):
    ((count,),) = await stage.ask("SELECT sum(deadlocks) FROM pg_stat_database")
    return f"deadlocks: {count}"


SCENARIOS = {
    "kill": Scenario("kill -9 of one of three servers", kill_a_server, (1, 3)),
    "restart": Scenario("PostgreSQL stops as in a crash", restart_the_database, (5, 20)),
    "terminate": Scenario("PostgreSQL ends connections", end_connections, (0.5, 3)),
    "exhaust": Scenario(
        "no connection to be had",
        take_all_connections,
        (3, 6),
        settings={"max_connections": str(_CONNECTIONS)},
    ),
    "freeze": Scenario("a server stops for longer than its lease", freeze_a_server, (3, 6)),
    "skew": Scenario(f"one clock is {SKEW_S} s wrong", set_a_clock_wrong, (3, 8), is_skewed=True),
    "cut": Scenario(
        "the network drops what one server says", cut_a_server_off, (3, 6), is_proxied=True
    ),
    "disk": Scenario(
        "the disk of PostgreSQL is full",
        fill_the_disk,
        (3, 8),
        disk_mb=_DISK_MB,
        settings={"max_wal_size": "64MB", "min_wal_size": "32MB"},
        seen=refusals_for_room,
    ),
    "locks": Scenario(
        "others lock rows crosswise, and tables",
        lock_a_table,
        (0.5, 3),
        settings={"deadlock_timeout": "200ms"},
        seen=deadlocks,
    ),
}
