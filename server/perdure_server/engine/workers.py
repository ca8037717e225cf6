"""Owns the use cases of WorkerService.

Registration, polls, single reports, and the worker streams.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from perdure.v1 import worker_service_pb2 as pb
from perdure.v1.history_pb2 import History
from perdure_server.core import decide, limits
from perdure_server.core.activity import FAILURE_ENDINGS, RESULT_ENDINGS
from perdure_server.core.errors import (
    InvalidPageToken,
    StaleTask,
    WorkerNotFound,
    WorkflowNotFound,
)
from perdure_server.core.frames import field
from perdure_server.core.model import TaskKind
from perdure_server.core.state import RunState
from perdure_server.core.times import from_duration
from perdure_server.core.token import TaskToken
from perdure_server.engine.dispatch import Dispatcher
from perdure_server.engine.heartbeats import Heartbeats
from perdure_server.engine.pages import name_before, token_after
from perdure_server.engine.polls import Polls
from perdure_server.engine.ports import Clock, Ids
from perdure_server.engine.reports import Reports
from perdure_server.engine.requests import in_namespace
from perdure_server.engine.roster import Roster
from perdure_server.engine.runs import Runs
from perdure_server.engine.sessions import POLL_PREFIX, Sessions, SessionSpec
from perdure_server.engine.stimuli import stimulus_of
from perdure_server.engine.work import WorkStreams, slots_of
from perdure_server.store.contract import Store

_PAGES = "workers"
_DIGITS_MAX = len(str(limits.HISTORY_EVENTS_MAX)) + 1
_TASK_FIELD = pb.PollWorkflowTaskResponse.TASK_FIELD_NUMBER
_HISTORY_FIELD = pb.GetWorkflowTaskHistoryResponse.HISTORY_FIELD_NUMBER


class Workers:
    """The use cases of WorkerService."""

    def __init__(
        self,
        *,
        store: Store,
        runs: Runs,
        sessions: Sessions,
        dispatcher: Dispatcher,
        reports: Reports,
        heartbeats: Heartbeats,
        streams: WorkStreams,
        polls: Polls,
        roster: Roster,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._store = store
        self._runs = runs
        self._sessions = sessions
        self._dispatcher = dispatcher
        self._reports = reports
        self._heartbeats = heartbeats
        self._streams = streams
        self._polls = polls
        self._roster = roster
        self._clock = clock
        self._ids = ids

    def work(self, requests: AsyncIterator[pb.WorkRequest]) -> AsyncIterator[bytes]:
        """Serves one `Work` stream; yields encoded WorkResponses."""
        return self._streams.work(requests)

    async def stream_tasks(self, request: pb.StreamTasksRequest) -> AsyncGenerator[bytes]:
        """Serves one `StreamTasks` stream; yields encoded StreamTasksResponses."""
        spec = await self._stream_spec(request)
        async with aclosing(self._streams.stream_tasks(spec, request.received_batch)) as stream:
            async for message in stream:
                yield message

    async def report(self, request: pb.ReportRequest) -> pb.ReportResponse:
        """Takes many reports in and answers when each is durable or refused."""
        session = self._sessions.get(request.worker_id)
        if session is not None:
            self._sessions.heard(session)
            self._roster.heard(request.worker_id)
        else:
            await self._roster.hear(request.worker_id)
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[pb.ReportResult]] = []
        for report in request.reports:
            future: asyncio.Future[pb.ReportResult] = loop.create_future()
            futures.append(future)
            self._reports.report(session, report, stimulus_of(future, _nothing).resolve)
        return pb.ReportResponse(results=await asyncio.gather(*futures))

    async def get_workflow_task_history(self, request: pb.GetWorkflowTaskHistoryRequest) -> bytes:
        """Returns an encoded page of the history behind a current workflow task."""
        token = TaskToken.decode(request.task_token)
        if not request.page_token.isdecimal() or len(request.page_token) > _DIGITS_MAX:
            raise InvalidPageToken("send the token of the task or of the last page", "page_token")
        await self._check_current(token)
        after_seq = int(request.page_token)
        rows = await self._store.load_history(
            token.run_id,
            after_seq=after_seq,
            limit=max(token.seen_seq - after_seq, 1),
            max_bytes=limits.TASK_HISTORY_BYTES_MAX,
        )
        rows = [row for row in rows if row.seq <= token.seen_seq]
        more = bool(rows) and rows[-1].seq < token.seen_seq
        page = pb.GetWorkflowTaskHistoryResponse(
            next_page_token=str(rows[-1].seq) if more else "", history=History()
        )
        frames = b"".join([row.frame for row in rows])
        return page.SerializeToString() + field(_HISTORY_FIELD, frames)

    async def poll_workflow_task(self, request: pb.PollWorkflowTaskRequest) -> bytes:
        """Waits for a workflow task; returns an encoded PollWorkflowTaskResponse."""
        spec = await self._poll_spec(request, TaskKind.WORKFLOW)
        task = await self._polls.poll(spec, from_duration(request.wait))
        return b"" if task is None else field(_TASK_FIELD, task)

    async def poll_activity_task(self, request: pb.PollActivityTaskRequest) -> bytes:
        """Waits for an activity task; returns an encoded PollActivityTaskResponse."""
        spec = await self._poll_spec(request, TaskKind.ACTIVITY)
        task = await self._polls.poll(spec, from_duration(request.wait))
        return b"" if task is None else field(_TASK_FIELD, task)

    async def complete_workflow_task(
        self, request: pb.CompleteWorkflowTaskRequest
    ) -> pb.CompleteWorkflowTaskResponse:
        """Applies the commands of a workflow task, found by token or by workflow and worker."""
        token = await self._token_of(request)
        if request.keep_task:
            return await self._go_on(token, request)
        frames = await self._reports.named_signals(token, request.commands)
        await self._submit(token, self._reports.commands(token, request.commands, frames))
        return pb.CompleteWorkflowTaskResponse()

    async def _go_on(
        self, token: TaskToken, request: pb.CompleteWorkflowTaskRequest
    ) -> pb.CompleteWorkflowTaskResponse:
        """Applies commands of a workflow task that is kept, and answers what is new in its run."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._heard_of(token)
        decision = self._reports.kept_commands(token, request.commands)
        waiter = stimulus_of(future, decision)
        self._reports.kept.report(token, decision, waiter.resolve, waiter.reject)
        return pb.CompleteWorkflowTaskResponse(kept=await future)

    async def fail_workflow_task(
        self, request: pb.FailWorkflowTaskRequest
    ) -> pb.FailWorkflowTaskResponse:
        """Puts a workflow task back, to be tried again with back-off."""
        token, failure = TaskToken.decode(request.task_token), request.failure
        await self._submit(
            token, lambda d, now: decide.decide_workflow_task_failed(d, token, failure, now)
        )
        return pb.FailWorkflowTaskResponse()

    async def complete_activity(
        self, request: pb.CompleteActivityRequest
    ) -> pb.CompleteActivityResponse:
        """Records the result of an activity."""
        token, result = TaskToken.decode(request.task_token), request.result
        await self._submit(
            token,
            lambda d, now: decide.decide_activity_completed(d, token, result, now),
            RESULT_ENDINGS,
        )
        return pb.CompleteActivityResponse()

    async def fail_activity(self, request: pb.FailActivityRequest) -> pb.FailActivityResponse:
        """Records the failure of an attempt."""
        token, failure = TaskToken.decode(request.task_token), request.failure
        await self._submit(
            token,
            lambda d, now: decide.decide_activity_failed(d, token, failure, now),
            FAILURE_ENDINGS,
        )
        return pb.FailActivityResponse()

    async def heartbeat_activity(
        self, request: pb.HeartbeatActivityRequest
    ) -> pb.HeartbeatActivityResponse:
        """Keeps an attempt alive; answers whether it should stop."""
        token = TaskToken.decode(request.task_token)
        self._heard_of(token)
        details = request.details if request.HasField("details") else None
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        waiter = stimulus_of(future, _nothing)
        self._heartbeats.beat(token, details, waiter.resolve, waiter.reject)
        return pb.HeartbeatActivityResponse(cancel_requested=bool(await future))

    async def register(self, request: pb.RegisterRequest) -> pb.RegisterResponse:
        """Remembers a worker and its types until it is silent for 90 seconds."""
        worker_id = self._ids.worker_id()
        spec = SessionSpec(
            session_id=worker_id,
            identity=request.identity,
            namespace=in_namespace(request).namespace,
            queue=request.task_queue,
            workflow_types=frozenset(request.workflow_types),
            activity_types=frozenset(request.activity_types),
            slots=_slots_or(request.slots, limits.SLOTS_DEFAULT),
        )
        await self._roster.register(spec)
        return pb.RegisterResponse(worker_id=worker_id)

    async def heartbeat(self, request: pb.HeartbeatRequest) -> pb.HeartbeatResponse:
        """Notes that a worker is alive. Raises WorkerNotFound."""
        session = self._sessions.get(request.worker_id)
        if session is not None:
            self._sessions.heard(session)
            self._roster.heard(request.worker_id)
        elif not await self._roster.hear(request.worker_id):
            raise WorkerNotFound(f"worker {request.worker_id!r} is not known; register again")
        return pb.HeartbeatResponse()

    async def list_workers(self, request: pb.ListWorkersRequest) -> pb.ListWorkersResponse:
        """Lists the workers of a namespace by id. Raises InvalidPageToken."""
        infos = {
            info.worker_id: info
            for info in await self._roster.infos(in_namespace(request).namespace)
        }
        size = request.page_size or limits.PAGE_SIZE_DEFAULT
        after = name_before(_PAGES, request.page_token)
        ids = [key for key in infos if key > after]
        page = ids[:size]
        return pb.ListWorkersResponse(
            workers=[infos[key] for key in page],
            next_page_token=token_after(_PAGES, page[-1]) if len(ids) > size else "",
        )

    async def _submit(
        self, token: TaskToken, decision: Any, endings: frozenset[str] = frozenset()
    ) -> None:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._heard_of(token)
        self._reports.submit(token, stimulus_of(future, decision), endings)
        await future

    def _heard_of(self, token: TaskToken) -> None:
        """Notes that the worker lives that holds a task, if its stream goes one way only."""
        key = (token.run_id, token.kind, token.seq)
        session = self._dispatcher.holder(key)
        if session is None and self._runs.are_shared:
            self._hear_elsewhere(token)
        if session is None or session.sticky or session.by_time:
            return
        if session.held[key].lease == token.lease:
            self._sessions.heard(session)
            self._roster.heard(session.session_id)

    def _hear_elsewhere(self, token: TaskToken) -> None:
        """Notes that a worker lives that is connected to another server, for that to hear."""

        def note(state: RunState | None) -> None:
            task = state.tasks.get((token.kind, token.seq)) if state is not None else None
            if task is not None and task.lease == token.lease and task.session_id:
                self._roster.heard_elsewhere(task.session_id)

        def visit(state: RunState | None) -> None:
            note(state)
            task = state.tasks.get((token.kind, token.seq)) if state is not None else None
            if task is not None and task.lease < token.lease:
                # A claim is not told to other servers; what follows has to read the run as well.
                self._runs.look(token.run_id, note)

        self._runs.visit(token.run_id, visit)

    async def _check_current(self, token: TaskToken) -> None:
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        def visit(state: RunState | None) -> None:
            task = state.tasks.get((token.kind, token.seq)) if state is not None else None
            if not future.done():
                future.set_result(task is not None and task.lease == token.lease)

        self._runs.look(token.run_id, visit)
        if not await future:
            raise StaleTask("the workflow task is no longer this worker's")

    async def _token_of(self, request: pb.CompleteWorkflowTaskRequest) -> TaskToken:
        """Finds the task that a worker without a token reports on: the lease must be its own."""
        if request.task_token:
            return TaskToken.decode(request.task_token)
        spec = await self._roster.find(request.worker_id)
        if spec is not None and not request.namespace:
            request.namespace = spec.namespace
        in_namespace(request)
        run_id = await self._store.find_run(request.namespace, request.workflow_id, None)
        if run_id is None:
            raise WorkflowNotFound(f"there is no workflow {request.workflow_id!r}")
        future: asyncio.Future[TaskToken | None] = asyncio.get_running_loop().create_future()

        def visit(state: RunState | None) -> None:
            if not future.done():
                future.set_result(self._leased_to(state, request.worker_id))

        self._runs.look(run_id, visit)
        token = await future
        if token is None:
            raise StaleTask(
                f"worker {request.worker_id!r} holds no workflow task of {request.workflow_id!r}"
            )
        return token

    def _leased_to(self, state: RunState | None, worker_id: str) -> TaskToken | None:
        """Returns the token of the workflow task that a worker took by a poll or a stream."""
        task = state.tasks.get((TaskKind.WORKFLOW, 0)) if state is not None else None
        if (
            state is None
            or task is None
            or task.session_id not in (worker_id, POLL_PREFIX + worker_id)
        ):
            return None
        key = (task.run_id, task.kind, task.seq)
        session = self._dispatcher.holder(key)
        held = session.held[key] if session is not None else None
        if held is not None and held.lease == task.lease and held.token:
            return TaskToken.decode(held.token)
        text = self._polls.token(key, task.lease)
        if text is not None:
            return TaskToken.decode(text)
        # Handed out by an earlier process: what the worker has seen of the run is not known, so the
        # code runs again for all that it may not have seen.
        return TaskToken(
            task.run_id,
            task.kind,
            task.seq,
            task.attempt,
            lease=task.lease,
            seen_seq=state.run.seen_seq,
        )

    async def _poll_spec(
        self, request: pb.PollWorkflowTaskRequest | pb.PollActivityTaskRequest, kind: TaskKind
    ) -> SessionSpec:
        registered = await self._roster.find(request.worker_id)
        spec = registered or _unregistered(request.worker_id)
        return replace(
            spec,
            session_id=POLL_PREFIX + request.worker_id,
            namespace=request.namespace or spec.namespace,
            queue=request.task_queue,
            slots={TaskKind.WORKFLOW: 0, TaskKind.ACTIVITY: 0} | {kind: 1},
            by_time=True,
            sticky=False,
        )

    async def _stream_spec(self, request: pb.StreamTasksRequest) -> SessionSpec:
        registered = await self._roster.find(request.worker_id)
        spec = registered or _unregistered(request.worker_id)
        if request.workflow_types or request.activity_types:
            spec = replace(
                spec,
                workflow_types=frozenset(request.workflow_types),
                activity_types=frozenset(request.activity_types),
            )
        return replace(
            spec,
            namespace=request.namespace or spec.namespace,
            queue=request.task_queue,
            slots=slots_of(request.slots) if request.HasField("slots") else spec.slots,
            sticky=False,
        )


def _unregistered(worker_id: str) -> SessionSpec:
    """Returns what holds for a worker that is known by its name only: it takes every type."""
    count = limits.SLOTS_DEFAULT
    return SessionSpec(
        session_id=worker_id,
        identity=worker_id,
        namespace=limits.NAMESPACE_DEFAULT,
        queue=limits.TASK_QUEUE_DEFAULT,
        workflow_types=None,
        activity_types=None,
        slots={TaskKind.WORKFLOW: count, TaskKind.ACTIVITY: count},
    )


def _slots_or(slots: pb.WorkSlots, default: int) -> dict[TaskKind, int]:
    """Returns the slots of a worker, `default` of the kinds it does not name."""
    return {kind: count or default for kind, count in slots_of(slots).items()}


def _nothing(_draft: Any, _now_us: int) -> None:
    """Decides nothing: for waiters that only need a future's ends."""
