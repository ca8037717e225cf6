"""A server in a process of its own, and a real Envoy in front of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.processes import ServerProcess
from tests.support.envoy import running_envoy


@contextmanager
def rest_server(folder: Path, *arguments: str) -> Iterator[str]:
    """Serves REST until the block ends; lends its address, HOST:PORT."""
    server = ServerProcess(
        "server", "--data", str(folder / "data"), "--grpc", "127.0.0.1:0", *arguments
    )
    try:
        with _envoy(server.address) as address:
            yield address
    finally:
        server.kill()


@contextmanager
def _envoy(server: str) -> Iterator[str]:
    # In a thread, because what is tested here with blocks this one.
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="envoy")
    thread.start()
    door = running_envoy(server)
    try:
        yield asyncio.run_coroutine_threadsafe(door.__aenter__(), loop).result().address
    finally:
        asyncio.run_coroutine_threadsafe(door.__aexit__(None, None, None), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
