"""Owns one attempt of an activity: runs the function, carries its heartbeats, makes its report."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from perdure._activity import Activity, ActivityContext, enter_activity
from perdure._failures import to_failure
from perdure.converter import Converter
from perdure.errors import DetachedActivityError
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


class Execution:
    """One attempt, between the home loop and the code that runs elsewhere.

    Attributes are only set, never read and set, on either side.
    """

    def __init__(
        self,
        task: ActivityTask,
        activity: Activity[Any, Any],
        converter: Converter,
        *,
        alive: Callable[[Execution], None],
    ) -> None:
        self.task: Final = task
        self.activity: Final = activity
        self._converter = converter
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
        self._context.cancel()
        return first

    async def run_async(self) -> TaskReport:
        """Runs an async activity and returns its report; whatever it raises is one."""
        try:
            enter_activity(self._context)
            arguments = self.activity.signature.arguments(self._input, self._converter)
            return self._completed(await self.activity.fn(*arguments))
        except BaseException as error:  # noqa: BLE001  # SystemExit in user code is a failure too
            return self.failed(error)

    def run_sync(self) -> TaskReport:
        """Runs a sync activity and returns its report; whatever it raises is one."""
        if self.stop_reason:
            # It waited for a thread; like an async one it is not begun any more.
            return self.failed(asyncio.CancelledError())
        try:
            enter_activity(self._context)
            arguments = self.activity.signature.arguments(self._input, self._converter)
            return self._completed(self.activity.fn(*arguments))
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

    def _heartbeat(self, details: Payload | None) -> None:
        """Notes a sign of life; the latest details are sent, not each."""
        if details is not None:
            self._details = details
        self._beat_due = True
        self._alive(self)

    @property
    def _input(self) -> Payload | None:
        return self.task.input if self.task.HasField("input") else None

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
