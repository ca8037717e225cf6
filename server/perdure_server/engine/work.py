"""Owns the worker streams: `Work`, both ways, and `StreamTasks`, one way.

Every message is a batch.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable

from perdure.v1.task_pb2 import QueryTask
from perdure.v1.worker_service_pb2 import (
    ActivityCancelNotice,
    ReportResult,
    StreamTasksResponse,
    WorkHello,
    WorkRequest,
    WorkResponse,
    WorkSlots,
    WorkWelcome,
)
from perdure_server.core import limits, worker_checks
from perdure_server.core.errors import DomainError, InvalidRequest
from perdure_server.core.frames import field
from perdure_server.core.model import TaskKind
from perdure_server.engine.dispatch import Dispatcher
from perdure_server.engine.outbox import Outbox
from perdure_server.engine.peers import Peers
from perdure_server.engine.ports import Clock
from perdure_server.engine.questions import Line, Questions
from perdure_server.engine.reports import Reports
from perdure_server.engine.requests import in_namespace
from perdure_server.engine.session import Held, Session
from perdure_server.engine.sessions import Sessions, SessionSpec

_WORK_FIELDS = {
    TaskKind.WORKFLOW: WorkResponse.WORKFLOW_TASKS_FIELD_NUMBER,
    TaskKind.ACTIVITY: WorkResponse.ACTIVITY_TASKS_FIELD_NUMBER,
}
_STREAM_FIELDS = {
    TaskKind.WORKFLOW: StreamTasksResponse.WORKFLOW_TASKS_FIELD_NUMBER,
    TaskKind.ACTIVITY: StreamTasksResponse.ACTIVITY_TASKS_FIELD_NUMBER,
}


class StreamSink:
    """Sends a session's tasks and notices to the outbox of its stream."""

    def __init__(self, outbox: Outbox, fields: dict[TaskKind, int], cancels: int) -> None:
        self._outbox = outbox
        self._fields = fields
        self._cancels = cancels

    def push(self, kind: TaskKind, task: bytes, held: Held) -> None:
        """Sends an encoded task."""
        self._outbox.put(field(self._fields[kind], task), held.sent)

    def cancel(self, token: str, reason: str) -> None:
        """Tells the worker to stop an activity."""
        notice = ActivityCancelNotice(task_token=token, reason=reason)
        self._outbox.put(field(self._cancels, notice.SerializeToString()))

    def go_on(self, kept: bytes) -> None:
        """Tells the worker what is new in a workflow task that it keeps."""
        self._outbox.put(field(WorkResponse.KEPT_TASKS_FIELD_NUMBER, kept))

    def end(self, error: DomainError | None) -> None:
        """Ends the stream."""
        self._outbox.end(error)


class WorkStreams:
    """The streaming doors of workers."""

    def __init__(
        self,
        sessions: Sessions,
        dispatcher: Dispatcher,
        reports: Reports,
        *,
        clock: Clock,
        server_id: str,
        peers: Peers,
        questions: Questions,
    ) -> None:
        self._questions = questions
        self._peers = peers
        self._sessions = sessions
        self._dispatcher = dispatcher
        self._reports = reports
        self._clock = clock
        self._server_id = server_id

    async def work(self, requests: AsyncIterator[WorkRequest]) -> AsyncIterator[bytes]:
        """Serves one `Work` stream; yields encoded WorkResponses.

        Raises InvalidRequest when the first message is no hello, SessionReplaced when a newer
        stream took over.
        """
        first = await anext(aiter(requests), None)
        if first is None or not first.HasField("hello"):
            raise InvalidRequest(
                "the first message of the stream must introduce the worker", "hello"
            )
        worker_checks.check_hello(first.hello)
        await self._peers.take(first.hello.session_id)
        outbox = Outbox()
        cancels = WorkResponse.CANCELS_FIELD_NUMBER
        sink = StreamSink(outbox, _WORK_FIELDS, cancels)
        session = self._attach(first.hello, sink, outbox)
        line = Line(session, _ask_into(outbox))
        reader = asyncio.create_task(self._read(requests, line, outbox), name="read work stream")
        try:
            self._receive(first, line, outbox)
            self._dispatcher.remind(session)
            self._dispatcher.serve(session)
            self._peers.seek(session)
            if first.hello.answers_queries:
                self._questions.open(line)
            async for message in self._write(outbox, session):
                yield message
        finally:
            reader.cancel()
            self._sessions.detach(session, sink)
            self._questions.close(line)

    async def stream_tasks(self, spec: SessionSpec, received: int) -> AsyncGenerator[bytes]:
        """Serves one `StreamTasks` stream; yields encoded StreamTasksResponses.

        The worker has `received` all batches up to this one. The first message carries no task, and
        the number of this batch: to come back after it changes nothing.
        """
        await self._peers.take(spec.session_id)
        session = self._sessions.take_up(spec)
        # Numbers that this process did not give are from before its start: go on after them.
        session.batch = max(session.batch, received)
        outbox = Outbox(session.next_batch)
        sink = StreamSink(outbox, _STREAM_FIELDS, StreamTasksResponse.CANCELS_FIELD_NUMBER)
        kept = [held.token for held in session.held.values() if 0 < held.batch <= received]
        self._sessions.attach(spec, sink, cached={}, held=kept)
        try:
            yield StreamTasksResponse(batch=received).SerializeToString()
            self._dispatcher.remind(session)
            self._dispatcher.serve(session)
            self._peers.seek(session)
            while (part := await outbox.next()) is not None:
                data, batch = part
                yield data + StreamTasksResponse(batch=batch).SerializeToString()
        finally:
            self._sessions.detach(session, sink)

    def _attach(self, hello: WorkHello, sink: StreamSink, outbox: Outbox) -> Session:
        session, lost = self._sessions.attach(
            SessionSpec(
                session_id=hello.session_id,
                identity=hello.identity,
                namespace=in_namespace(hello).namespace,
                queue=hello.task_queue,
                workflow_types=frozenset(hello.workflow_types),
                activity_types=frozenset(hello.activity_types),
                slots=slots_of(hello.slots),
            ),
            sink,
            held=hello.held_task_tokens,
            cached={cached.run_id: cached.last_seq for cached in hello.cached_runs},
        )
        welcome = WorkWelcome(lost_task_tokens=lost, server_id=self._server_id)
        outbox.put(WorkResponse(welcome=welcome).SerializeToString())
        return session

    async def _read(self, requests: AsyncIterator[WorkRequest], line: Line, outbox: Outbox) -> None:
        try:
            async for request in requests:
                self._receive(request, line, outbox)
                await outbox.room()
        except Exception as error:  # noqa: BLE001 - the stream must end with it, not hang
            outbox.end(error)
        else:
            outbox.end()

    async def _write(self, outbox: Outbox, session: Session) -> AsyncIterator[bytes]:
        while (part := await outbox.next()) is not None:
            data, batch = part
            if batch:
                session.unacknowledged.append((batch, self._clock.monotonic_us()))
                data = WorkResponse(batch=batch).SerializeToString() + data
            yield data

    def _receive(self, request: WorkRequest, line: Line, outbox: Outbox) -> None:
        """Takes in one message of the worker."""
        session = line.session
        self._sessions.heard(session)
        if request.received_batch:
            blocked = bool(session.unacknowledged)
            session.acknowledge(request.received_batch)
            if blocked and not session.unacknowledged:
                self._dispatcher.refill(session)
        if request.ping:
            outbox.put(WorkResponse(pong=request.ping).SerializeToString())
        for run_id in request.evicted_run_ids:
            self._dispatcher.unstick(session, run_id)
        if request.draining:
            session.draining = True
        if request.HasField("slots"):
            session.slots = slots_of(request.slots)
            self._dispatcher.refill(session)
        if request.reports:
            answer = _answer_into(outbox)
            for report in request.reports:
                self._reports.report(session, report, answer)
        for query_answer in request.query_answers:
            self._questions.answer(line, query_answer)


def slots_of(slots: WorkSlots) -> dict[TaskKind, int]:
    """Returns the slots of a worker by kind, within the bound."""
    return {
        TaskKind.WORKFLOW: min(slots.workflow_tasks, limits.SLOTS_MAX),
        TaskKind.ACTIVITY: min(slots.activity_tasks, limits.SLOTS_MAX),
    }


def _ask_into(outbox: Outbox) -> Callable[[QueryTask], None]:
    number = WorkResponse.QUERIES_FIELD_NUMBER

    def ask(task: QueryTask) -> None:
        outbox.put(field(number, task.SerializeToString()))

    return ask


def _answer_into(outbox: Outbox) -> Callable[[ReportResult], None]:
    number = WorkResponse.RESULTS_FIELD_NUMBER

    def answer(result: ReportResult) -> None:
        outbox.put(field(number, result.SerializeToString()))

    return answer
