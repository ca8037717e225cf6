"""Owns a simulated server process: the real engine on a model store that outlives it.

It is killed as `kill -9` would do it: what it had committed stays, nothing else does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random

from perdure_server.app import rpcs_of_engine
from perdure_server.core.errors import StoreUnavailable
from perdure_server.embedded import EmbeddedServer
from perdure_server.engine.engine import Engine
from tests.support.faulty_store import Faults, FaultyStore
from tests.support.ids import SequentialIds
from tests.support.model_store import Contents, ModelStore
from tests.support.sim_network import Network
from tests.support.virtual_loop import VirtualClock, Wall, pause

_STOP_PATIENCE_S = 5.0
"""After this a stop becomes a kill, as under systemd."""


class SimServer:
    """A server and what restarts it. `contents` is its disk, `faults` what its disk does.

    `on_end` sees the disk whenever a server has ended.
    """

    def __init__(
        self,
        network: Network,
        wall: Wall,
        random: Random,
        *,
        on_end: Callable[[Contents], None] = lambda _contents: None,
    ) -> None:
        self.contents = Contents()
        self.faults = Faults()
        self.engine: Engine | None = None
        self.starts = 0
        self._on_end = on_end
        self._network = network
        self._wall = wall
        self._random = random
        self._ids = SequentialIds()
        self._clock = VirtualClock(wall)
        self._store: FaultyStore | None = None
        self._down = asyncio.Event()
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

    async def _start(self) -> bool:
        self.starts += 1
        self._told.clear()
        self._clock = VirtualClock(self._wall)
        self._store = FaultyStore(
            ModelStore(self.contents), self._random, faults=self.faults, on_death=self.kill
        )
        await self._store.open()
        engine = Engine(self._store, self._clock, self._ids)
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
        self._network.server = EmbeddedServer(
            {f"{rpc.service.rpartition('.')[2]}/{rpc.name}": rpc for rpc in rpcs}
        )
        return True

    async def _end(self) -> None:
        assert self.engine is not None
        if self._wanted == "stop":
            self._network.server = None
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
        self._network.sever()
        await self.engine.drain()
        # Cancels what a killed process would not even finish; the dead store keeps it harmless.
        await self.engine._background.close()
        self.engine = None
        self._on_end(self.contents)
