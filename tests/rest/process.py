"""A server in a process of its own, and a real Envoy in front of it."""

from __future__ import annotations

import asyncio
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.processes import PATIENCE_SECONDS, PERDURE
from tests.support.envoy import running_envoy

LOG = "server.log"
"""The log of the server, in the folder that it was given."""


@contextmanager
def rest_server(folder: Path, *arguments: str) -> Iterator[str]:
    """Serves REST until the block ends; lends its address, HOST:PORT."""
    options = ["--data", str(folder / "data"), "--grpc", "127.0.0.1:0", *arguments]
    # Into a file: a pipe that nobody reads would be full one day, and the server would wait.
    with (folder / LOG).open("wb") as log:
        server = subprocess.Popen(
            [PERDURE, "server", *options], stdout=subprocess.PIPE, stderr=log, text=True
        )
    try:
        assert server.stdout is not None
        greeting = server.stdout.readline()
        with _envoy(greeting.split(" on ")[1].split(",")[0]) as address:
            yield address
    finally:
        server.kill()
        server.communicate(timeout=PATIENCE_SECONDS)


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
