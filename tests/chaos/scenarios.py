"""The faults: each function strikes once, and notes when what it took away was back."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from random import Random

import asyncpg

from tests.chaos.skewed import SKEW
from tests.chaos.stage import SERVERS, Stage

SHORT_S = 3.0
"""Not long enough to be taken for dead."""
LONG_S = 16.0
"""Longer than the lease of a session, so all that the server had is another's when it wakes."""
SKEW_S = 30
_CONNECTIONS = 40


@dataclass(frozen=True)
class Scenario:
    """What strikes, how long it lets the others rest, in seconds, and on what stage it plays."""

    about: str
    strike: Callable[[Stage, Random], Awaitable[None]]
    rest_s: tuple[float, float]
    module: str = "perdure_server"
    is_proxied: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)


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
    "skew": Scenario(
        f"one clock is {SKEW_S} s wrong", set_a_clock_wrong, (3, 8), module="tests.chaos.skewed"
    ),
    "cut": Scenario(
        "the network drops what one server says", cut_a_server_off, (3, 6), is_proxied=True
    ),
}
