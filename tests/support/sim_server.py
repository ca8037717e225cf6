"""Owns a simulated server process: the real engine on a model store that outlives it.

It is killed as `kill -9` would do it: what it had committed stays, nothing else does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from perdure_server.app import rpcs_of_engine
from perdure_server.core.errors import StoreUnavailable
from perdure_server.core.limits import SECOND_US
from perdure_server.embedded import EmbeddedServer
from perdure_server.engine.engine import Engine
from perdure_server.engine.ports import Alarm
from tests.support.faulty_shared import FaultySharedStore
from tests.support.faulty_store import Faults, FaultyStore
from tests.support.ids import SequentialIds
from tests.support.model_contents import Contents
from tests.support.model_shared import SharedContents, SharedModelStore
from tests.support.model_store import ModelStore
from tests.support.sim_network import Host
from tests.support.virtual_loop import Wall, left, pause

_STOP_PATIENCE_S = 5.0
"""After this a stop becomes a kill, as under systemd."""


@dataclass(slots=True)
class SimDatabase:
    """What several servers share: their store, its time, and the source of their ids."""

    wall: Wall
    shared: SharedContents = field(default_factory=SharedContents)
    ids: SequentialIds = field(default_factory=SequentialIds)


class ServerClock:
    """The clock of one server; it keeps the promises of `engine.ports.Clock`.

    Like `VirtualClock`, but a database may correct it, and it rings nothing while frozen.
    """

    def __init__(self, wall: Wall) -> None:
        self._wall = wall
        self._correction_us = 0
        self._thaws_at = 0.0
        self._stopped = False

    def now_us(self) -> int:
        """Returns wall time since the Unix epoch, as corrected."""
        return self._wall.now_us() + self._correction_us

    def monotonic_us(self) -> int:
        """Returns virtual time; it never steps."""
        return self._wall.loop.now_us

    def set_time(self, now_us: int) -> None:
        """Corrects wall time."""
        self._correction_us = now_us - self._wall.now_us()

    def call_at(self, when_us: int, callback: Callable[[], None]) -> Alarm:
        """Calls back on the loop at wall time `when_us`, or when the server is awake again."""
        alarm = SimAlarm(self, callback)
        alarm.set(max(0, when_us - self.now_us()) / SECOND_US)
        return alarm

    def freeze(self, seconds: float) -> None:
        """Rings nothing for a while."""
        self._thaws_at = self._wall.loop.time() + seconds

    @property
    def frozen_s(self) -> float:
        """For how long nothing rings."""
        return left(self._thaws_at)

    def stop(self) -> None:
        """Rings no more."""
        self._stopped = True

    @property
    def is_stopped(self) -> bool:
        """Whether nothing rings any more."""
        return self._stopped


class SimAlarm:
    """A call that a server's clock will make, later when the server is frozen."""

    def __init__(self, clock: ServerClock, callback: Callable[[], None]) -> None:
        self._clock = clock
        self._callback = callback
        self._handle: asyncio.TimerHandle | None = None

    def set(self, delay_s: float) -> None:
        """Rings after so long."""
        self._handle = asyncio.get_running_loop().call_later(delay_s, self._ring)

    def cancel(self) -> None:
        """Prevents the call."""
        if self._handle is not None:
            self._handle.cancel()

    def _ring(self) -> None:
        if self._clock.is_stopped:
            return
        if self._clock.frozen_s:
            self.set(self._clock.frozen_s)
        else:
            self._callback()


class SimServer:
    """A server and what restarts it. `contents` is its disk, `faults` what its disk does.

    Without a `database` its disk is its own. `on_end` sees the disk whenever a server has ended.
    """

    def __init__(
        self,
        host: Host,
        wall: Wall,
        random: Random,
        *,
        database: SimDatabase | None = None,
        on_end: Callable[[Contents], None] = lambda _contents: None,
    ) -> None:
        self.contents = Contents() if database is None else database.shared.contents
        self.faults = Faults()
        self.engine: Engine | None = None
        self.starts = 0
        self.wall = wall
        self._on_end = on_end
        self._host = host
        self._random = random
        self._database = database
        self._ids = SequentialIds() if database is None else database.ids
        self._clock = ServerClock(wall)
        self._store: FaultyStore | None = None
        self._wanted = "stand"
        self._told = asyncio.Event()

    async def supervise(self) -> None:
        """Starts the server, and starts it again whenever it ended; runs until cancelled."""
        while True:
            if await self._start():
                await self._told.wait()
                await self._end()
            await pause(self._random.random() * 2.0)

    def kill(self) -> None:
        """Ends the server at once."""
        self._wanted = "kill"
        if self._store is not None:
            self._store.kill()
        self._told.set()

    def stop(self) -> None:
        """Asks the server to stop."""
        self._wanted = "stop"
        self._told.set()

    def freeze(self, seconds: float) -> None:
        """Lets the server do nothing for a while, as when its process is stopped."""
        if isinstance(self._store, FaultySharedStore):
            self._store.freeze(seconds)
            self._clock.freeze(seconds)
            self._host.freeze(seconds)

    @property
    def missed(self) -> bool:
        """Whether it was not told of all that other servers did."""
        return isinstance(self._store, FaultySharedStore) and self._store.missed

    def cut(self) -> None:
        """Takes the connection to the database away for a moment."""
        if isinstance(self._store, FaultySharedStore):
            self._store.cut()

    async def _start(self) -> bool:
        self.starts += 1
        self._told.clear()
        self._clock = ServerClock(self.wall)
        self._store = self._open_store()
        await self._store.open()
        engine = Engine(self._store, self._clock, self._ids, set_time=self._clock.set_time)
        starting = asyncio.get_running_loop().create_task(engine.start())
        died = asyncio.get_running_loop().create_task(self._told.wait())
        await asyncio.wait([starting, died], return_when=asyncio.FIRST_COMPLETED)
        died.cancel()
        self.engine = engine
        if not starting.done() or starting.cancelled():
            starting.cancel()
            await self._bury()
            return False
        if starting.exception() is not None:
            assert isinstance(starting.exception(), StoreUnavailable), starting.exception()
            await self._bury()
            return False
        rpcs = rpcs_of_engine(engine)
        self._host.server = EmbeddedServer(
            {f"{rpc.service.rpartition('.')[2]}/{rpc.name}": rpc for rpc in rpcs}
        )
        return True

    def _open_store(self) -> FaultyStore:
        if self._database is None:
            inner = ModelStore(self.contents)
            return FaultyStore(inner, self._random, faults=self.faults, on_death=self.kill)
        view = SharedModelStore(self._database.shared, self._database.wall.now_us)
        return FaultySharedStore(view, self._random, faults=self.faults, on_death=self.kill)

    async def _end(self) -> None:
        assert self.engine is not None
        if self._wanted == "stop":
            await self._host.wake()
            self._host.server = None
            await self.engine.drain()
            stopping = asyncio.get_running_loop().create_task(self.engine.stop())
            await asyncio.wait([stopping], timeout=_STOP_PATIENCE_S)
            stopping.cancel()
        await self._bury()

    async def _bury(self) -> None:
        """Leaves nothing of the process but its disk."""
        assert self.engine is not None
        assert self._store is not None
        self._store.kill()
        self._clock.stop()
        self._host.sever()
        await self.engine.drain()
        # Cancels what a killed process would not even finish; the dead store keeps it harmless.
        await self.engine._background.close()
        self.engine = None
        self._on_end(self.contents)
