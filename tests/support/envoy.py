"""Owns a real Envoy in front of a gRPC server, for one test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from perdure_server.sidecar import Sidecar, find_envoy, sidecar


class Door:
    """Where a test comes in."""

    def __init__(self, address: str, process: Sidecar) -> None:
        self.address = address
        """HOST:PORT for REST, events, gRPC and gRPC-Web."""
        self._process = process

    @property
    def url(self) -> str:
        """What paths are appended to."""
        return f"http://{self.address}"

    @property
    def pid(self) -> int:
        """The process id of Envoy; it changes when Envoy has died and is started again."""
        return self._process.pid


@asynccontextmanager
async def running_envoy(*servers: str, http: str = "127.0.0.1:0") -> AsyncIterator[Door]:
    """Serves gRPC addresses (HOST:PORT, or paths of sockets) until the block ends."""
    async with sidecar(find_envoy()) as process:
        yield Door(await process.serve(http, servers), process)
