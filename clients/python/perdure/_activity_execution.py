"""Owns one attempt of an activity: runs the function, carries its heartbeats, makes its report."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeAlias

from perdure._activity import Activity, ActivityContext, enter_activity
from perdure._failures import to_failure
from perdure._inject import take
from perdure.codec import Codecs, payloads_of
from perdure.converter import Converter
from perdure.errors import DetachedActivityError
from perdure.interceptors import ActivityCall, ActivityInterceptor, chained, from_headers
from perdure.v1.failure_pb2 import Failure, FailureKind
from perdure.v1.payload_pb2 import Payload
from perdure.v1.task_pb2 import ActivityTask
from perdure.v1.worker_service_pb2 import (
    ActivityCompletion,
    ActivityDetached,
    ActivityFailure,
    ActivityHeartbeat,
    TaskReport,
)

CANCEL_REQUESTED: Final = "CANCEL_REQUESTED"
LEASE_LOST: Final = "LEASE_LOST"
WORKER_STOPPED: Final = "WORKER_STOPPED"
"""Why an attempt is told to stop; the last one is the worker's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What stands around the code of all activities of one worker.

    `state` is what the lifespan of the worker gave.
    """

    converter: Converter
    codecs: Codecs = field(default_factory=Codecs)
    interceptors: tuple[ActivityInterceptor, ...] = ()
    state: Any = None

    @property
    def on_loop(self) -> bool:
        """Whether even sync activities begin and end on the loop, where codecs and others run."""
        return bool(self.codecs or self.interceptors)


InThread: TypeAlias = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Runs code of a sync activity in a thread; called on the loop."""


class Execution:
    """One attempt, between the home loop and the code that runs elsewhere.

    Attributes are only set, never read and set, on either side.
    """

    def __init__(
        self,
        task: ActivityTask,
        activity: Activity[Any, Any],
        around: Surroundings,
        *,
        alive: Callable[[Execution], None],
    ) -> None:
        self.task: Final = task
        self.activity: Final = activity
        self._around = around
        self._converter = converter = around.converter
        self.stop_reason = ""
        self.on_loop: asyncio.Task[TaskReport] | None = None
        self._alive = alive
        self._context = ActivityContext(task, converter, self._heartbeat)
        self._details: Payload | None = None
        self._beat_due = False

    def stop(self, reason: str) -> bool:
        """Tells the code to stop; returns whether it is told for the first time."""
        first = not self.stop_reason
        self.stop_reason = reason
        self._context.cancel(reason)
        return first

    async def run_async(self, in_thread: InThread) -> TaskReport:
        """Runs an activity on the loop and returns its report; whatever it raises is one.

        The code of a sync one runs in a thread.
        """
        codecs = self._around.codecs
        try:
            await codecs.decode(self.task)
            enter_activity(self._context)
            report = self._completed(await self._execute(in_thread))
            return await codecs.encoded(report)
        except BaseException as error:  # noqa: BLE001  # SystemExit in user code is a failure too
            return await self._encoded_failure(error)

    def run_sync(self) -> TaskReport:
        """Runs a sync activity and returns its report; whatever it raises is one."""
        if self.stop_reason:
            # It waited for a thread; like an async one it is not begun any more.
            return self.failed(asyncio.CancelledError())
        try:
            enter_activity(self._context)
            return self._completed(self.activity.fn(*self._arguments(), **self._resources()))
        except BaseException as error:  # noqa: BLE001  # SystemExit in user code is a failure too
            return self.failed(error)

    def failed(self, error: BaseException) -> TaskReport:
        """Returns the report of an attempt that raised."""
        token = self.task.task_token
        if isinstance(error, DetachedActivityError):
            return TaskReport(task_token=token, activity_detached=ActivityDetached())
        failure = to_failure(error, self._converter)
        if isinstance(error, asyncio.CancelledError):
            self._explain_cancellation(failure)
        return TaskReport(task_token=token, activity_failed=ActivityFailure(failure=failure))

    def take_heartbeat(self) -> TaskReport | None:
        """Returns the heartbeat that is due, if one is."""
        if not self._beat_due:
            return None
        # In this order a heartbeat that comes in between is sent once more, never forgotten.
        self._beat_due = False
        details, self._details = self._details, None
        return TaskReport(
            task_token=self.task.task_token,
            activity_heartbeat=ActivityHeartbeat(details=details),
        )

    async def _execute(self, in_thread: InThread) -> Any:
        async def run(call: ActivityCall) -> Any:
            code = partial(self.activity.fn, *call.arguments, **self._resources())
            return await (
                code() if self.activity.is_async else in_thread(self._unless_stopped(code))
            )

        interceptors = self._around.interceptors
        if not interceptors and self.activity.is_async:
            return await self.activity.fn(*self._arguments(), **self._resources())
        headers = from_headers(self.task.headers, self._converter) if interceptors else {}
        call = ActivityCall(info=self._context.info, arguments=self._arguments(), headers=headers)
        return await chained(interceptors, "execute_activity", run)(call)

    def _unless_stopped(self, code: Callable[[], Any]) -> Callable[[], Any]:
        def begin() -> Any:
            if self.stop_reason:
                # It waited for a thread; like an async one it is not begun any more.
                raise asyncio.CancelledError
            return code()

        return begin

    def _arguments(self) -> tuple[Any, ...]:
        payload = self.task.input if self.task.HasField("input") else None
        return self.activity.signature.arguments(payload, self._converter)

    def _resources(self) -> dict[str, Any]:
        return take(self._around.state, self.activity.signature.needs)

    async def _encoded_failure(self, error: BaseException) -> TaskReport:
        try:
            return await self._around.codecs.encoded(self.failed(error))
        except Exception as problem:  # noqa: BLE001  # a codec of the author may raise anything
            report = self.failed(problem)
            for payload in payloads_of(report):
                payload.Clear()
            return report

    def _heartbeat(self, details: Payload | None) -> None:
        """Notes a sign of life; the latest details are sent, not each."""
        if details is not None:
            self._details = details
        self._beat_due = True
        self._alive(self)

    def _completed(self, result: Any) -> TaskReport:
        return TaskReport(
            task_token=self.task.task_token,
            activity_completed=ActivityCompletion(result=self._converter.encode(result)),
        )

    def _explain_cancellation(self, failure: Failure) -> None:
        if self.stop_reason == WORKER_STOPPED:
            failure.kind = FailureKind.FAILURE_KIND_WORKER_LOST
            failure.message = "the worker stopped before the activity ended"
        elif not self.stop_reason:
            # Nobody asked for it: the code cancelled itself, which is its own failure.
            failure.kind = FailureKind.FAILURE_KIND_APPLICATION
