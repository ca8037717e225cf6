"""Owns the composition of a server: what is built from what, how it starts and how it stops.

Also the only place that reads the clock and draws random numbers; everything below is handed both.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import math
import random
import re
import secrets
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from importlib.metadata import version
from importlib.resources import files
from typing import Any, Final

import grpc
import uvloop
from google.protobuf import descriptor_pool
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from perdure_server.api.admin_service import About, AdminService
from perdure_server.api.authentication import Authentication
from perdure_server.api.interceptors import Interceptors, unguarded
from perdure_server.api.namespace_service import NamespaceService
from perdure_server.api.reflection import reflection_rpc
from perdure_server.api.rpcs import Rpc, rpcs_by_service, rpcs_of
from perdure_server.api.schedule_service import ScheduleService
from perdure_server.api.watch_service import WatchService
from perdure_server.api.worker_service import WorkerService
from perdure_server.api.workflow_service import WorkflowService
from perdure_server.config import AUTH_KEYS, AUTH_NONE, Config, ConfigError, split_address
from perdure_server.core import limits
from perdure_server.core.errors import ShuttingDown
from perdure_server.engine.engine import Engine
from perdure_server.engine.ports import Alarm, Clock, Ids
from perdure_server.rest.interceptor import RestDoor
from perdure_server.rest.options import Route, routes_of
from perdure_server.sidecar import Sidecar, find_envoy, sidecar
from perdure_server.store.contract import Store
from perdure_server.store.postgres.store import PostgresStore
from perdure_server.store.sqlite.store import SqliteStore

CHANNEL_OPTIONS: Final = (
    # A second server on one port must fail, not take every other connection.
    ("grpc.so_reuseport", 0),
    # The largest report of a workflow task, and room for what surrounds its commands.
    ("grpc.max_receive_message_length", limits.COMMAND_BATCH_BYTES_MAX + 1024 * 1024),
    ("grpc.max_send_message_length", -1),
    # A URL of REST travels as metadata, all of it; beyond the first bound gRPC refuses by chance.
    ("grpc.max_metadata_size", 64 * 1024),
    ("grpc.absolute_max_metadata_size", 128 * 1024),
    # Proxies and clients may ping an idle stream; gRPC's default of 5 minutes cuts them off.
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.max_ping_strikes", 0),
    # Frees the streams of clients that vanished without a word.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
)
GC_THRESHOLDS: Final = (50_000, 25, 25)
"""Messages hold no cycles, so the collector is asked rarely."""
_RUN_ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")


class StartError(Exception):
    """The server cannot start; the text says why."""


def run(config: Config, ready: Callable[[str, str | None], None]) -> None:
    """Serves until SIGTERM or SIGINT; calls `ready` with the chosen addresses of gRPC and HTTP.

    When it cannot start: StartError, SidecarError, ConfigError, StoreInUse, SchemaTooNew,
    StoreUnavailable.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve_until_told(config, ready))


@contextlib.asynccontextmanager
async def running_engine(
    store: Store, clock: Clock, ids: Ids, *, workers_return: bool = True
) -> AsyncIterator[Engine]:
    """Opens the store and runs an engine on it; ends both in reverse order.

    A `DatabaseClock` is set by the database of a store that several servers share.
    """
    await store.open()
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(store.close)
        set_time = clock.set_time if isinstance(clock, DatabaseClock) else _no_time
        engine = Engine(store, clock, ids, workers_return=workers_return, set_time=set_time)
        stack.push_async_callback(engine.stop)
        await engine.start()
        yield engine


def rpcs_of_engine(engine: Engine) -> list[Rpc]:
    """Returns every RPC, served by the engine."""
    return rpcs_of(
        [
            WorkflowService(engine),
            WorkerService(engine),
            WatchService(engine),
            NamespaceService(engine),
            ScheduleService(engine),
            AdminService(engine, _about()),
        ]
    )


@contextlib.asynccontextmanager
async def listening(
    engine: Engine, address: str, grace_seconds: float, *, auth: str = AUTH_NONE
) -> AsyncIterator[str]:
    """Serves an engine over gRPC and answers the address, its port chosen.

    While the engine cannot reach its database, health says NOT_SERVING and streams are told to go
    to another server. In the end health says so too, streams are told to leave, and calls get
    `grace_seconds` to finish. Raises StartError when the address cannot be listened on.
    """
    rpcs = rpcs_of_engine(engine)
    interceptors = Interceptors(monotonic_us=SystemClock().monotonic_us, error_id=new_error_id)
    guard = unguarded
    if auth == AUTH_KEYS:
        guard = Authentication(engine.keys, interceptors.end_stream).guard
    services = list(rpcs_by_service(rpcs))
    reflection = reflection_rpc((*services, health.SERVICE_NAME))
    server = grpc.aio.server(options=CHANNEL_OPTIONS)
    handlers = interceptors.handlers([*rpcs, reflection], guard)
    door = RestDoor(handlers, _routes(rpcs), error_id=new_error_id)
    server.add_generic_rpc_handlers((door,))
    health_servicer = await _add_health(server, services)
    chosen = _bind(server, address)
    await server.start()
    following = asyncio.create_task(
        _follow_standing(engine, interceptors, partial(_say_health, health_servicer, services)),
        name="follow how the engine stands",
    )
    try:
        yield chosen
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await health_servicer.enter_graceful_shutdown()
        await engine.drain()
        interceptors.end_streams()
        await server.stop(grace_seconds)


class SystemClock:
    """The clock of this machine."""

    def now_us(self) -> int:
        """Returns wall time since the Unix epoch."""
        return time.time_ns() // 1000

    def monotonic_us(self) -> int:
        """Returns time that never steps."""
        return time.monotonic_ns() // 1000

    def call_at(self, when_us: int, callback: Callable[[], None]) -> Alarm:
        """Calls back on the event loop at wall time `when_us`."""
        # The loop rounds to milliseconds; rounding up keeps it from waking early and spinning.
        delay_ms = math.ceil((when_us - self.now_us()) / 1000)
        return asyncio.get_running_loop().call_later(max(0, delay_ms) / 1000, callback)


class DatabaseClock(SystemClock):
    """The clock of a database, carried on between its answers by this machine's steady time.

    So the servers of one database agree on what is due, whatever their own clocks say.
    """

    def __init__(self) -> None:
        self._ahead_us = time.time_ns() // 1000 - self.monotonic_us()

    def set_time(self, now_us: int) -> None:
        """Sets the time to what the database has just said."""
        self._ahead_us = now_us - self.monotonic_us()

    def now_us(self) -> int:
        """Returns wall time since the Unix epoch, as the database has it."""
        return self.monotonic_us() + self._ahead_us


class SystemIds:
    """Identities that are unique without asking anyone.

    They are drawn from a generator seeded by the system: several are made for each workflow, and
    none is a secret. What is one comes from the system itself.
    """

    def __init__(self) -> None:
        self._tick = 0
        self._random = random.Random(secrets.randbits(256))  # noqa: S311 - ids are no secrets

    def run_id(self, above: str = "") -> str:
        """Returns a UUID of version 7: milliseconds, a counter within them, 62 random bits.

        It is greater than one that a server made whose clock is ahead.
        """
        tick = max(time.time_ns() // 1_000_000 << 12, self._tick + 1)
        if above:
            tick = max(tick, _tick_of(above) + 1)
        self._tick = tick
        time_text = f"{tick >> 12:012x}"
        low = f"{2 << 62 | self._random.getrandbits(62):016x}"
        return f"{time_text[:8]}-{time_text[8:]}-7{tick & 0xFFF:03x}-{low[:4]}-{low[4:]}"

    def workflow_id(self) -> str:
        """Returns a new workflow id."""
        return self.run_id()

    def worker_id(self) -> str:
        """Returns a new worker id."""
        return f"worker-{self.run_id()}"

    def seed(self) -> int:
        """Returns 64 random bits."""
        return self._random.getrandbits(64)

    def api_key_secret(self) -> bytes:
        """Returns 32 random bytes that nobody can guess."""
        return secrets.token_bytes(32)


def _tick_of(run_id: str) -> int:
    """Returns milliseconds and counter of a run id; 0 of what is none."""
    if not _RUN_ID.fullmatch(run_id):
        return 0
    high = int(run_id[:18].replace("-", ""), 16)
    return high >> 16 << 12 | high & 0xFFF


def new_error_id() -> str:
    """Returns an id that connects what a caller was told with a line of the log."""
    return secrets.token_hex(6)


def _no_time(_now_us: int) -> None:
    """Needs no time from the database: the clock is the machine's."""


def _about() -> About:
    document = files("perdure_server.rest").joinpath("openapi.json")
    return About(
        version=version("perdure"), openapi=document.read_bytes() if document.is_file() else b"{}"
    )


async def _serve_until_told(config: Config, ready: Callable[[str, str | None], None]) -> None:
    told_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told_to_stop.set)
    clock = DatabaseClock() if config.store is not None else SystemClock()
    async with (
        lent_envoy(config) as envoy,
        running_engine(make_store(config), clock, SystemIds()) as engine,
        listening(engine, config.grpc, config.grace_seconds, auth=config.auth) as address,
    ):
        http = None
        if envoy is not None and config.http is not None:
            http = await envoy.serve(config.http, [address])
        _settle_memory()
        ready(address, http)
        await _until_told(told_to_stop, engine)


async def _until_told(told_to_stop: asyncio.Event, engine: Engine) -> None:
    """Returns when the server is told to stop; raises why it may not go on, if that comes first."""
    waits = [
        asyncio.create_task(told_to_stop.wait()),
        asyncio.create_task(engine.standing.until_over()),
    ]
    try:
        done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in done:
            wait.result()
    finally:
        for wait in waits:
            wait.cancel()


async def _follow_standing(
    engine: Engine, interceptors: Interceptors, say_health: Callable[[int], Awaitable[None]]
) -> None:
    """Sends callers and workers away for as long as the database does not answer this server."""
    away = ShuttingDown("this server is cut off from its database; connect again, to another one")
    while True:
        await engine.standing.until_lost()
        await say_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        if engine.standing.has_others:
            interceptors.turn_away(away)
            engine.turn_away(away)
        await engine.standing.until_reached()
        interceptors.welcome()
        await say_health(health_pb2.HealthCheckResponse.SERVING)


@contextlib.asynccontextmanager
async def lent_envoy(config: Config) -> AsyncIterator[Sidecar | None]:
    """Lends the Envoy that `config` asks for; it ends last, and so passes on the last answers."""
    if config.http is None:
        yield None
        return
    access_log = config.log_level in ("debug", "info")
    async with sidecar(find_envoy(config.envoy), access_log=access_log) as envoy:
        yield envoy


def make_store(config: Config) -> Store:
    """Returns the store that a configuration names, not open yet. Raises ConfigError."""
    if config.store is not None:
        return PostgresStore(config.store, schema=config.schema)
    _make_folder(config)
    return SqliteStore(config.database)


def _make_folder(config: Config) -> None:
    try:
        config.data.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"the folder {config.data} cannot be made: {error.strerror}") from error


def _routes(rpcs: Sequence[Rpc]) -> list[Route]:
    services = rpcs_by_service(rpcs)
    return routes_of(descriptor_pool.Default().FindServiceByName(name) for name in services)


async def _add_health(server: grpc.aio.Server, services: Sequence[str]) -> Any:
    health_servicer = health.aio.HealthServicer()  # type: ignore[attr-defined]
    await _say_health(health_servicer, services, health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)  # type: ignore[no-untyped-call]
    return health_servicer


async def _say_health(health_servicer: Any, services: Sequence[str], status: int) -> None:
    for name in (health.OVERALL_HEALTH, *services):
        await health_servicer.set(name, status)


def _bind(server: grpc.aio.Server, address: str) -> str:
    host, port = split_address(address)
    try:
        # gRPC tells the cause of a refusal only to its own log, so the system is asked first.
        socket.create_server((host, port), family=_family(host)).close()
        port = server.add_insecure_port(address)
    except (OSError, RuntimeError) as error:
        taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        cause = "another program listens there" if taken else error
        raise StartError(f"cannot listen on {address}: {cause}") from error
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _settle_memory() -> None:
    # What was built so far lives as long as the process; the collector need not look at it again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
