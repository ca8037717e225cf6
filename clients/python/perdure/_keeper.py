"""Owns the workflow tasks that a worker keeps while steps run: what is reported, and when.

Lives on the home loop. One report is under way at a time for each task: its answer has the events
that are new, and the token of the next report.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, Protocol, TypeVar

from perdure._failures import to_failure
from perdure._step_runner import Book, StepRunner, StepSurroundings
from perdure._workflow_thread import Job
from perdure.codec import Codecs
from perdure.converter import Converter
from perdure.errors import PayloadError
from perdure.v1.history_pb2 import HistoryEvent
from perdure.v1.worker_service_pb2 import KeptTask, TaskReport

_ANNOUNCEMENT_DELAY_S: Final = 0.05
"""A step that takes longer is worth a message, so that the server tells what happens meanwhile."""

T = TypeVar("T")


class Tasks(Protocol):
    """What the runner of workflow tasks has that those which are kept need."""

    @property
    def codecs(self) -> Codecs:
        """What stands between payloads and the wire."""

    @property
    def converter(self) -> Converter:
        """What makes values of payloads."""

    def is_current(self, job: Job) -> bool:
        """Whether a task is in work, and was neither lost nor abandoned."""

    def enqueue(self, job: Job) -> None:
        """Has the thread apply the events of a job."""

    def report(self, job: Job, report: TaskReport) -> None:
        """Sends a report of a task that goes on."""

    def end(self, job: Job, report: TaskReport) -> None:
        """Ends a job with its last report."""

    def forget(self, job: Job) -> None:
        """Notes that a task is not in work any more."""

    def drop_runs(self, run_ids: Sequence[str]) -> None:
        """Forgets cached runs."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Does something beside, until the worker ends."""

    async def on_user_loop(self, code: Coroutine[Any, Any, T]) -> T:
        """Runs code of users where it belongs."""

    async def decode(self, events: Sequence[HistoryEvent]) -> None:
        """Passes events through the codecs."""


class Keeper:
    """The tasks that are kept, by run, and their steps."""

    def __init__(
        self,
        tasks: Tasks,
        *,
        user_loop: asyncio.AbstractEventLoop,
        around: StepSurroundings,
    ) -> None:
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()
        self._steps = StepRunner(
            tasks.converter,
            user_loop=user_loop,
            around=around,
            ended=self._step_ended,
        )
        self._kept: dict[str, Job] = {}
        self._leaving = False

    def leave(self) -> None:
        """Keeps no task any longer than until its steps have ended."""
        self._leaving = True

    def stop(self) -> None:
        """Forgets everything."""
        self._steps.stop()
        for job in list(self._kept.values()):
            self.forget(job)

    # What the session tells.

    def told(self, kept: KeptTask) -> None:
        """Applies what is new in a run whose task is kept."""
        job = self._kept.get(kept.run_id)
        if job is not None:
            job.receive(kept)
            self.go_on(job)

    def answered(self, run_id: str, report: TaskReport, kept: KeptTask | None) -> None:
        """Goes on after a report that keeps its task; without `kept` the task has ended."""
        job = self._kept.get(run_id)
        if job is None or job.reporting is not report:
            return
        job.reporting = None
        if kept is not None:
            job.receive(kept)
            self.go_on(job)
            return
        self._tasks.forget(job)
        if job.busy or job.unsent or job.inbox:
            # It is ahead of what the server knows; the next task brings the whole history.
            self._tasks.drop_runs((run_id,))

    def refused(self, run_id: str) -> None:
        """Forgets the kept task of a run whose report was refused, and its run."""
        job = self._kept.get(run_id)
        if job is not None:
            self._tasks.forget(job)
            self._tasks.drop_runs((run_id,))

    def reconnected(self) -> None:
        """Tells a server that may not know of it which tasks are kept."""
        for job in list(self._kept.values()):
            job.announced = False
            self.go_on(job)

    # What the runner of workflow tasks tells.

    def launch(self, job: Job, blocked: Callable[[], None]) -> None:
        """Has the steps run that the code has begun, and `blocked` called; from its thread."""
        self._steps.launch(job, blocked)

    def discard(self, job: Job) -> None:
        """Cancels the steps of a job that was lost while the code ran."""
        self._steps.discard(job)

    def blocked(self, job: Job) -> None:
        """Goes on with a job whose code has blocked: reports, waits for its steps."""
        if job.attempts:
            self._steps.take(job)
        self.go_on(job)

    def go_on(self, job: Job) -> None:
        """Has a job do what is next: apply events, report, or wait for its steps."""
        if job.busy or job.reporting:
            return
        book = self._steps.book(job.task.run_id)
        if job.machine.closed or book is None or (book.idle and not job.inbox):
            self._tasks.end(job, job.report())
        elif job.inbox:
            job.events, job.inbox = job.inbox, []
            self._apply(job)
        else:
            self._keep(job, book)

    def of_token(self, task_token: str) -> Job | None:
        """The kept task whose last answer had this token."""
        return next((job for job in self._kept.values() if job.token == task_token), None)

    def of_run(self, run_id: str) -> Job | None:
        """The task of a run, if it is kept."""
        return self._kept.get(run_id)

    def forget(self, job: Job) -> None:
        """Notes that a task is not in work any more."""
        _end_announcement(job)
        if self._kept.get(job.task.run_id) is job:
            del self._kept[job.task.run_id]

    def drop(self, run_id: str) -> Job | None:
        """Cancels the steps of a run that is cached no more; returns its task, if it is kept."""
        self._steps.forget(run_id)
        return self._kept.get(run_id)

    def _step_ended(self, run_id: str) -> None:
        job = self._kept.get(run_id)
        if job is not None:
            self.go_on(job)

    def _apply(self, job: Job) -> None:
        job.busy = True
        if self._tasks.codecs:
            self._tasks.spawn(self._decode_and_apply(job))
        else:
            self._tasks.enqueue(job)

    async def _decode_and_apply(self, job: Job) -> None:
        try:
            await self._tasks.on_user_loop(self._tasks.decode(job.events))
        except PayloadError as error:
            self._fail(job, error)
            return
        if self._tasks.is_current(job):
            self._tasks.enqueue(job)

    def _keep(self, job: Job, book: Book) -> None:
        """Reports what there is to report, and keeps the task while steps are to go on."""
        self._kept[job.task.run_id] = job
        records = book.take_records()
        if self._leaving and not book.running:
            self._tasks.end(job, job.report(records))
        elif records or job.unsent:
            self._report(job, job.report(records, keep=True))
        elif not job.announced and job.announcement is None:
            job.announcement = self._loop.call_later(_ANNOUNCEMENT_DELAY_S, self._announce, job)

    def _announce(self, job: Job) -> None:
        """Has the server tell what is new although there is nothing to report."""
        job.announcement = None
        if self._tasks.is_current(job) and not (job.announced or job.busy or job.reporting):
            self._report(job, job.report(keep=True))

    def _report(self, job: Job, report: TaskReport) -> None:
        job.reporting, job.announced = report, True
        _end_announcement(job)
        if self._tasks.codecs:
            self._tasks.spawn(self._encode_and_report(job, report))
        else:
            self._tasks.report(job, report)

    async def _encode_and_report(self, job: Job, report: TaskReport) -> None:
        try:
            report = await self._tasks.on_user_loop(self._tasks.codecs.encoded(report))
        except Exception as error:  # noqa: BLE001  # a codec of the author may raise anything
            self._fail(job, error)
            return
        if self._tasks.is_current(job):
            job.reporting = report
            self._tasks.report(job, report)

    def _fail(self, job: Job, error: BaseException) -> None:
        if self._tasks.is_current(job):
            self._tasks.end(job, job.failed(to_failure(error, self._tasks.converter)))


def _end_announcement(job: Job) -> None:
    if job.announcement is not None:
        job.announcement.cancel()
        job.announcement = None
