"""Owns the session of one worker: tasks in, reports out, over one stream. Lives on the home loop.

The session outlives its streams. On each new stream the worker names the tasks it holds and the
runs it caches, and sends again the reports that were not answered; so nothing is run twice because
of a broken connection. What becomes of tasks is the affair of the two runners.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple, Protocol

from perdure._stream import BATCH_BYTES_MAX, Conversation
from perdure._transport import FINAL_CODES, MESSAGE_BYTES_MAX, Transport
from perdure.converter import PAYLOAD_BYTES_MAX
from perdure.errors import RpcError
from perdure.v1.failure_pb2 import Failure
from perdure.v1.interaction_pb2 import QueryOutcome
from perdure.v1.task_pb2 import ActivityTask, QueryTask, WorkflowTask
from perdure.v1.worker_service_pb2 import (
    ActivityFailure,
    CachedRun,
    KeptTask,
    QueryAnswer,
    ReportResult,
    TaskReport,
    WorkflowTaskFailure,
    WorkHello,
    WorkRequest,
    WorkResponse,
    WorkWelcome,
)

_ACK_DELAY_S: Final = 0.005
"""An acknowledgement waits this long for a report to travel with; it may take a second."""
_REPEAT_DELAY_S: Final = 1.0
_REPEATABLE_REASONS: Final = frozenset(
    {"STORE_BUSY", "STORE_UNAVAILABLE", "RUN_CONTENDED", "SHUTTING_DOWN", "INTERNAL"}
)
_STALE_REASONS: Final = frozenset({"STALE_TASK", "INVALID_TASK_TOKEN"})
_REPLACEABLE_KINDS: Final = frozenset({"workflow_task_completed", "activity_completed"})
"""Reports whose refusal is reported as a failure, so that the task does not hang."""

QUERY_BYTES_MAX: Final = 2 * PAYLOAD_BYTES_MAX
"""An answer, with what a failure may say beside the value."""

_log = logging.getLogger("perdure.worker")


class KeptSide(Protocol):
    """What keeps workflow tasks while steps run."""

    def told(self, kept: KeptTask) -> None:
        """Applies what is new in a run whose task is kept."""
        ...

    def answered(self, run_id: str, report: TaskReport, kept: KeptTask | None) -> None:
        """Goes on after a report that keeps its task; without `kept` the task has ended."""
        ...

    def refused(self, run_id: str) -> None:
        """Forgets the kept task of a run whose report was refused, and its run."""
        ...

    def reconnected(self) -> None:
        """Tells a server that may not know of it which tasks are kept."""
        ...


class WorkflowSide(Protocol):
    """What runs workflow tasks."""

    @property
    def kept(self) -> KeptSide:
        """Those of them that are kept while steps run."""
        ...

    def take(self, tasks: Sequence[WorkflowTask]) -> None:
        """Begins tasks."""
        ...

    def ask(self, tasks: Sequence[QueryTask]) -> None:
        """Begins queries."""
        ...

    def held_tokens(self) -> Iterable[str]:
        """Names the tasks in work."""
        ...

    def cached_runs(self) -> Iterable[CachedRun]:
        """Names the cached runs."""
        ...

    def drop_runs(self, run_ids: Iterable[str]) -> None:
        """Forgets cached runs."""
        ...

    def lose(self, task_token: str) -> None:
        """Forgets a task whose lease is gone, and its run; ignores an unknown token."""
        ...


class ActivitySide(Protocol):
    """What runs activity tasks."""

    def take(self, tasks: Sequence[ActivityTask]) -> None:
        """Begins tasks."""
        ...

    def held_tokens(self) -> Iterable[str]:
        """Names the tasks in work."""
        ...

    def cancel(self, task_token: str, reason: str) -> None:
        """Tells a task to stop; ignores a token that it does not hold."""
        ...


class _Unanswered(NamedTuple):
    report: TaskReport
    size: int
    run_id: str


class Link:
    """One worker session. `open` it once, `report` through it, `drain` and `close` it."""

    def __init__(
        self,
        transport: Transport,
        hello: WorkHello,
        *,
        workflows: WorkflowSide,
        activities: ActivitySide,
    ) -> None:
        self._hello = hello
        self._workflows = workflows
        self._activities = activities
        self._loop = asyncio.get_running_loop()
        self._conversation = Conversation[WorkRequest, WorkResponse](
            transport, "WorkerService/Work", self
        )
        self._task: asyncio.Task[None] | None = None
        self._report_id = 0
        self._unanswered: dict[int, _Unanswered] = {}
        self._due: deque[int] = deque()
        self._heartbeats: dict[str, int] = {}
        """The unanswered heartbeat of each task: a newer one takes its place."""
        self._evicted: list[str] = []
        self._answers: deque[QueryAnswer] = deque()
        self._received_batch = 0
        self._acknowledged_batch = 0
        self._draining = False
        self._drain_due = False
        self._drain_ping = 0
        self._drained = False
        self.away = False
        """Whether the server was lost and has not answered since."""
        self.refused: RpcError | None = None
        """Why the server will not have this worker, however often it connects."""
        self.task_failure: Failure | None = None
        """Why the last workflow task that failed did so."""

    def open(self, on_refused: Callable[[RpcError], object] | None = None) -> None:
        """Connects, and stays connected until `close`, or until the server refuses for good."""
        self._task = self._loop.create_task(self._converse(on_refused))

    async def close(self) -> None:
        """Leaves the stream."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def drain(self) -> None:
        """Asks for no more tasks."""
        self._draining = self._drain_due = True
        self._conversation.ping()

    @property
    def settled(self) -> bool:
        """Whether every report was answered."""
        return not self._unanswered

    @property
    def drained(self) -> bool:
        """Whether the server knows, so that no task is under way, and all was answered."""
        return self._drained and self.settled

    def report(self, report: TaskReport, run_id: str = "") -> None:
        """Sends a report until it is answered; a refusal drops the cached run `run_id`."""
        size = report.ByteSize()
        if size > MESSAGE_BYTES_MAX:
            refusal = f"the report has {size} bytes; at most {MESSAGE_BYTES_MAX} are accepted"
            report = _instead_of(report, "LIMIT_EXCEEDED", refusal)
            self._workflows.kept.refused(run_id)
            self._workflows.drop_runs((run_id,))
        if report.HasField("workflow_task_failed"):
            self.task_failure = report.workflow_task_failed.failure
        if report.HasField("activity_heartbeat"):
            self._replace_heartbeat(report)
        self._report_id += 1
        report.report_id = self._report_id
        self._unanswered[self._report_id] = _Unanswered(report, size, run_id)
        self._due.append(self._report_id)
        self._conversation.wake()

    def answer(self, answer: QueryAnswer) -> None:
        """Answers a query; a stream that breaks takes its queries with it."""
        if answer.ByteSize() > QUERY_BYTES_MAX:
            failure = Failure(
                type="PAYLOAD_TOO_LARGE",
                message=f"the answer has more than {PAYLOAD_BYTES_MAX:,} bytes",
            )
            answer = QueryAnswer(query_id=answer.query_id, outcome=QueryOutcome(failure=failure))
        self._answers.append(answer)
        self._conversation.wake()

    def evicted(self, run_id: str) -> None:
        """Tells the server that a run is no longer cached; said with the next message."""
        self._evicted.append(run_id)

    def opening(self, ping: int) -> WorkRequest:
        """Returns the hello; unanswered reports follow it."""
        hello = WorkHello()
        hello.CopyFrom(self._hello)
        held = {unanswered.report.task_token for unanswered in self._unanswered.values()}
        held.update(self._workflows.held_tokens(), self._activities.held_tokens())
        hello.held_task_tokens.extend(held)
        hello.cached_runs.extend(self._workflows.cached_runs())
        self._due = deque(self._unanswered)
        self._evicted.clear()
        self._answers.clear()
        self._received_batch = self._acknowledged_batch = 0
        self._drain_due = self._draining
        if self._draining:
            self._conversation.ping()
        elif self._due:
            self._conversation.wake()
        return WorkRequest(hello=hello, ping=ping)

    def next_request(self, ping: int) -> WorkRequest | None:
        """Returns reports, acknowledgement and evictions that are due."""
        reports: list[TaskReport] = []
        size = 0
        while self._due and size < BATCH_BYTES_MAX:
            unanswered = self._unanswered.get(self._due.popleft())
            if unanswered is not None:
                reports.append(unanswered.report)
                size += unanswered.size
        answers: list[QueryAnswer] = []
        while self._answers and size < BATCH_BYTES_MAX:
            answers.append(self._answers.popleft())
            size += answers[-1].ByteSize()
        if self._due or self._answers:
            self._conversation.wake()
        unacknowledged = self._received_batch != self._acknowledged_batch
        if not (reports or answers or ping or unacknowledged or self._drain_due):
            return None
        request = WorkRequest(
            reports=reports,
            received_batch=self._received_batch if unacknowledged else 0,
            ping=ping,
            evicted_run_ids=self._evicted,
            draining=self._drain_due,
            query_answers=answers,
        )
        self._acknowledged_batch = self._received_batch
        self._evicted.clear()
        if self._drain_due and ping:
            self._drain_due = False
            self._drain_ping = ping
        return request

    def received(self, response: WorkResponse) -> None:
        """Takes a batch: answers to reports, notices, tasks."""
        if response.batch:
            if self._received_batch == self._acknowledged_batch:
                self._loop.call_later(_ACK_DELAY_S, self._conversation.wake)
            self._received_batch = response.batch
        for result in response.results:
            self._answered(result)
        if self._drain_ping and response.pong >= self._drain_ping:
            self._drained = True
        if response.HasField("welcome"):
            self._welcomed(response.welcome)
        self._begin(response)
        if response.draining:
            self._conversation.reconnect()

    def broken(self, error: RpcError, down_s: float) -> None:  # noqa: ARG002  # patient for ever
        """Notes once per outage that the server is away. Raises the error when it refuses."""
        if error.code in FINAL_CODES:
            raise error
        if not self.away:
            self.away = True
            _log.warning("the worker lost its server and will connect again: %s", error)

    def _welcomed(self, welcome: WorkWelcome) -> None:
        self.away = False
        for token in welcome.lost_task_tokens:
            self._workflows.lose(token)
            self._activities.cancel(token, "LEASE_LOST")
        self._workflows.kept.reconnected()

    def _begin(self, response: WorkResponse) -> None:
        for notice in response.cancels:
            self._activities.cancel(notice.task_token, notice.reason)
            if notice.reason != "CANCEL_REQUESTED":
                self._workflows.lose(notice.task_token)
        if response.evict_run_ids:
            self._workflows.drop_runs(response.evict_run_ids)
        if response.workflow_tasks:
            self._workflows.take(response.workflow_tasks)
        for kept in response.kept_tasks:
            self._workflows.kept.told(kept)
        if response.activity_tasks:
            self._activities.take(response.activity_tasks)
        if response.queries:
            self._workflows.ask(response.queries)

    async def _converse(self, on_refused: Callable[[RpcError], object] | None) -> None:
        try:
            await self._conversation.run()
        except RpcError as error:
            self.refused = error
            _log.error("the server refuses the worker, which ends: %s", error)
            if on_refused is not None:
                on_refused(error)

    def _answered(self, result: ReportResult) -> None:
        if result.reason in _REPEATABLE_REASONS:
            self._loop.call_later(_REPEAT_DELAY_S, self._repeat, result.report_id)
            return
        unanswered = self._unanswered.pop(result.report_id, None)
        if unanswered is None:
            return
        token = unanswered.report.task_token
        if self._heartbeats.get(token) == result.report_id:
            del self._heartbeats[token]
        if result.cancel_requested:
            self._activities.cancel(token, "CANCEL_REQUESTED")
        keeps = unanswered.report.workflow_task_completed.keep_task
        if not result.reason:
            if keeps:
                kept = result.kept if result.HasField("kept") else None
                self._workflows.kept.answered(unanswered.run_id, unanswered.report, kept)
            return
        if keeps:
            self._workflows.kept.refused(unanswered.run_id)
        self._workflows.drop_runs((unanswered.run_id,))
        if result.reason in _STALE_REASONS:
            self._activities.cancel(token, "LEASE_LOST")
            return
        _log.error("a report was refused: %s: %s", result.reason, result.message)
        if unanswered.report.WhichOneof("report") in _REPLACEABLE_KINDS:
            self.report(_instead_of(unanswered.report, result.reason, result.message))

    def _replace_heartbeat(self, report: TaskReport) -> None:
        """Forgets the task's unanswered heartbeat, so that an outage does not pile them up."""
        earlier = self._unanswered.pop(self._heartbeats.get(report.task_token, 0), None)
        if earlier is not None and not report.activity_heartbeat.HasField("details"):
            report.activity_heartbeat.CopyFrom(earlier.report.activity_heartbeat)
        self._heartbeats[report.task_token] = self._report_id + 1

    def _repeat(self, report_id: int) -> None:
        if report_id in self._unanswered and report_id not in self._due:
            self._due.append(report_id)
            self._conversation.wake()


def _instead_of(report: TaskReport, reason: str, message: str) -> TaskReport:
    """Returns the failure to report instead of what the server does not take."""
    failure = Failure(type=reason, message=message, non_retryable=True)
    if (report.WhichOneof("report") or "").startswith("workflow"):
        return TaskReport(
            task_token=report.task_token,
            workflow_task_failed=WorkflowTaskFailure(failure=failure),
        )
    return TaskReport(
        task_token=report.task_token, activity_failed=ActivityFailure(failure=failure)
    )
