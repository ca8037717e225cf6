"""Owns the deterministic event loop that workflow code runs on.

Ready callbacks run first in, first out; time is that of the event being applied; timers are
durable. Whatever would touch the outside raises at once. The loop is an object the machine has;
it knows nothing of histories.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import sys
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from contextvars import Context
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

from perdure._replay.commands import TimerRequest
from perdure._replay.source import caller_line
from perdure.errors import ForbiddenCallError

if TYPE_CHECKING:
    from perdure._replay.run import Run

TIMER_US_MAX: Final = 100 * 365 * 86_400 * 1_000_000
"""The longest timer that the server takes."""

_ENDS_MAX: Final = 8
"""How often code that awaits while it is being ended is told again."""
_GENERATORS_MIN: Final = 64
_ASYNCIO_TASKS: Final = asyncio.tasks.__file__

_log = logging.getLogger("perdure.replay")


class Evicted(BaseException):
    """Ends the coroutines of a run that leaves memory."""


class NumberedTask(asyncio.Task[Any]):
    """A task that hashes by its number within the run, so that sets of tasks have one order."""

    __slots__ = ("number",)

    number: int

    def __hash__(self) -> int:
        try:
            return self.number
        except AttributeError:
            # asyncio files a new task in a set of all tasks of the process, where the small
            # numbers of many runs would collide.
            return id(self) >> 4


class NumberedFuture(asyncio.Future[Any]):
    """A future that hashes by its number within the run."""

    __slots__ = ("number",)

    number: int

    def __hash__(self) -> int:
        return self.number


class DurableTimer(asyncio.TimerHandle):
    """What `call_later` gives; `request` is None for a timer of no length."""

    __slots__ = ("request",)

    request: TimerRequest | None


class WorkflowLoop:
    """An event loop for one run.

    It has what stays inside of a run. Asking for any other method of a loop, which would touch the
    outside, raises ForbiddenCallError.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.closed = False
        self._ready: deque[asyncio.Handle] = deque()
        self._created = 0
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._generators: list[AsyncGenerator[Any, Any]] = []
        self._generators_bound = _GENERATORS_MIN

    @contextmanager
    def running(self) -> Iterator[None]:
        """Makes this the running loop of the thread, and puts back what was."""
        outer = asyncio._get_running_loop()
        outer_task = None if outer is None else asyncio.current_task(outer)
        if outer is not None and outer_task is not None:
            asyncio._leave_task(outer, outer_task)
        hooks = sys.get_asyncgen_hooks()
        # A generator that is collected at some later time would run code at that time.
        sys.set_asyncgen_hooks(firstiter=self._hold, finalizer=None)
        asyncio._set_running_loop(_as_loop(self))
        try:
            yield
        finally:
            asyncio._set_running_loop(outer)
            sys.set_asyncgen_hooks(*hooks)
            if outer is not None and outer_task is not None:
                asyncio._enter_task(outer, outer_task)

    def run_until_blocked(self) -> None:
        """Runs ready callbacks until there is none."""
        ready = self._ready
        while ready:
            handle = ready.popleft()
            if not handle._cancelled:
                handle._run()

    def fire(self, handle: asyncio.TimerHandle) -> None:
        """Makes the callback of a due timer ready."""
        self._ready.append(handle)

    def stop(self) -> None:
        """Drops what is ready; nothing more becomes ready."""
        self.closed = True
        self._ready.clear()

    def close(self) -> None:
        """Ends every unfinished coroutine; of the author's code only `finally` blocks still run."""
        self.stop()
        for task in [task for task in self._tasks if not task.done()]:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            _end(task.get_coro())
        for generator in self._generators:
            closing = _close(generator)
            with suppress(BaseException):
                closing.send(None)
            _end(closing)
        self._tasks.clear()
        self._generators.clear()
        # The two hold each other: without this only the garbage collector would free them.
        self.__dict__.pop("run", None)

    # What asyncio and authors call on a running loop.

    def time(self) -> float:
        """Seconds of workflow time since the run started."""
        return self.run.elapsed_us / 1e6

    def call_soon(
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Runs the callback in this activation, after what is ready already."""
        handle = asyncio.Handle(callback, args, _as_loop(self), context)
        if not self.closed:
            self._ready.append(handle)
            self.run.journal.stirred = True
        return handle

    def call_later(
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> DurableTimer:
        """Runs the callback when a durable timer of `delay` seconds has fired.

        Not durable when `delay` is 0 or less.
        """
        handle = DurableTimer(self.time() + delay, callback, args, _as_loop(self), context)
        delay_us = round(delay * 1e6)
        if delay_us > TIMER_US_MAX:
            raise ValueError(f"a timer lasts at most 100 years, got {delay:g} seconds")
        handle.request = None
        if delay_us > 0:
            handle.request = self.run.ask_timer(delay_us, handle)
        elif not self.closed:
            self._ready.append(handle)
        return handle

    def call_at(
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> DurableTimer:
        """Runs the callback at `when` on the clock of `time()`."""
        return self.call_later(when - self.time(), callback, *args, context=context)

    def create_future(self) -> NumberedFuture:
        """Makes a future of this run."""
        future = NumberedFuture(loop=_as_loop(self))
        self._created += 1
        future.number = self._created
        return future

    def create_task(
        self, coro: Coroutine[Any, Any, Any], *, name: str | None = None, **options: Any
    ) -> NumberedTask:
        """Makes a task of this run. The loop holds it until it is done.

        No task disappears by garbage collection.
        """
        _refuse_unordered()
        if not self.closed and self.run.journal.is_looking:
            coro.close()
            raise RuntimeError("queries and checks of updates only look; this one begins a task")
        self._created += 1
        name = name or f"Task-{self._created}"
        task = NumberedTask(coro, loop=_as_loop(self), name=name, **options)
        task.number = self._created
        if self.closed:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            coro.close()
        else:
            self._tasks[task] = None
            task.add_done_callback(self._tasks.pop)
        return task

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Logs an exception that no code took, once: not while replaying."""
        if not (self.closed or self.run.replaying):
            _log.error(
                "%s in workflow %s",
                context["message"],
                self.run.where(),
                exc_info=context.get("exception"),
            )

    def get_debug(self) -> bool:
        """Is always false: asyncio's debug mode reads the clock."""
        return False

    def is_running(self) -> bool:
        """Is true for code that can ask."""
        return True

    def is_closed(self) -> bool:
        """Tells whether the run has ended."""
        return self.closed

    def _hold(self, generator: AsyncGenerator[Any, Any]) -> None:
        if len(self._generators) >= self._generators_bound:
            self._generators = [held for held in self._generators if held.ag_frame is not None]  # type: ignore[attr-defined]
            self._generators_bound = 2 * len(self._generators) + _GENERATORS_MIN
        self._generators.append(generator)

    def _timer_handle_cancelled(self, handle: DurableTimer) -> None:
        if handle.request is not None and not self.closed:
            self.run.cancel_timer(handle.request)

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):
            raise AttributeError(name)
        raise ForbiddenCallError(
            f"{caller_line(2)}: workflow code used loop.{name}, which touches the outside world; "
            "do it in an activity"
        )


def _refuse_unordered() -> None:
    """Refuses tasks that asyncio begins in the order of a set of coroutines: by address."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_code.co_filename == _ASYNCIO_TASKS:
        if frame.f_code.co_qualname.startswith(("as_completed", "_AsCompletedIterator")):
            raise ForbiddenCallError(
                f"{caller_line(3)}: asyncio.as_completed begins coroutines in no certain order; "
                "use workflow.as_completed, or give it tasks"
            )
        frame = frame.f_back


def _as_loop(loop: WorkflowLoop) -> asyncio.AbstractEventLoop:
    # It is used as one, and has on purpose only a part of the methods.
    return cast("asyncio.AbstractEventLoop", loop)


async def _close(generator: AsyncGenerator[Any, Any]) -> None:
    await generator.aclose()


def _end(coroutine: Any) -> None:
    for _ in range(_ENDS_MAX):
        try:
            coroutine.throw(Evicted())
        except BaseException:  # noqa: BLE001 -- the run is gone, nobody is left to tell
            return
    _keep_for_ever(coroutine)
    _log.error("code that catches even BaseException stays in memory: %r", coroutine)


def _keep_for_ever(coroutine: object) -> None:
    # Collecting it would run its code: on whatever thread collects, or at the end of the
    # interpreter, among modules that are empty by then. No list outlives those.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(coroutine))
