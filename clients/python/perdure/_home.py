"""Owns the home loop: a thread with an asyncio loop that does nothing but talk to the server.

User code runs on other threads and other loops, so it cannot stop the heartbeats that live here.
Who crosses between two loops posts callbacks through a `Hop`.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

try:
    import uvloop
except ImportError:  # uvloop is not built for every platform
    _Loop: Any = asyncio.SelectorEventLoop
else:
    _Loop = uvloop.Loop

T = TypeVar("T")


class HomeEventLoop(_Loop):  # type: ignore[misc]
    """An event loop that gRPC may call when it is closed.

    gRPC has one poller for all loops of a process, and whichever loop runs hands the ends of calls
    to the others. The end of a call that was cancelled may come when its loop has closed; an error
    would then strike the other loop, and keep back what it was about to hand on.
    """

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Any = None) -> Any:
        """Runs a callback soon; when the loop is closed, one of gRPC is dropped."""
        try:
            return super().call_soon_threadsafe(callback, *args, context=context)
        except RuntimeError:
            if self.is_closed() and "grpc" in (getattr(callback, "__module__", None) or ""):
                return None
            raise


class Hop:
    """Carries callbacks from any thread to one loop, in order, many per wake-up of the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._awake = False

    def post(self, callback: Callable[..., object], *args: Any) -> None:
        """Runs `callback(*args)` on the loop, soon. Does nothing once the loop is closed."""
        self._waiting.append((callback, args))
        # A thread that reads True here has appended before `_drain` empties the deque.
        if not self._awake:
            self._awake = True
            try:
                self._loop.call_soon_threadsafe(self._drain)
            except RuntimeError:
                self._waiting.clear()

    def _drain(self) -> None:
        self._awake = False
        waiting = self._waiting
        try:
            while waiting:
                callback, args = waiting.popleft()
                callback(*args)
        finally:
            # A callback that raised must not strand those behind it.
            if waiting and not self._awake:
                self._awake = True
                self._loop.call_soon(self._drain)


class HomeLoop:
    """A thread and its loop. `start` it once, `run` coroutines on it, `stop` it once."""

    def __init__(self) -> None:
        self._ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        self._thread = threading.Thread(target=self._main, name="perdure-home", daemon=True)
        self._hop: Hop | None = None

    def start(self) -> None:
        """Starts the thread and waits the moment until its loop runs."""
        self._thread.start()
        self._hop = Hop(self._ready.result()[0])

    def post(self, callback: Callable[..., object], *args: Any) -> None:
        """Runs `callback(*args)` on the home loop, soon; from any thread."""
        self._started().post(callback, *args)

    async def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine on the home loop and waits for it; cancelling the wait cancels it."""
        if self._hop is None:
            coroutine.close()
        self._started()
        loop, _ = self._ready.result()
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, loop))

    async def stop(self) -> None:
        """Cancels what still runs on the loop and ends the thread."""
        self._started()
        # From here on nothing is taken that would never be run.
        self._hop = None
        loop, stopping = self._ready.result()
        loop.call_soon_threadsafe(stopping.set)
        await asyncio.to_thread(self._thread.join)

    def _started(self) -> Hop:
        if self._hop is None:
            raise RuntimeError("the client is not open: use it inside of `async with`")
        return self._hop

    def _main(self) -> None:
        with asyncio.Runner(loop_factory=HomeEventLoop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        stopping = asyncio.Event()
        self._ready.set_result((asyncio.get_running_loop(), stopping))
        await stopping.wait()
