"""Owns several servers on one machine: each a process, started, kept and stopped by one parent.

The parent serves nothing and knows nothing of the database. Its servers are those that `perdure
server` starts, told what to do by their environment, which no list of processes shows. On Linux
they die with the parent, however it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import uvloop

from perdure_server.app import lent_envoy
from perdure_server.config import Config
from perdure_server.sidecar import (
    RESTART_SECONDS_MAX,
    RESTART_SECONDS_MIN,
    STEADY_SECONDS,
    Sidecar,
    with_parent,
)

STOP_SECONDS: Final = 10.0
"""How long a server may take to end beyond the grace of its calls, before it is killed."""
_COMMAND: Final = (sys.executable, "-m", "perdure_server", "server")
_GREETING: Final = re.compile(rb"Perdure serves gRPC on (\S+),")

_log = logging.getLogger(__name__)


def run(config: Config, ready: Callable[[str, str | None], None]) -> bool:
    """Serves until SIGTERM or SIGINT; calls `ready` with the addresses of gRPC and that of HTTP.

    False when one of the servers did not start at first, which has said why on standard error.
    Raises SidecarError when Envoy cannot serve.
    """
    # The loop of asyncio has threads that wait for children, and would lose one that ends while it
    # is told to.
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve_until_told(config, ready))


class Server:
    """One server, started again whenever it dies, on the same port."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._process: Process | None = None

    @property
    def address(self) -> str:
        """Where it listens; the port is chosen when it has started."""
        return self._config.grpc

    async def start(self) -> bool:
        """Starts the process and waits until it serves; False when it ended instead."""
        self._process = await asyncio.create_subprocess_exec(
            *with_parent(_COMMAND),
            env=os.environ | self._config.as_environment(),
            stdin=DEVNULL,
            stdout=PIPE,
            start_new_session=True,  # Ctrl-C is for the parent, which tells its servers.
        )
        assert self._process.stdout is not None
        greeting = _GREETING.match(await self._process.stdout.readline())
        if greeting is not None:
            self._config = replace(self._config, grpc=greeting[1].decode())
        return greeting is not None

    async def keep_running(self) -> None:
        """Starts the process again whenever it ends; never returns."""
        wait_seconds = RESTART_SECONDS_MIN
        clock = asyncio.get_running_loop().time
        while True:
            started = clock()
            code = await self._process.wait() if self._process is not None else None
            if clock() - started > STEADY_SECONDS:
                wait_seconds = RESTART_SECONDS_MIN
            fields = {"address": self.address, "exit_code": code}
            _log.warning("a server ended and is started again", extra={"fields": fields})
            await asyncio.sleep(wait_seconds)
            wait_seconds = min(2 * wait_seconds, RESTART_SECONDS_MAX)
            try:
                await self.start()
            except OSError as error:
                _log.error("a server cannot be started again: %s", error)

    async def stop(self) -> None:
        """Ends the process, by force when it takes too long."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(self._config.grace_seconds + STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


async def _serve_until_told(config: Config, ready: Callable[[str, str | None], None]) -> bool:
    _cancel_when_told()
    with contextlib.suppress(asyncio.CancelledError):
        async with lent_envoy(config) as envoy:
            return await _serve(config, envoy, ready)
    return True


def _cancel_when_told() -> None:
    """Makes the first SIGTERM or SIGINT cancel the task that calls; a second changes nothing."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    told = (signal.SIGTERM, signal.SIGINT)

    def cancel() -> None:
        for number in told:
            loop.add_signal_handler(number, _already_told)
        task.cancel()

    for number in told:
        loop.add_signal_handler(number, cancel)


def _already_told() -> None:
    """Does nothing: the servers are being stopped."""


async def _serve(
    config: Config, envoy: Sidecar | None, ready: Callable[[str, str | None], None]
) -> bool:
    """Runs the servers until it is cancelled; False when they do not start."""
    alone = replace(config, http=None, processes=1)
    servers = [Server(replace(alone, grpc=address)) for address in config.addresses]
    try:
        if not await _start(servers):
            return False
        addresses = [server.address for server in servers]
        http = None
        if envoy is not None and config.http is not None:
            http = await envoy.serve(config.http, addresses)
        ready(", ".join(addresses), http)
        async with asyncio.TaskGroup() as group:
            for server in servers:
                group.create_task(server.keep_running())
    finally:
        await asyncio.gather(*(server.stop() for server in servers))
    return True


async def _start(servers: Sequence[Server]) -> bool:
    # What keeps one from starting keeps all: it is said once.
    first, *others = servers
    return await first.start() and all(await asyncio.gather(*(s.start() for s in others)))
