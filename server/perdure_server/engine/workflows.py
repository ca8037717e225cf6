"""Owns the use cases of WorkflowService, except starting (`starts`)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

from google.protobuf.message import Message

from perdure.v1 import explanation_pb2
from perdure.v1 import interaction_pb2 as asking
from perdure.v1 import workflow_service_pb2 as pb
from perdure_server.core import decide, limits
from perdure_server.core.draft import Draft
from perdure_server.core.errors import (
    DomainError,
    WorkflowNotFound,
)
from perdure_server.core.model import Run, RunStatus, TaskKind
from perdure_server.core.state import RunState
from perdure_server.core.times import from_duration
from perdure_server.engine.activities import Activities
from perdure_server.engine.asks import Asks
from perdure_server.engine.background import Background
from perdure_server.engine.calls import ToStatus, serve_session
from perdure_server.engine.explain import Explanations
from perdure_server.engine.joint_starts import JointStarts
from perdure_server.engine.lists import Lists
from perdure_server.engine.outcomes import Outcomes
from perdure_server.engine.ports import Clock
from perdure_server.engine.records import (
    WaitingReason,
    pending_activity,
    pending_timers,
    pending_workflow_task,
    status_of,
    workflow_of,
)
from perdure_server.engine.requests import (
    contended,
    in_namespace,
    missing,
)
from perdure_server.engine.resets import Resets
from perdure_server.engine.results import Results, Ticket, find_awaited, result_of
from perdure_server.engine.roster import Roster
from perdure_server.engine.runs import Runs
from perdure_server.engine.snapshots import read_snapshot, read_value
from perdure_server.engine.start_batches import StartBatches
from perdure_server.engine.starts import Starts
from perdure_server.engine.stimuli import answer_as, stimulus_of
from perdure_server.engine.updates import Updates
from perdure_server.store.contract import RunSummary, Store

Resolve = Callable[[Any], None]
Reject = Callable[[Exception], None]

_PENDING_MAX = 1_000


class Workflows:
    """The use cases of WorkflowService. Requests are checked and normal; answers are durable."""

    def __init__(
        self,
        store: Store,
        runs: Runs,
        *,
        starts: Starts,
        results: Results,
        outcomes: Outcomes,
        roster: Roster,
        clock: Clock,
        background: Background,
    ) -> None:
        self._store = store
        self._lists = Lists(store)
        self._explanations = Explanations(store, runs, roster=roster, clock=clock)
        self._runs = runs
        self._resets = Resets(store, runs, clock=clock)
        self._asks = Asks(store, runs, background=background)
        self.activities = Activities(store, runs, asks=self._asks, roster=roster, clock=clock)
        self._starts = starts
        self._results = results
        self._roster = roster
        self._clock = clock
        self._background = background
        self.updates = Updates(store, self._asks, outcomes)
        self.joint_starts = JointStarts(starts, self.updates)
        self.start_batches = StartBatches(starts)
        self._waits: dict[Ticket, Reject] = {}

    @property
    def waiting(self) -> int:
        """How many callers wait for a workflow to close."""
        return len(self._results)

    def close(self, error: DomainError) -> None:
        """Ends the calls that wait for a result or an answer."""
        self.updates.close(error)
        for reject in self._waits.values():
            reject(error)

    async def start(self, request: pb.StartWorkflowRequest) -> pb.StartWorkflowResponse:
        """Starts a workflow."""
        future = _future()
        waiter = stimulus_of(future, _nothing)
        self._starts.begin(request, waiter.resolve, waiter.reject)
        answer: pb.StartWorkflowResponse | bytes = await future
        return answer_as(pb.StartWorkflowResponse, answer)

    async def execute(self, request: pb.ExecuteWorkflowRequest) -> pb.ExecuteWorkflowResponse:
        """Starts a workflow and waits for its end, for at most `request.wait`."""
        started = await self.start(request.start)
        await self._wait(started.run_id, from_duration(request.wait))
        return pb.ExecuteWorkflowResponse(workflow=workflow_of(await self._last(started.run_id)))

    async def get(self, request: pb.GetWorkflowRequest) -> pb.GetWorkflowResponse:
        """Returns one run and what is pending in it."""
        summary = await self._meant(request)
        if summary.run.status.is_closed:
            return pb.GetWorkflowResponse(workflow=workflow_of(summary))
        return await self._roster.explain(partial(self._show_pending, summary))

    async def get_result(
        self, request: pb.GetWorkflowResultRequest
    ) -> pb.GetWorkflowResultResponse:
        """Waits for the end of a workflow, for at most `request.wait`."""
        run_id = await find_awaited(self._store, request)
        return await self._wait(run_id, from_duration(request.wait))

    async def list(self, request: pb.ListWorkflowsRequest) -> pb.ListWorkflowsResponse:
        """Lists runs, newest first."""
        return await self._lists.runs(request, self._clock.now_us())

    async def count(self, request: pb.CountWorkflowsRequest) -> pb.CountWorkflowsResponse:
        """Counts runs."""
        return await self._lists.count(request, self._clock.now_us())

    async def list_children(self, request: pb.ListChildrenRequest) -> pb.ListChildrenResponse:
        """Lists the children of one run. Raises WorkflowNotFound and InvalidPageToken."""
        return await self._lists.children(await self._find(request), request)

    async def explain(
        self, request: explanation_pb2.ExplainWorkflowRequest
    ) -> explanation_pb2.ExplainWorkflowResponse:
        """Says why nothing happens in a workflow."""
        return await self._explanations.explain(await self._meant(request))

    async def get_history(self, request: pb.GetWorkflowHistoryRequest) -> bytes:
        """Returns an encoded page of the history of one run."""
        return await self._lists.history(await self._find(request), request)

    async def get_snapshot(self, request: asking.GetSnapshotRequest) -> asking.GetSnapshotResponse:
        """Returns what a run published last. Raises WorkflowNotFound and SnapshotNotFound."""
        return await read_snapshot(self._store, await self._find(request))

    async def get_snapshot_value(
        self, request: asking.GetSnapshotValueRequest
    ) -> asking.GetSnapshotValueResponse:
        """Returns one value of it. Raises WorkflowNotFound and SnapshotNotFound."""
        return await read_value(self._store, await self._find(request), request.name)

    async def schedule_activity(
        self, request: pb.ScheduleActivityRequest
    ) -> pb.ScheduleActivityResponse:
        """Schedules an activity from outside the code of a run."""
        return await self.activities.schedule(request)

    async def get_activity(self, request: pb.GetActivityRequest) -> pb.GetActivityResponse:
        """Returns one activity, pending or ended."""
        return await self.activities.get(request)

    async def signal(self, request: pb.SignalWorkflowRequest) -> pb.SignalWorkflowResponse:
        """Delivers a signal."""
        future = _future()
        waiter = stimulus_of(future, _nothing)
        self.begin_signal(request, waiter.resolve, waiter.reject)
        answer: pb.SignalWorkflowResponse = await future
        return answer

    async def cancel(self, request: pb.CancelWorkflowRequest) -> pb.CancelWorkflowResponse:
        """Asks a workflow to end."""
        future = _future()
        waiter = stimulus_of(future, _nothing)
        self.begin_cancel(request, waiter.resolve, waiter.reject)
        answer: pb.CancelWorkflowResponse = await future
        return answer

    async def pause(self, request: pb.PauseWorkflowRequest) -> pb.PauseWorkflowResponse:
        """Holds a run back."""

        def decision(draft: Draft, now_us: int) -> Message:
            status = decide.decide_pause(draft, request, now_us)
            return pb.PauseWorkflowResponse(status=status_of(status))

        answer: pb.PauseWorkflowResponse = await self._asks.ask(
            request, decision, kind=pb.PauseWorkflowResponse
        )
        return answer

    async def unpause(self, request: pb.UnpauseWorkflowRequest) -> pb.UnpauseWorkflowResponse:
        """Lets a paused run go on."""

        def decision(draft: Draft, now_us: int) -> Message:
            status = decide.decide_unpause(draft, request, now_us)
            return pb.UnpauseWorkflowResponse(status=status_of(status))

        answer: pb.UnpauseWorkflowResponse = await self._asks.ask(
            request, decision, kind=pb.UnpauseWorkflowResponse
        )
        return answer

    async def continue_as_new(self, request: pb.ContinueAsNewRequest) -> pb.ContinueAsNewResponse:
        """Closes a run for another one with a new history."""
        next_run = self._runs.next_run()

        def decision(draft: Draft, now_us: int) -> Message:
            run = decide.decide_continue_as_new(draft, request, next_run=next_run, now_us=now_us)
            return pb.ContinueAsNewResponse(
                workflow_id=run.workflow_id, run_id=run.run_id, status=status_of(run.status)
            )

        answer: pb.ContinueAsNewResponse = await self._asks.ask(
            request, decision, kind=pb.ContinueAsNewResponse
        )
        return answer

    async def reset(self, request: pb.ResetWorkflowRequest) -> pb.ResetWorkflowResponse:
        """Begins a workflow again behind an event."""
        return await self._resets.reset(request)

    async def retry(self, request: pb.RetryFailedActivityRequest) -> pb.RetryFailedActivityResponse:
        """Tries the failed activity of a failed run again."""
        return await self._resets.retry(request)

    async def terminate(self, request: pb.TerminateWorkflowRequest) -> pb.TerminateWorkflowResponse:
        """Ends a run now."""

        def decision(draft: Draft, now_us: int) -> Message:
            decide.decide_terminate(draft, request.reason, now_us)
            return pb.TerminateWorkflowResponse()

        answer: pb.TerminateWorkflowResponse = await self._asks.ask(
            request, decision, kind=pb.TerminateWorkflowResponse
        )
        return answer

    def session(
        self, requests: AsyncIterator[pb.SessionRequest], to_status: ToStatus
    ) -> AsyncIterator[bytes]:
        """Serves one client session; yields encoded SessionResponses."""
        return serve_session(self, requests, to_status)

    def begin_start(
        self, request: pb.StartWorkflowRequest, resolve: Resolve, reject: Reject
    ) -> None:
        """Starts a workflow, without a task of its own."""
        self._starts.begin(
            request, lambda answer: resolve(answer_as(pb.StartWorkflowResponse, answer)), reject
        )

    def begin_execute(
        self,
        request: pb.StartWorkflowRequest,
        ticket: Ticket,
        resolve: Resolve,
        reject: Reject,
    ) -> None:
        """Starts a workflow and resolves with its GetWorkflowResultResponse."""

        def started(answer: pb.StartWorkflowResponse | bytes) -> None:
            response = answer_as(pb.StartWorkflowResponse, answer)
            if response.started and isinstance(answer, pb.StartWorkflowResponse):
                self._results.add(response.run_id, ticket, resolve)
            else:
                chain = pb.GetWorkflowResultRequest(
                    namespace=request.namespace,
                    workflow_id=response.workflow_id,
                    run_id=response.run_id,
                )
                self._find_and_wait(chain, ticket, resolve, reject)

        self._starts.begin(request, started, reject)

    def begin_result(
        self,
        request: pb.GetWorkflowResultRequest,
        ticket: Ticket,
        resolve: Resolve,
        reject: Reject,
    ) -> None:
        """Resolves with the end of a workflow."""
        in_namespace(request)
        run_id = request.run_id or self._runs.latest(request.namespace, request.workflow_id)
        if (
            run_id is not None
            and not self._runs.are_shared
            and self._runs.is_open(run_id, request.namespace, request.workflow_id)
        ):
            self._results.add(run_id, ticket, resolve)
            return

        self._find_and_wait(request, ticket, resolve, reject)

    def begin_signal(
        self, request: pb.SignalWorkflowRequest, resolve: Resolve, reject: Reject
    ) -> None:
        """Delivers a signal, without a task of its own."""

        def decision(draft: Draft, now_us: int) -> Message:
            return pb.SignalWorkflowResponse(event_seq=decide.decide_signal(draft, request, now_us))

        self._asks.begin(
            request, decision, kind=pb.SignalWorkflowResponse, resolve=resolve, reject=reject
        )

    def begin_cancel(
        self, request: pb.CancelWorkflowRequest, resolve: Resolve, reject: Reject
    ) -> None:
        """Asks a workflow to end, without a task of its own."""

        def decision(draft: Draft, now_us: int) -> Message:
            return pb.CancelWorkflowResponse(
                status=status_of(decide.decide_cancel(draft, request, now_us))
            )

        self._asks.begin(
            request, decision, kind=pb.CancelWorkflowResponse, resolve=resolve, reject=reject
        )

    def forget(self, ticket: Ticket) -> None:
        """Drops a result that is no longer waited for."""
        self._results.drop(ticket)

    async def _find(self, request: Any) -> str:
        in_namespace(request)
        run_id = await self._store.find_run(
            request.namespace, request.workflow_id, request.run_id or None
        )
        if run_id is None:
            raise missing(request)
        return run_id

    async def _meant(
        self, request: pb.GetWorkflowRequest | explanation_pb2.ExplainWorkflowRequest
    ) -> RunSummary:
        """Returns the run that a request means, as it was while it was meant.

        A run that another follows is no longer the latest from the instant it is closed.
        """
        run_id = await self._find(request)
        for _ in range(limits.STALE_RETRIES_MAX):
            summary = await self._summary(run_id)
            if request.run_id or not _may_be_followed(summary.run):
                return summary
            seen, run_id = run_id, await self._find(request)
            if run_id == seen:
                return summary
        raise contended(request)

    async def _summary(self, run_id: str) -> RunSummary:
        summary = await self._store.summarize_run(run_id)
        if summary is None:
            raise WorkflowNotFound(f"there is no run {run_id}")
        return summary

    async def _last(self, run_id: str) -> RunSummary:
        """Returns the last run of the chain that begins with `run_id`."""
        summary = await self._summary(run_id)
        while summary.run.next_run_id:
            summary = await self._summary(summary.run.next_run_id)
        return summary

    def _find_and_wait(
        self,
        request: pb.GetWorkflowResultRequest,
        ticket: Ticket,
        resolve: Resolve,
        reject: Reject,
    ) -> None:
        async def find_and_wait() -> None:
            try:
                run_id = await find_awaited(self._store, request)
            except DomainError as error:
                reject(error)
                return
            self._spawn_wait(run_id, ticket, resolve, reject)

        self._background.spawn(find_and_wait(), "find result")

    def _spawn_wait(self, run_id: str, ticket: Ticket, resolve: Resolve, reject: Reject) -> None:
        async def look() -> None:
            last_id = run_id
            while True:
                self._results.add(last_id, ticket, resolve)
                try:
                    summary = await self._last(last_id)
                except DomainError as error:
                    if self._results.remove(ticket):
                        reject(error)
                    return
                if summary.closed is None and summary.run.run_id == last_id:
                    return
                if not self._results.remove(ticket):
                    return
                if summary.closed is not None:
                    resolve(result_of(summary.run, summary.closed))
                    return
                last_id = summary.run.run_id

        self._background.spawn(look(), f"wait for {run_id}")

    async def _wait(self, run_id: str, wait_us: int) -> pb.GetWorkflowResultResponse:
        """Waits for the end of a chain of runs; answers with its status when the wait is over."""
        summary = await self._last(run_id)
        if summary.closed is not None:
            return result_of(summary.run, summary.closed)
        future: asyncio.Future[pb.GetWorkflowResultResponse] = _future()
        if wait_us:
            waiter, ticket = stimulus_of(future, _nothing), Ticket()
            # A caller that left as the server did is not there to look at the refusal.
            future.add_done_callback(_look)
            self._waits[ticket] = waiter.reject
            self._spawn_wait(summary.run.run_id, ticket, waiter.resolve, waiter.reject)
            try:
                await asyncio.wait([future], timeout=wait_us / 1e6)
            finally:
                self._results.drop(ticket)
                del self._waits[ticket]
        if future.done():
            return future.result()
        summary = await self._last(run_id)
        run = summary.run
        if summary.closed is not None:
            return result_of(run, summary.closed)
        return pb.GetWorkflowResultResponse(run_id=run.run_id, status=status_of(run.status))

    async def _show_pending(
        self, summary: RunSummary, reason: WaitingReason
    ) -> pb.GetWorkflowResponse:
        response = pb.GetWorkflowResponse(workflow=workflow_of(summary))
        seen: asyncio.Future[None] = _future()

        def visit(state: RunState | None) -> None:
            if state is not None:
                self._fill_pending(state, response, reason)
            if not seen.done():
                seen.set_result(None)

        self._runs.look(summary.run.run_id, visit)
        await seen
        return response

    def _fill_pending(
        self, state: RunState, response: pb.GetWorkflowResponse, reason: WaitingReason
    ) -> None:
        now_us = self._clock.now_us()
        pending = pending_workflow_task(state, reason, now_us)
        if pending is not None:
            response.pending_workflow_task.CopyFrom(pending)
        # Those of the code by number, then those from outside by theirs, which are negative inside.
        for seq in sorted(state.activities, key=lambda seq: (seq < 0, abs(seq)))[:_PENDING_MAX]:
            row, task = state.activities[seq], state.tasks.get((TaskKind.ACTIVITY, seq))
            info = pending_activity(state.run, row, task, reason=reason, now_us=now_us)
            response.pending_activities.append(info)
        response.pending_timers.extend(pending_timers(state, _PENDING_MAX))


def _may_be_followed(run: Run) -> bool:
    """Whether another run may have begun in the commit that closed this one."""
    return run.status is RunStatus.TERMINATED or bool(run.next_run_id)


def _future() -> asyncio.Future[Any]:
    return asyncio.get_running_loop().create_future()


def _look(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()


def _nothing(_draft: Draft, _now_us: int) -> None:
    """Decides nothing: for waiters that only need a future's ends."""
