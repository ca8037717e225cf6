"""Owns what tests of workflows need: an engine in the process with virtual time, and replay.

    async with Environment([checkout], [charge]) as env:
        handle = await env.client.start(checkout, order)
        await env.advance(timedelta(days=30))
        assert await handle.result() == ...

Time stands still but for two things: `advance` moves it, and while the test waits for a result, or
for the answer to an update, and nothing else is going on it jumps to the next timer. So a sleep of
a year takes milliseconds. A workflow task that fails, for example because the code does not replay,
ends that wait with an `RpcError`.
"""

from __future__ import annotations

import asyncio
import gc
import tempfile
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from operator import attrgetter
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, cast

from perdure._activity import Activity
from perdure._mocks import (
    ChildFakes,
    Fakes,
    Mock,
    StepFakes,
    StepMock,
    stand_in_for,
    with_children,
    with_mocks,
)
from perdure._replay.replayer import replay
from perdure._replay_files import ReplayFailedError, ReplayFailure, replay_all
from perdure._times import require_span
from perdure._virtual_time import TimeKeeper, VirtualClock, WatchedStore, WatchedTransport
from perdure._workflow import AnyWorkflow
from perdure.client import Client
from perdure.codec import Codec
from perdure.converter import Converter
from perdure.errors import RpcError
from perdure.interceptors import Interceptor
from perdure.v1.failure_pb2 import Failure
from perdure.worker import Lifespan, Worker, WorkerOptions, queues_of
from perdure_server.api.errors import to_status
from perdure_server.app import SystemIds
from perdure_server.core.errors import StoreUnavailable
from perdure_server.embedded import open_on_store
from perdure_server.engine.alarms import Alarms
from perdure_server.store.contract import Store
from perdure_server.store.sqlite.connection import connect_unsynced
from perdure_server.store.sqlite.store import SqliteStore
from perdure_server.store.sqlite.writer import PromptWriter

__all__ = [
    "Environment",
    "Mock",
    "ReplayFailedError",
    "ReplayFailure",
    "replay",
    "replay_all",
]

_START: Final = datetime(2030, 1, 1, tzinfo=UTC)
_PATIENCE_S: Final = 0.2
_GARBAGE_MIN: Final = 10_000
"""New objects before garbage is looked for: runs that come and go leave next to none."""
_is_idle: Final = attrgetter("shift.idle")
_MICROSECOND: Final = timedelta(microseconds=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Environment:
    """A whole engine, a client and workers in the test's process, on a file of its own.

    `mocks` gives what stands in for activities, or for those of a name: functions, async or not, of
    the same value. `Mock(charge, fake)` among the activities does the same, seen by type checkers.
    `steps` gives what stands in for functions that steps run, or for steps of a name, and
    `children` what stands in for workflows, or for those of a name.
    Workers stand at every task queue that the definitions name, at `default`, and at `task_queues`,
    which are those that only starts name.
    `max_cached_runs=0` replays each task from the first event, which finds code that does not
    replay.

    Attributes:
        client: A client of the engine.
        mocks: What stands in for activities, by name; `calls` of each are the values it got.
            `mocks["charge"].fail(OSError("down"), times=2)` and `hang()` break the next attempts.
        steps: What stands in for steps, by name; `calls` are the arguments, `fail` breaks them.
        children: What stands in for workflows, by name, with `calls` and `fail`.
    """

    def __init__(
        self,
        workflows: Sequence[AnyWorkflow] = (),
        activities: Sequence[Activity[..., Any]] = (),
        *,
        mocks: Fakes | None = None,
        steps: StepFakes | None = None,
        children: ChildFakes | None = None,
        start: datetime = _START,
        max_cached_runs: int = 1000,
        converter: Converter | None = None,
        codecs: Sequence[Codec] = (),
        interceptors: Sequence[Interceptor] = (),
        lifespan: Lifespan | None = None,
        task_queues: Sequence[str] = (),
    ) -> None:
        self._clock = VirtualClock((start - _EPOCH) // _MICROSECOND, is_durable=_is_durable)
        self._folder = tempfile.TemporaryDirectory(prefix="perdure-")
        path = Path(self._folder.name) / "perdure.db"
        refusal = StoreUnavailable("the test refuses this commit")
        # What a test wrote need not outlive the machine's crash; nothing else is different.
        sqlite = SqliteStore(path, connect=connect_unsynced, writer=PromptWriter)
        self._store = WatchedStore(sqlite, refusal)
        store = cast("Store", self._store)
        ids = SystemIds()
        self._transport = WatchedTransport(
            lambda: open_on_store(store, self._clock, ids), to_status
        )
        self.client: Final = Client(
            self._transport, converter=converter, codecs=codecs, interceptors=interceptors
        )
        served, self.mocks = with_mocks(activities, mocks or {})
        code, self.children = with_children(workflows, children or {})
        fakes = [StepMock(real, fake) for real, fake in (steps or {}).items()]
        self.steps: Final = {fake.name: fake for fake in fakes}
        self._workers = [
            Worker.of(
                self.client,
                WorkerOptions(
                    queue,
                    code,
                    served,
                    max_cached_runs=max_cached_runs,
                    lifespan=lifespan,
                ),
            )
            for queue in sorted({*queues_of(code, served), *task_queues, "default"})
        ]
        for worker in self._workers:
            worker.steps_wait = False
            worker.step_stand_in = partial(stand_in_for, fakes)
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self._open.callback(self._folder.cleanup)
        self._open.enter_context(_garbage_seldom_sought())
        try:
            await self._open.enter_async_context(self.client)
            for worker in self._workers:
                await self._open.enter_async_context(worker)
            self._keeper, skipping = await self._on_home(self._keep_time())
        except BaseException:
            await self._open.aclose()
            raise
        self._open.push_async_callback(self._on_home, _cancel(skipping))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._open.aclose()

    def now(self) -> datetime:
        """Returns virtual time."""
        return _EPOCH + self._clock.now_us() * _MICROSECOND

    async def advance(self, span: timedelta) -> None:
        """Moves virtual time; everything that is due on the way happens at its instant."""
        require_span("span", span)
        if span < timedelta(0):
            raise ValueError(f"time does not go back, got {span}")
        await self._on_home(self._keeper.advance(span // _MICROSECOND, patience_s=_PATIENCE_S))

    async def forget_runs(self) -> None:
        """Empties the workers' caches, as if their processes had been replaced."""

        async def forget() -> None:
            for worker in self._workers:
                worker.shift.forget_runs()

        await self._on_home(forget())

    def refuse_commits(self, count: int) -> None:
        """Makes the store refuse its next `count` writes, as a full disk does."""
        self._store.refuse = count

    async def _keep_time(self) -> tuple[TimeKeeper, asyncio.Task[None]]:
        keeper = TimeKeeper(
            self._clock,
            busy=self._busy,
            asking=self._asking,
            waiting=self._waiting,
            stirred=self._store.answered,
        )
        return keeper, asyncio.create_task(keeper.skip())

    def _busy(self) -> bool:
        return bool(self._store.under_way) or not all(map(_is_idle, self._workers))

    def _asking(self) -> bool:
        session = self.client.connection.session
        return not (session.idle or session.only_waits)

    def _waiting(self) -> bool:
        session = self.client.connection.session
        if not (session.only_waits or (session.idle and self._transport.waits)):
            return False
        failures = [worker.shift.task_failure for worker in self._workers]
        for failure in filter(None, failures):
            session.fail(_task_failed(failure))
            self._transport.fail(_task_failed(failure))
            return False
        return True

    async def _on_home(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return await self.client.connection.home.run(coroutine)


@contextmanager
def _garbage_seldom_sought() -> Iterator[None]:
    """Has the collector of the process wait for more objects, unless it was told so already.

    By default it takes a tenth of the time, to look again and again at all that was imported.
    """
    before = gc.get_threshold()
    if not 0 < before[0] < _GARBAGE_MIN:
        yield
        return
    gc.set_threshold(_GARBAGE_MIN, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _is_durable(callback: Callable[[], None]) -> bool:
    return isinstance(getattr(callback, "__self__", None), Alarms)


def _task_failed(failure: Failure) -> RpcError:
    text = f"a workflow task failed: {failure.type}: {failure.message}"
    return RpcError(text, reason="WORKFLOW_TASK_FAILED")


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
