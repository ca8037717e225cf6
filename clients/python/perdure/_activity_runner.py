"""Owns the activity tasks of a worker: where they run, when they stop, when heartbeats go out.

Async activities run on the loop on which the worker was entered, sync ones in threads; the
bookkeeping is on the home loop. Whatever an activity raises is reported as its failure and never
ends the worker.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import Context, copy_context
from functools import partial
from typing import Any, Final

from perdure._activity import Activity
from perdure._activity_execution import (
    CANCEL_REQUESTED,
    LEASE_LOST,
    WORKER_STOPPED,
    Execution,
    Surroundings,
)
from perdure._home import Hop
from perdure._link import Link
from perdure._threads import Threads
from perdure._times import span_of
from perdure.v1.failure_pb2 import Failure
from perdure.v1.task_pb2 import ActivityTask
from perdure.v1.worker_service_pb2 import ActivityFailure, TaskReport

_HEARTBEAT_INTERVAL_MAX_S: Final = 1.0
_HEARTBEATS_PER_TIMEOUT: Final = 3

_log = logging.getLogger("perdure.worker")


class ActivityRunner:
    """Runs activity tasks side by side. `start` it with its link, `stop` it at the end."""

    def __init__(
        self,
        activities: Mapping[str, Activity[..., Any]],
        around: Surroundings,
        *,
        user_loop: asyncio.AbstractEventLoop,
        threads_max: int,
    ) -> None:
        self._activities = activities
        self._around = around
        self._user_loop = user_loop
        self._user = Hop(user_loop)
        self._loop = asyncio.get_running_loop()
        self._home = Hop(self._loop)
        self._threads = Threads(threads_max, name="perdure-activity")
        self._executions: dict[str, Execution] = {}
        self._beating: dict[str, asyncio.TimerHandle] = {}
        self._encodings: dict[str, asyncio.Task[TaskReport]] = {}
        """Heartbeats that codecs are at work on."""

    def start(self, link: Link) -> None:
        """Directs reports to `link`."""
        self._link = link

    def stop(self) -> None:
        """Tells what still runs to stop; it is reported as lost, so that it is tried again soon."""
        for token in list(self._executions):
            self.cancel(token, WORKER_STOPPED)
        self._threads.stop()

    @property
    def idle(self) -> bool:
        """Whether no task is in work."""
        return not self._executions

    def take(self, tasks: Sequence[ActivityTask]) -> None:
        """Begins tasks."""
        for task in tasks:
            if task.task_token not in self._executions:
                self._begin(task)

    def held_tokens(self) -> Iterable[str]:
        """Names the tasks in work."""
        return [
            token
            for token, execution in self._executions.items()
            if execution.stop_reason != LEASE_LOST
        ]

    def cancel(self, task_token: str, reason: str) -> None:
        """Tells a task to stop; ignores a token that it does not hold."""
        execution = self._executions.get(task_token)
        if execution is None:
            return
        if execution.stop(reason) and execution.activity.is_async:
            self._user.post(_cancel_on_loop, execution)

    def _begin(self, task: ActivityTask) -> None:
        activity = self._activities.get(task.name)
        if activity is None:
            self._link.report(_unknown(task))
            return
        execution = Execution(task, activity, self._around, alive=self._alive)
        self._executions[task.task_token] = execution
        if activity.is_async or self._around.on_loop:
            self._user.post(self._run_on_loop, execution)
        else:
            self._threads.submit(partial(Context().run, self._run_in_thread, execution))
        if task.cancel_requested:
            self.cancel(task.task_token, CANCEL_REQUESTED)

    def _run_on_loop(self, execution: Execution) -> None:
        execution.on_loop = self._user_loop.create_task(execution.run_async(self._in_thread))
        execution.on_loop.add_done_callback(
            lambda task: self._home.post(self._finished, execution, _report_of(task, execution))
        )

    async def _in_thread(self, code: Callable[[], Any]) -> Any:
        """Runs code of a sync activity that was begun on the loop; sees its context variables."""
        ended: asyncio.Future[tuple[Any, BaseException | None]] = self._user_loop.create_future()
        context = copy_context()

        def run() -> None:
            outcome: tuple[Any, BaseException | None]
            try:
                outcome = context.run(code), None
            except BaseException as error:  # noqa: BLE001  # raised where the loop waits
                outcome = None, error
            self._user.post(_settle, ended, outcome)

        self._home.post(self._threads.submit, run)
        result, error = await ended
        if error is not None:
            raise error
        return result

    def _run_in_thread(self, execution: Execution) -> None:
        self._home.post(self._finished, execution, execution.run_sync())

    def _finished(self, execution: Execution, report: TaskReport) -> None:
        token = execution.task.task_token
        if token not in self._executions:
            return
        timer = self._beating.pop(token, None)
        if timer is not None:
            timer.cancel()
        if token in self._encodings:
            self._encodings[token].add_done_callback(lambda _: self._finished(execution, report))
            return
        heartbeat = execution.take_heartbeat()
        if heartbeat is not None and not report.HasField("activity_completed"):
            if self._around.codecs:
                self._encode_and_report(execution, heartbeat)
                self._finished(execution, report)
                return
            self._report(execution, heartbeat)
        self._report(execution, report)
        del self._executions[token]

    def _report(self, execution: Execution, report: TaskReport) -> None:
        if execution.stop_reason != LEASE_LOST:
            self._link.report(report)

    def _encode_and_report(self, execution: Execution, heartbeat: TaskReport) -> None:
        """Reports a heartbeat once the codecs have passed it; the next report waits for that."""
        token = execution.task.task_token
        encoding = self._encodings[token] = self._loop.create_task(self._encode(heartbeat))

        def encoded(done: asyncio.Task[TaskReport]) -> None:
            del self._encodings[token]
            if not done.cancelled():
                self._report(execution, done.result())

        encoding.add_done_callback(encoded)

    async def _encode(self, heartbeat: TaskReport) -> TaskReport:
        encoding = self._around.codecs.encoded(heartbeat)
        try:
            return await asyncio.wrap_future(
                asyncio.run_coroutine_threadsafe(encoding, self._user_loop)
            )
        except Exception:  # noqa: BLE001  # a codec of the author may raise anything
            _log.exception("the details of a heartbeat are lost")
            heartbeat.activity_heartbeat.ClearField("details")
            return heartbeat

    def _alive(self, execution: Execution) -> None:
        # Read from any thread: a heartbeat that sees a timer is sent when it is due.
        if execution.task.task_token not in self._beating:
            self._home.post(self._beat, execution)

    def _beat(self, execution: Execution) -> None:
        """Sends a heartbeat, then none for an interval."""
        token = execution.task.task_token
        if token in self._beating or token not in self._executions:
            return
        if token in self._encodings:
            self._encodings[token].add_done_callback(lambda _: self._beat(execution))
            return
        heartbeat = execution.take_heartbeat()
        if heartbeat is not None:
            if self._around.codecs:
                self._encode_and_report(execution, heartbeat)
            else:
                self._link.report(heartbeat)
            self._beating[token] = self._loop.call_later(
                _heartbeat_interval_s(execution.task), self._beat_again, execution
            )

    def _beat_again(self, execution: Execution) -> None:
        self._beating.pop(execution.task.task_token, None)
        self._beat(execution)


def _unknown(task: ActivityTask) -> TaskReport:
    failure = Failure(
        type="UnknownActivity", message=f"the worker has no activity named {task.name!r}"
    )
    return TaskReport(task_token=task.task_token, activity_failed=ActivityFailure(failure=failure))


def _heartbeat_interval_s(task: ActivityTask) -> float:
    timeout = span_of(task.options, "heartbeat_timeout")
    if timeout is None:
        return _HEARTBEAT_INTERVAL_MAX_S
    return min(_HEARTBEAT_INTERVAL_MAX_S, timeout.total_seconds() / _HEARTBEATS_PER_TIMEOUT)


def _settle(ended: asyncio.Future[Any], outcome: tuple[Any, BaseException | None]) -> None:
    if not ended.done():
        ended.set_result(outcome)


def _cancel_on_loop(execution: Execution) -> None:
    if execution.on_loop is not None:
        execution.on_loop.cancel()


def _report_of(task: asyncio.Task[TaskReport], execution: Execution) -> TaskReport:
    """Returns the report; an attempt that was cancelled before its first step has made none."""
    if task.cancelled():
        return execution.failed(asyncio.CancelledError())
    return task.result()
