"""Owns `@activity`, the durable call of an activity, and the words that activity code says."""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Callable, Coroutine, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Final, Generic, NoReturn, ParamSpec, TypeVar, overload

from perdure._definition import Signature
from perdure._options import CallOptions, RetryPolicy
from perdure._replay.commands import ActivityRequest
from perdure._replay.run import Run
from perdure._replay.source import caller_line
from perdure._runtime import micros, running_run
from perdure._times import to_datetime
from perdure.converter import Converter
from perdure.errors import DetachedActivityError
from perdure.interceptors import ScheduleCall, chained, to_headers
from perdure.v1.activity_pb2 import ActivityOptions
from perdure.v1.payload_pb2 import Header, Payload
from perdure.v1.task_pb2 import ActivityTask

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

_log = logging.getLogger("perdure.activity")


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityInfo:
    """What an activity can know about its attempt.

    `deadline` is when the attempt, or the activity with all its attempts, runs out of time.
    """

    task_token: str
    namespace: str
    workflow_id: str
    run_id: str
    workflow_type: str
    activity_seq: int
    name: str
    task_queue: str
    attempt: int
    scheduled_at: datetime
    started_at: datetime
    heartbeat_timeout: timedelta | None
    start_to_close_timeout: timedelta | None
    deadline: datetime | None


class ActivityContext:
    """What a worker gives to the attempt it runs; safe to use from any thread.

    `beat` receives the encoded details of each heartbeat. The worker calls `cancel` when the
    attempt should end.
    """

    def __init__(
        self,
        task: ActivityTask,
        converter: Converter,
        beat: Callable[[Payload | None], None],
    ) -> None:
        self.task: Final = task
        self.converter: Final = converter
        self.beat: Final = beat
        self.reason = ""
        self._cancelled = threading.Event()
        if task.cancel_requested:
            self.cancel()

    @property
    def is_cancelled(self) -> bool:
        """Whether the attempt should end."""
        return self._cancelled.is_set()

    @cached_property
    def info(self) -> ActivityInfo:
        """What the attempt can know about itself."""
        task, options = self.task, self.task.options
        return ActivityInfo(
            task_token=task.task_token,
            namespace=task.namespace,
            workflow_id=task.workflow_id,
            run_id=task.run_id,
            workflow_type=task.workflow_type,
            activity_seq=task.activity_seq,
            name=task.name,
            task_queue=task.task_queue,
            attempt=task.attempt,
            scheduled_at=task.scheduled_at.ToDatetime(tzinfo=UTC),
            started_at=task.started_at.ToDatetime(tzinfo=UTC),
            heartbeat_timeout=_timedelta(options, "heartbeat_timeout"),
            start_to_close_timeout=_timedelta(options, "start_to_close_timeout"),
            deadline=_deadline(task),
        )

    def cancel(self, reason: str = "CANCEL_REQUESTED") -> None:
        """Tells the attempt that it should end."""
        self.reason = self.reason or reason
        self._cancelled.set()

    def wait_cancelled(self, timeout_s: float | None) -> bool:
        """Waits on this thread until the attempt should end; False when the time was over first."""
        return self._cancelled.wait(timeout_s)


_current: Final[ContextVar[ActivityContext]] = ContextVar("perdure_activity")


def enter_activity(context: ActivityContext) -> None:
    """Makes `context` that of the activity code which runs in this contextvars context."""
    _current.set(context)


class Activity(Generic[P, R]):
    """An activity type: a function, async or not, of one value or none.

    Calling it always gives a coroutine. In a workflow that is a durable call; elsewhere it runs
    the function.

    Attributes:
        name: The type's name in histories.
        fn: The function.
        is_async: Whether it is an async function; others run in a thread.
        signature: What it takes and gives.
    """

    def __init__(self, fn: Callable[..., Any], *, name: str | None, options: CallOptions) -> None:
        self.fn = fn
        self.name = name or fn.__name__
        self.is_async = inspect.iscoroutinefunction(fn)
        self.signature = Signature(fn)
        self._options = options
        self._message = options.to_proto()
        self.__doc__ = fn.__doc__

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        """Calls the activity: durable in a workflow, plain elsewhere.

        TypeError for more than one value.
        """
        run = running_run()
        if run is None:
            return self._call_here(args, kwargs)
        run.journal.require_open(lambda: f"ScheduleActivity ({self.name})")
        values = self.signature.value_of(args, kwargs)
        if run.interceptors:
            return self._call_intercepted(run, values, caller_line(2))
        payload = run.converter.encode(values[0]) if values else None
        return self._call_durably(run, payload, (), caller_line(2))

    def options(
        self,
        *,
        retry: RetryPolicy | None = None,
        start_to_close: timedelta | None = None,
        schedule_to_start: timedelta | None = None,
        schedule_to_close: timedelta | None = None,
        heartbeat: timedelta | None = None,
        task_queue: str | None = None,
        priority: int | None = None,
    ) -> Activity[P, R]:
        """The same activity with other options: `charge.options(priority=1)(order)`.

        ValueError for a bad value.
        """
        given = CallOptions(
            retry=retry,
            start_to_close=start_to_close,
            schedule_to_start=schedule_to_start,
            schedule_to_close=schedule_to_close,
            heartbeat=heartbeat,
            task_queue=task_queue,
            priority=priority,
        )
        return Activity(self.fn, name=self.name, options=self._options.merged(given))

    @property
    def task_queue(self) -> str | None:
        """The queue that its tasks go to; None means the workflow's."""
        return self._options.task_queue

    def __repr__(self) -> str:
        return f"<activity {self.name!r}>"

    async def _call_here(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
        if absent := self.signature.needs.keys() - kwargs:
            raise TypeError(f"{self.name} needs {min(absent)}=..., which a worker would give it")
        result = self.fn(*args, **kwargs)
        value: R = await result if self.is_async else result
        return value

    async def _call_intercepted(self, run: Run, values: tuple[Any, ...], source: str) -> R:
        async def schedule(call: ScheduleCall) -> R:
            payload = run.converter.encode(call.arguments[0]) if call.arguments else None
            headers = to_headers(call.headers, run.converter)
            return await self._call_durably(run, payload, headers, source)

        call = ScheduleCall(name=self.name, arguments=values)
        result: R = await chained(run.interceptors, "schedule_activity", schedule)(call)
        return result

    async def _call_durably(
        self, run: Run, payload: Payload | None, headers: Sequence[Header], source: str
    ) -> R:
        request = ActivityRequest(self.name, payload, source)
        request.headers = headers
        request.options = self._message
        request.task_queue = self._options.task_queue
        request.priority = self._options.priority
        result: R = await run.call_activity(request, self.signature.result_type)
        return result


class ActivityWords:
    """`activity`: the decorator, and the words of activity code as its methods."""

    logger: Final = _log
    """A logger whose records name workflow, run, activity and attempt."""

    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> Activity[P, R]: ...
    @overload
    def __call__(self, fn: Callable[P, R], /) -> Activity[P, R]: ...
    @overload
    def __call__(
        self,
        /,
        *,
        name: str | None = None,
        retry: RetryPolicy | None = None,
        start_to_close: timedelta | None = None,
        schedule_to_start: timedelta | None = None,
        schedule_to_close: timedelta | None = None,
        heartbeat: timedelta | None = None,
        task_queue: str | None = None,
        priority: int | None = None,
    ) -> ActivityDecorator: ...
    def __call__(self, fn: Any = None, /, *, name: str | None = None, **options: Any) -> Any:
        """Makes a function an activity; the options are the defaults of its calls.

        TypeError or ValueError if bad.
        """
        decorate = ActivityDecorator(name, CallOptions(**options))
        return decorate if fn is None else decorate(fn)

    @staticmethod
    def info() -> ActivityInfo:
        """What is known about the attempt."""
        return _context().info

    @staticmethod
    def heartbeat(details: Any = None) -> None:
        """Tells the server that the attempt is alive; `details` reach the next attempt. Cheap.

        Call it often.
        """
        context = _context()
        context.beat(None if details is None else context.converter.encode(details))

    @overload
    def heartbeat_details(self, type: type[T], /) -> T | None: ...
    @overload
    def heartbeat_details(self, type: Any = ..., /) -> Any: ...
    def heartbeat_details(self, type: Any = Any, /) -> Any:  # noqa: A002
        """The last heartbeat details of an earlier attempt; None when there are none."""
        context = _context()
        if not context.task.HasField("heartbeat_details"):
            return None
        return context.converter.decode(context.task.heartbeat_details, type)

    @staticmethod
    def is_cancelled() -> bool:
        """Tells a sync activity whether it should end.

        An async one gets asyncio.CancelledError instead.
        """
        return _context().is_cancelled

    @staticmethod
    def wait_cancelled(timeout: timedelta | float | None = None) -> bool:
        """Has a sync activity wait until it should end: a sleep that a cancellation cuts short.

        A number is seconds. False when they were over first.
        """
        return _context().wait_cancelled(None if timeout is None else micros(timeout) / 1e6)

    @staticmethod
    def cancel_reason() -> str:
        """Why the attempt should end; empty while it should not.

        `CANCEL_REQUESTED`: the workflow asked. `WORKFLOW_CLOSED`: it has ended. `LEASE_LOST`: the
        activity has ended, or is given to somebody else. `WORKER_STOPPED`: the worker leaves, and
        another one tries again.
        """
        return _context().reason

    @staticmethod
    def detach() -> NoReturn:
        """Leaves the activity open: somebody else completes it by `activity.info().task_token`."""
        _context()
        raise DetachedActivityError("the activity will be completed by its task token")


class ActivityDecorator:
    """What `@activity(...)` with options gives."""

    def __init__(self, name: str | None, options: CallOptions) -> None:
        self._name = name
        self._options = options

    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> Activity[P, R]: ...
    @overload
    def __call__(self, fn: Callable[P, R], /) -> Activity[P, R]: ...
    def __call__(self, fn: Callable[..., Any], /) -> Any:
        """Makes a function an activity."""
        return Activity(fn, name=self._name, options=self._options)


def _deadline(task: ActivityTask) -> datetime | None:
    spans = (
        (task.started_at, _timedelta(task.options, "start_to_close_timeout")),
        (task.scheduled_at, _timedelta(task.options, "schedule_to_close_timeout")),
    )
    return min((to_datetime(since) + span for since, span in spans if span), default=None)


def _timedelta(options: ActivityOptions, field: str) -> timedelta | None:
    if not options.HasField(field):
        return None
    span: timedelta = getattr(options, field).ToTimedelta()
    return span


def _context() -> ActivityContext:
    context = _current.get(None)
    if context is None:
        raise RuntimeError("this word belongs to activity code; no activity is running here")
    return context


class _NamesAttempt(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        context = _current.get(None)
        if context is not None:
            task = context.task
            record.workflow_id, record.run_id = task.workflow_id, task.run_id
            record.activity, record.attempt = task.name, task.attempt
        return True


_log.addFilter(_NamesAttempt())
activity: Final = ActivityWords()
