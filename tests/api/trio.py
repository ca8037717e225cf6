"""The whole server three times, beside each other: on the model, on SQLite and on PostgreSQL.

All are asked the same, at the same time by clocks of their own, and draw the same ids.
"""

from __future__ import annotations

import asyncio
import inspect
from contextlib import AsyncExitStack
from itertools import count

from google.protobuf.duration_pb2 import Duration

from perdure_server.core.errors import DomainError
from perdure_server.embedded import open_on_store
from tests.support.clock import ManualClock
from tests.support.ids import SequentialIds

TURNS = 25
"""Loop turns after which nothing moves any more without the store or time."""
IDS_OF_A_STEP = 10_000
PATIENCE = Duration(seconds=30)
"""How long a task is waited for that the model has handed out."""


class Counted:
    """A store of one server that knows how many of its calls are under way."""

    def __init__(self, store):
        self._store = store
        self._under_way = 0
        self._at_rest = asyncio.Event()
        self._at_rest.set()

    def __getattr__(self, name):
        if name == "join":
            # It is shared with nobody, so no other server's time comes into it.
            raise AttributeError(name)
        method = getattr(self._store, name)
        if not inspect.iscoroutinefunction(method):
            return method

        async def call(*values, **options):
            self._under_way += 1
            self._at_rest.clear()
            try:
                return await method(*values, **options)
            finally:
                self._under_way -= 1
                if not self._under_way:
                    self._at_rest.set()

        return call

    async def rest(self):
        """Returns when nothing has been asked for a while."""
        turns = 0
        while turns < TURNS:
            await asyncio.sleep(0)
            turns += 1
            if self._under_way:
                await self._at_rest.wait()
                turns = 0


class SteppedIds(SequentialIds):
    """Ids that are the same in all three, however many of them a step before has thrown away.

    That depends on what was decided together, which is a matter of time.
    """

    def step(self, number):
        self._numbers = count(number * IDS_OF_A_STEP + 1)


class Server:
    """One of the three. `disk` makes a store on the same contents each time."""

    def __init__(self, name, disk):
        self.name = name
        self.clock = ManualClock()
        self._disk = disk
        self.ids = SteppedIds()
        self._stack = AsyncExitStack()

    async def open(self):
        self.store = Counted(self._disk())
        opening = open_on_store(self.store, self.clock, self.ids)
        self._door = await self._stack.enter_async_context(opening)
        await self.store.rest()

    async def close(self):
        await self._stack.aclose()

    async def call(self, method, request):
        """Returns the answer, or the kind and the words of the refusal."""
        try:
            answer = await self._door.call(method, request)
        except DomainError as error:
            if error.reason == "INTERNAL":
                raise
            answer = (type(error).__name__, error.reason, str(error))
        await self.store.rest()
        return answer

    async def advance(self, span_us):
        """Moves time from one thing that happens to the next."""
        end_us = self.clock.now_us() + span_us
        while (next_us := self.clock.next_us()) is not None and next_us <= end_us:
            self.clock.advance(max(0, next_us - self.clock.now_us()))
            await self.store.rest()
        self.clock.advance(end_us - self.clock.now_us())
        await self.store.rest()


class Trio:
    """Asks all of them, and tells what all of them say."""

    def __init__(self, disks):
        self.servers = [Server(name, disk) for name, disk in disks.items()]
        self.model = self.servers[0]
        self._steps = count(1)

    @property
    def now_us(self):
        return self.model.clock.now_us()

    async def open(self):
        for server in self.servers:
            await server.open()

    async def close(self):
        for server in self.servers:
            await server.close()

    def step(self):
        """Lets all draw the same ids from now on."""
        number = next(self._steps)
        for server in self.servers:
            server.ids.step(number)

    async def restart(self):
        """Ends all servers; others find what they have left."""
        self.step()
        await self.close()
        await self.open()

    async def call(self, method, request):
        """The model is asked first; the others then say the same."""
        self.step()
        answer = await self.model.call(method, request)
        if isinstance(answer, tuple):
            return self._same(answer, await self._others(lambda one: one.call(method, request)))
        if method.startswith("WorkerService/Poll") and answer.HasField("task"):
            # The disks of the others take their time.
            request.wait.CopyFrom(PATIENCE)
        return self._same(answer, await self._others(lambda one: one.call(method, request)))

    async def read(self, question):
        """Asks the stores themselves."""
        answer = await question(self.model.store)
        return self._same(answer, await self._others(lambda one: question(one.store)))

    async def advance(self, span_us):
        self.step()
        await asyncio.gather(*(server.advance(span_us) for server in self.servers))

    async def _others(self, question):
        others = self.servers[1:]
        answers = await asyncio.gather(*(question(server) for server in others))
        return {server.name: answer for server, answer in zip(others, answers, strict=True)}

    def _same(self, answer, others):
        for name, told in others.items():
            assert told == answer, f"{name} differs from the model"
        return answer
