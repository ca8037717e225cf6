"""One simulated world: servers on a bad disk, workers and clients on a bad network, a bad clock.

All chance comes from one seed. For a while everything breaks; then nothing does any more, and all
that was promised must come true.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import random as global_random
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from random import Random
from typing import TypeVar
from unittest.mock import patch

from perdure.errors import (
    RpcError,
    StaleTaskError,
)
from perdure.v1.payload_pb2 import Payload
from perdure.v1.worker_service_pb2 import CompleteActivityRequest
from perdure.v1.workflow_service_pb2 import StartWorkflowRequest
from perdure_server.core import limits
from perdure_server.core.limits import SECOND_US
from tests.simulation import invariants
from tests.simulation.flows import ACTIVITIES, WORKFLOWS, SimLoop
from tests.simulation.operators import let_go
from tests.simulation.orders import Orders
from tests.simulation.plan import Plan
from tests.simulation.timetable import Owner, is_over
from tests.support.model_contents import Contents
from tests.support.sim_client import Promises, SimClient, SimWatcher, is_repeatable
from tests.support.sim_network import Network, NetworkFaults, SimTransport
from tests.support.sim_poller import SimPoller
from tests.support.sim_server import SimDatabase, SimServer
from tests.support.sim_worker import SimWorker
from tests.support.virtual_loop import Wall, pause

T = TypeVar("T")

HEALING_S = 3600.0
"""Virtual seconds in which all must have ended once nothing breaks any more."""
QUIET_S = 15.0
PROMPT_S = 0.9
"""Less than the time after which servers look for work that they were not told of."""


class World:
    """Everything that takes part, and what happens to it."""

    def __init__(self, seed: int, *, shared: bool, wide: bool) -> None:
        self.seed = seed
        self.shared = shared
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimLoop)
        self.loop = loop
        self.random = Random(f"{seed}/plan")
        self.plan = Plan.draw(self.random)
        self.promises = Promises()
        self.wall = Wall(loop)
        hosts = self.plan.share(Random(f"{seed}/shared")) if shared else 1
        self.network = Network(
            Random(f"{seed}/network"), accepted=self.promises.accepted.append, hosts=hosts
        )
        database = SimDatabase(self.wall) if shared else None
        self.servers = [
            SimServer(
                host,
                Wall(loop, self.plan.skews_us[number]) if shared else self.wall,
                Random(f"{seed}/server{number or ''}"),
                database=database,
                on_end=invariants.check_disk,
            )
            for number, host in enumerate(self.network.hosts)
        ]
        self.workers = [
            SimWorker(
                f"worker{number}",
                self.network,
                Random(f"{seed}/worker{number}"),
                workflows=WORKFLOWS,
                activities=ACTIVITIES,
            )
            for number in range(self.plan.workers)
        ]
        self.is_faulty = True
        self.jumped_s = 0.0
        self.poller = SimPoller(
            self.network,
            Random(f"{seed}/poller"),
            queue="polled",
            workflows=WORKFLOWS,
            is_reliable=lambda: not self.is_faulty,
        )
        self.clients = [
            SimClient(
                self.network,
                Random(f"{seed}/client{number}"),
                self.promises,
                by_session=self.random.random() < 0.5,
            )
            for number in range(self.plan.clients)
        ]
        self.orders = Orders(seed, self.plan, self.clients, self.contents, wide=wide)
        self.schedules = Random(f"{seed}/schedules").randrange(3) if wide else 0

    @property
    def contents(self) -> Contents:
        """What is on the servers' disk."""
        return self.servers[0].contents

    async def live(self) -> None:
        """Lives through the faults and what follows."""
        plan = self.plan
        self.network.faults = plan.network
        async with asyncio.TaskGroup() as background:
            tasks: list[asyncio.Task[None]] = []
            for server in self.servers:
                server.faults = replace(plan.disk)
                tasks.append(background.create_task(server.supervise(), name="server"))
            tasks.append(background.create_task(self._complete_elsewhere(), name="elsewhere"))
            watcher = SimWatcher(self.network, self.promises)
            tasks.append(background.create_task(watcher.run(), name="watcher"))
            tasks += [
                background.create_task(self.poller.run_workflows(), name="poller"),
                background.create_task(self.poller.run_activities(), name="poller"),
            ]
            for worker in self.workers:
                await worker.start()
            faults = [
                background.create_task(self._break(kind, mean_s), name=kind)
                for kind, mean_s in sorted(plan.every_s.items())
            ]
            orders = [
                background.create_task(self.orders.place(number), name=f"order {number}")
                for number in range(plan.workflows)
            ]
            orders += [
                background.create_task(self._own(number).work(number, plan.faulty_s))
                for number in range(self.schedules)
            ]
            await pause(plan.faulty_s)
            await self._heal(faults)
            tasks.append(background.create_task(let_go(self.clients[0], self.contents)))
            await self._wait_for_the_end(orders)
            # An alarm armed before a jump of the clock may ring as late as the jump was long.
            frozen_s = max(host.frozen_s for host in self.network.hosts)
            await pause(QUIET_S + self.jumped_s + frozen_s)
            for server in self.servers:
                invariants.check_engine(server.engine, self.contents)
                if not server.missed:
                    invariants.check_caches(server.engine, self.workers)
            if self.shared:
                await self._probe()
            await invariants.check_repetitions(self.promises, self.contents, self.network)
            for actor in (*self.workers, *self.clients):
                await (actor.crash() if isinstance(actor, SimWorker) else actor.close())
            await pause(1.0)
            for task in tasks:
                task.cancel()
        assert not self.network.leases.doubled, self.network.leases.doubled
        invariants.check_all(self.promises, self.contents)

    async def _heal(self, faults: list[asyncio.Task[None]]) -> None:
        for task in faults:
            task.cancel()
        await asyncio.wait(faults) if faults else None
        self.network.faults = NetworkFaults()
        self.is_faulty = False
        for server in self.servers:
            disk = server.faults
            disk.refuse = disk.lose = disk.delay = disk.die_before = disk.die_after = 0.0
        for worker in self.workers:
            if worker.drains:
                await worker.crash()
            if not worker.runs:
                await worker.start()

    async def _wait_for_the_end(self, orders: list[asyncio.Task[None]]) -> None:
        _, late = await asyncio.wait(orders, timeout=HEALING_S)
        if late:
            names = sorted(task.get_name() for task in late)
            raise AssertionError(f"stranded: {names}\n{invariants.describe(self.contents)}")
        end = self.loop.time() + HEALING_S
        while not is_over(self.contents) or any(
            not stored.run.status.is_closed for stored in self.contents.runs.values()
        ):
            assert self.loop.time() < end, f"stranded\n{invariants.describe(self.contents)}"
            await pause(1.0)

    async def _probe(self) -> None:
        """Servers hear at once of each other's work: none of it waits for somebody to look."""
        for number, client in enumerate(self.clients):
            began = self.loop.time()
            request = StartWorkflowRequest(
                workflow_id=f"probe-{number}",
                workflow_type="sequence",
                input=Payload(data=b"5"),
                request_id="probe",
            )
            run_id = await self.orders.start(client, request)
            assert run_id is not None
            await self.orders.await_result(client, request.workflow_id, run_id)
            assert self.loop.time() - began < PROMPT_S, "nobody heard of the work of another"

    def _own(self, number: int) -> Owner:
        return Owner(Random(f"{self.seed}/owner{number}"), self.clients, self.wall)

    async def _complete_elsewhere(self) -> None:
        """Completes detached activities by their tokens, from outside any worker."""
        transport, random = SimTransport(self.network), Random(f"{self.seed}/elsewhere")
        while True:
            await pause(random.uniform(0.1, 2))
            while self.loop.handed_over:
                request = CompleteActivityRequest(
                    task_token=self.loop.handed_over.pop(0), result=Payload(data=b"1")
                )
                try:
                    await transport.call("WorkerService/CompleteActivity", request)
                except StaleTaskError:
                    continue
                except RpcError as error:
                    if not is_repeatable(error):
                        raise
                    self.loop.handed_over.append(request.task_token)
                    break

    # What breaks.

    async def _break(self, kind: str, mean_s: float) -> None:
        random = Random(f"{self.seed}/{kind}")
        while True:
            await pause(random.expovariate(1 / mean_s))
            await getattr(self, f"_{kind}")(random)

    async def _cut(self, random: Random) -> None:
        wires = list(self.network.wires)
        if wires:
            random.choice(wires).cut()

    async def _half(self, random: Random) -> None:
        """One end learns of a broken stream long before the other."""
        wires = list(self.network.wires)
        if wires:
            wire = random.choice(wires)
            wire.quiet = True
            ends = [wire.tell_client, wire.tell_server]
            random.shuffle(ends)
            ends[0]()
            self.loop.call_later(random.uniform(0, 15), ends[1])

    async def _freeze(self, random: Random) -> None:
        wires = list(self.network.wires)
        if wires:
            random.choice(wires).freeze(random.choice([0.5, 3.0, 12.0]))

    async def _crash(self, random: Random) -> None:
        worker = random.choice(self.workers)
        await worker.crash()
        await pause(random.choice([0.1, 2.0, 12.0]))
        if not worker.runs:
            await worker.start(same_session=random.random() < 0.3)

    async def _drain(self, random: Random) -> None:
        """A worker is stopped as a deployment would do it, and another takes its place."""
        worker = random.choice(self.workers)
        await worker.drain(patience_s=random.uniform(0, 5))
        if not worker.runs:
            await worker.start()

    async def _kill(self, random: Random) -> None:
        _one_of(self.servers, random).kill()

    async def _stop(self, random: Random) -> None:
        _one_of(self.servers, random).stop()

    async def _sleep(self, random: Random) -> None:
        """A server does nothing for a while, as one whose machine was moved or has no memory."""
        _one_of(self.servers, random).freeze(random.choice([3.0, 7.0, 20.0]))

    async def _sever(self, random: Random) -> None:
        """A server loses its connection to the database and finds it again."""
        _one_of(self.servers, random).cut()

    async def _jump(self, random: Random) -> None:
        walls = list(dict.fromkeys([self.wall, *(server.wall for server in self.servers)]))
        span_s = random.choice([-60, -5, -0.5, 0.5, 5, 60])
        self.jumped_s += abs(span_s)
        _one_of(walls, random).offset_us += int(span_s * SECOND_US)

    async def _outage(self, random: Random) -> None:
        """The database is away for a while, for one server or for all."""
        affected = self.servers
        if len(affected) > 1 and random.random() < 0.5:
            affected = [random.choice(affected)]
        refuse = self.plan.disk.refuse
        for server in affected:
            server.faults.refuse = 1.0
        try:
            await pause(random.uniform(0.1, 5))
        finally:
            for server in affected:
                server.cut()
                server.faults.refuse = refuse


def _one_of(things: Sequence[T], random: Random) -> T:
    """Chooses; where there is only one, chance is left alone."""
    return random.choice(things) if len(things) > 1 else things[0]


class _Complaints(logging.Handler):
    """Collects what is logged as an error: in this house that is a defect."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(logging.Formatter().format(record))


def simulate(seed: int, *, shared: bool = False, wide: bool = False) -> World:
    """Lives through the world of a seed. Raises an AssertionError that says what went wrong.

    In a `shared` world one to three servers have one database. In a `wide` one there is everything
    that workflows, their callers and operators can do, and schedules.
    """
    loop = SimLoop()
    complaints = _Complaints()
    loggers = [logging.getLogger(name) for name in ("perdure", "perdure_server")]
    state, collects = global_random.getstate(), gc.isenabled()
    # The SDK spreads its reconnections by the process's generator; the collector would run code
    # of lost coroutines at its own times.
    global_random.seed(seed)
    gc.disable()
    for logger in loggers:
        logger.addHandler(complaints)
    try:
        world = loop.run_until_complete(_live(seed, shared=shared, wide=wide))
        assert not complaints.lines, "\n".join(complaints.lines)
        assert not loop.troubles, "\n".join(loop.troubles)
    finally:
        for logger in loggers:
            logger.removeHandler(complaints)
        _end(loop)
        global_random.setstate(state)
        if collects:
            gc.enable()
    return world


async def _live(seed: int, *, shared: bool, wide: bool) -> World:
    world = World(seed, shared=shared, wide=wide)
    with ExitStack() as stack:
        for name, low in world.plan.limits.items():
            stack.enter_context(patch.object(limits, name, low))
        await world.live()
    return world


def _end(loop: SimLoop) -> None:
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
