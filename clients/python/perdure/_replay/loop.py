"""Owns the deterministic event loop that workflow code runs on.

Ready callbacks run first in, first out; time is that of the event being applied; timers are
durable. Whatever would touch the outside raises at once. The loop is an object the machine has;
it knows nothing of histories.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, NoReturn, TypeVar, cast

from perdure._replay.commands import TimerRequest
from perdure._replay.source import caller_line
from perdure.errors import ForbiddenCallError

if TYPE_CHECKING:
    from perdure._replay.run import Run

TIMER_US_MAX: Final = 100 * 365 * 86_400 * 1_000_000
"""The longest timer that the server takes."""

_CLOSINGS_MAX: Final = 8
"""How often code that awaits while it is being closed is closed again."""

T = TypeVar("T")

_log = logging.getLogger("perdure.workflow")


class Evicted(BaseException):
    """Ends a coroutine of a run that is leaving memory; user code must not see another step."""


class WorkflowTask(asyncio.Task[Any]):
    """A task that hashes by its number within the run, so that sets of tasks have one order."""

    __slots__ = ("number",)

    number: int
    _log_destroy_pending: bool

    def __hash__(self) -> int:
        try:
            return self.number
        except AttributeError:
            # asyncio files a new task in a set of all tasks of the process, where the small
            # numbers of many runs would collide.
            return id(self) >> 4


class WorkflowFuture(asyncio.Future[Any]):
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
    """An event loop for one run. Attributes it does not have are the outside.

    Asking for one raises.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.closed = False
        self._ready: deque[asyncio.Handle] = deque()
        self._created = 0
        self._tasks = _Held[WorkflowTask](asyncio.Task.done)
        self._generators = _Held[AsyncGenerator[Any, Any]](_is_exhausted)
        self._self = cast("asyncio.AbstractEventLoop", self)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Makes this the running loop of the thread, and puts back what was."""
        outer = asyncio._get_running_loop()
        outer_task = None if outer is None else asyncio.current_task(outer)
        if outer is not None and outer_task is not None:
            asyncio._leave_task(outer, outer_task)
        hooks = sys.get_asyncgen_hooks()
        # A generator that is collected at some later time would run code at that time.
        sys.set_asyncgen_hooks(firstiter=self._generators.add, finalizer=None)
        asyncio._set_running_loop(self._self)
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
        for task in self._tasks.let_go():
            task._log_destroy_pending = False
            _end(task.get_coro().close)
        for generator in self._generators.let_go():
            _end(partial(generator.aclose().send, None))

    # What asyncio and authors call on a running loop.

    def time(self) -> float:
        """Seconds of workflow time since the run started."""
        return self.run.elapsed_us / 1e6

    def call_soon(
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Runs the callback in this activation, after what is ready already."""
        handle = asyncio.Handle(callback, args, self._self, context)
        if not self.closed:
            self._ready.append(handle)
        return handle

    def call_later(
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> DurableTimer:
        """Runs the callback when a durable timer of `delay` seconds has fired.

        Not durable when `delay` is 0 or less.
        """
        if self.closed:
            raise Evicted
        handle = DurableTimer(self.time() + delay, callback, args, self._self, context)
        delay_us = round(delay * 1e6)
        if delay_us > TIMER_US_MAX:
            raise ValueError(f"a timer lasts at most 100 years, got {delay:g} seconds")
        if delay_us <= 0:
            handle.request = None
            self._ready.append(handle)
        else:
            handle.request = self.run.ask_timer(delay_us, handle)
        return handle

    def call_at(
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> DurableTimer:
        """Runs the callback at `when` on the clock of `time()`."""
        return self.call_later(when - self.time(), callback, *args, context=context)

    def create_future(self) -> WorkflowFuture:
        """Makes a future of this run."""
        future = WorkflowFuture(loop=self._self)
        self._created += 1
        future.number = self._created
        return future

    def create_task(
        self, coro: Coroutine[Any, Any, Any], *, name: str | None = None, **options: Any
    ) -> WorkflowTask:
        """Makes a task of this run. The loop holds it until it is done.

        No task disappears by garbage collection.
        """
        if self.closed:
            coro.close()
            raise Evicted
        self._created += 1
        task = WorkflowTask(coro, loop=self._self, name=name or f"Task-{self._created}", **options)
        task.number = self._created
        self._tasks.add(task)
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


class _Held(Generic[T]):
    """Keeps what must not be collected before it is done; lets go of what is done now and then."""

    def __init__(self, is_done: Callable[[T], bool]) -> None:
        self._is_done = is_done
        self._items: list[T] = []
        self._bound = 64

    def add(self, item: T) -> None:
        if len(self._items) >= self._bound:
            self._items = self._unfinished()
            self._bound = 2 * len(self._items) + 64
        self._items.append(item)

    def let_go(self) -> list[T]:
        items = self._unfinished()
        self._items = []
        return items

    def _unfinished(self) -> list[T]:
        return [item for item in self._items if not self._is_done(item)]


def _is_exhausted(generator: AsyncGenerator[Any, Any]) -> bool:
    return generator.ag_frame is None  # type: ignore[attr-defined]


def _end(close: Callable[[], object]) -> None:
    # A `finally` block that awaits again is cut short; our own words raise Evicted there.
    for _ in range(_CLOSINGS_MAX):
        try:
            close()
        except RuntimeError:
            continue
        except BaseException:  # noqa: BLE001, S110 -- the run is gone, nobody is left to tell
            pass
        return
