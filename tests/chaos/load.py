"""Owns the callers: what they asked, what they were told, and how long they waited for it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import chain, count

from perdure import Client
from perdure.errors import PerdureError
from tests.chaos.attic import BRIEF, LASTING
from tests.chaos.clockwork import Clockwork
from tests.chaos.errands import Errands
from tests.chaos.flows import QUEUE, SIGNALS, trip, trip_id, word

LANES = 32
ERRAND_LANES = 3
"""In each namespace."""
PATIENCE = timedelta(minutes=2)
SETTLE_S = 60.0
"""How long what is under way may take after the load has ended."""
_REPEATED = 5
"""Every so many trips the caller says everything twice, the second time to another server."""


@dataclass(slots=True)
class Trip:
    """One workflow as its caller saw it; instants are seconds of the wall clock, 0.0 is never."""

    number: int
    called_s: float
    acknowledged_s: float = 0.0
    run_ids: set[str] = field(default_factory=set)
    told: int = 0
    ended_s: float = 0.0
    result: object = None
    error: str = ""

    @property
    def workflow_id(self) -> str:
        return trip_id(self.number)


class Load:
    """Callers that start trips one after another until they are told to stop."""

    def __init__(self, targets):
        self._clients = self._connect(targets, "main")
        self._others = {name: self._connect(targets, name) for name in (BRIEF, LASTING)}
        self._numbers = count(1)
        self._is_over = asyncio.Event()
        self.trips = []
        self.clockwork = Clockwork(self._clients[0])
        namespaces = {"main": self._clients, **self._others}
        self.errands = {name: Errands(clients, name) for name, clients in namespaces.items()}

    async def __aenter__(self):
        for client in self._every_client():
            await client.__aenter__()
        await self.clockwork.start()
        self._lanes = [asyncio.create_task(self._lane(lane)) for lane in range(LANES)]
        for errands in self.errands.values():
            for _ in range(ERRAND_LANES):
                self._lanes.append(asyncio.create_task(errands.lane(self._is_over)))
        return self

    async def __aexit__(self, *error):
        for lane in self._lanes:
            lane.cancel()
        await asyncio.gather(*self._lanes, return_exceptions=True)
        for client in self._every_client():
            await client.__aexit__(*error)

    async def settle(self):
        """Starts nothing more and waits for what is under way, within bounds."""
        self._is_over.set()
        await asyncio.wait(self._lanes, timeout=SETTLE_S)
        await self.clockwork.stop()

    async def histories(self):
        """Reads the histories of all that was acknowledged, some at a time, by workflow id."""
        found = {}
        waiting = [trip.workflow_id for trip in self.trips if trip.acknowledged_s]

        async def read(client):
            while waiting:
                workflow_id = waiting.pop()
                try:
                    found[workflow_id] = await client.get_handle(workflow_id).history()
                except PerdureError as error:
                    found[workflow_id] = error

        await asyncio.gather(*(read(client) for client in self._clients for _ in range(4)))
        return found

    def _connect(self, targets, namespace):
        """Clients of one namespace, each of which tries another server first."""
        options = {"patience": PATIENCE, "namespace": namespace}
        return [Client.connect(target, **options) for target in targets]

    def _every_client(self):
        return [*self._clients, *chain.from_iterable(self._others.values())]

    async def _lane(self, lane):
        while not self._is_over.is_set():
            one = Trip(next(self._numbers), time.time())
            self.trips.append(one)
            try:
                await self._travel(one, self._clients[lane % len(self._clients) :] + self._clients)
            except PerdureError as error:
                one.error = repr(error)
            else:
                one.ended_s = time.time()

    async def _travel(self, one, clients):
        """Starts a trip, signals it and waits for it; the clients outlast the faults."""
        echoes = 2 if one.number % _REPEATED == 0 else 1
        for client in clients[:echoes]:
            handle = await client.start(
                trip,
                one.number,
                id=one.workflow_id,
                task_queue=QUEUE,
                request_id=f"start-{one.number}",
            )
            one.acknowledged_s = one.acknowledged_s or time.time()
            one.run_ids.add(handle.run_id)
        for turn in range(SIGNALS):
            for client in clients[:echoes]:
                repeated = client.get_handle(one.workflow_id, run_id=handle.run_id)
                request_id = f"word-{one.number}-{turn}"
                await repeated.signal(word, one.number, request_id=request_id)
            one.told += 1
        one.result = await handle.result()
