"""Owns the handle of a workflow: what an application says to it and reads of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import Any, Final, Generic, TypeVar, overload
from uuid import uuid4

from perdure._asking_calls import AskingCalls
from perdure._connection import LONG_POLL_S, Connection
from perdure._failures import workflow_error
from perdure._operations import PendingActivity
from perdure._replay.continuation import NOTHING
from perdure._search import from_search_attributes
from perdure._signal import Signal
from perdure._times import instant_of, to_datetime, to_duration, to_seconds
from perdure.errors import UnavailableError
from perdure.interceptors import ClientCall, Proceed
from perdure.v1 import watch_service_pb2 as watching
from perdure.v1 import workflow_pb2
from perdure.v1 import workflow_service_pb2 as pb
from perdure.v1.history_pb2 import History, HistoryEvent

R = TypeVar("R")
T = TypeVar("T")
V = TypeVar("V")

_LONG_POLL: Final = timedelta(seconds=LONG_POLL_S)
_CHILDREN_PAGE: Final = 100
_LONG_POLL_TIMEOUT_S: Final = LONG_POLL_S + 15.0


class WorkflowStatus(StrEnum):
    """Where a run stands; the last six are terminal."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    TERMINATED = "TERMINATED"
    TIMED_OUT = "TIMED_OUT"
    CONTINUED_AS_NEW = "CONTINUED_AS_NEW"


_CLOSED: Final = frozenset(list(WorkflowStatus)[3:])


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowDescription:
    """One run as it stood when it was read; `message` holds all that the server said."""

    workflow_id: str
    run_id: str
    workflow_type: str
    task_queue: str
    status: WorkflowStatus
    attempt: int
    history_length: int
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    cancel_requested: bool
    search_attributes: dict[str, Any]
    summary: str
    details: str
    message: workflow_pb2.Workflow = field(repr=False)

    @classmethod
    def of(cls, message: workflow_pb2.Workflow) -> WorkflowDescription:
        """Reads the message of a run."""
        return cls(
            workflow_id=message.workflow_id,
            run_id=message.run_id,
            workflow_type=message.workflow_type,
            task_queue=message.task_queue,
            status=status_of(message.status),
            attempt=message.attempt,
            history_length=message.history_length,
            created_at=to_datetime(message.created_at),
            started_at=instant_of(message, "started_at"),
            completed_at=instant_of(message, "completed_at"),
            cancel_requested=message.cancel_requested,
            search_attributes=from_search_attributes(message.search_attributes),
            summary=message.summary,
            details=message.details,
            message=message,
        )


class WorkflowHandle(AskingCalls, Generic[R]):
    """One workflow, or one run of it when `run_id` is set. Making one asks nothing of the server.

    Attributes:
        workflow_id: The workflow.
        run_id: The run that a start made, or that was asked for; empty means the latest.

    What is read is of that run. What is said, a signal or a cancellation, reaches the latest run of
    the workflow, which may have continued as new, unless the handle was asked for with a run.
    """

    def __init__(
        self,
        connection: Connection,
        workflow_id: str,
        *,
        run_id: str = "",
        follows: bool = False,
        result_type: Any = Any,
    ) -> None:
        self.workflow_id = workflow_id
        self.run_id = run_id
        self._listener = "" if follows else run_id
        self._connection = connection
        self._result_type = result_type

    def __repr__(self) -> str:
        run = f", run_id={self.run_id!r}" if self.run_id else ""
        return f"WorkflowHandle({self.workflow_id!r}{run})"

    async def result(self, *, timeout: timedelta | None = None) -> R:
        """Waits until the workflow has closed, over its retries, and returns its result.

        Raises the `WorkflowError` of another end, TimeoutError after `timeout`.
        """
        async with asyncio.timeout(to_seconds("timeout", timeout)):
            result: R = await self._intercepted("result", self._result)
        return result

    @overload
    async def signal(self, signal: Signal[V], value: V, /, *, request_id: str = "") -> None: ...
    @overload
    async def signal(self, signal: Signal[None], /, *, request_id: str = "") -> None: ...
    @overload
    async def signal(self, signal: str, value: Any = ..., /, *, request_id: str = "") -> None: ...
    async def signal(self, signal: Any, value: Any = None, /, *, request_id: str = "") -> None:
        """Delivers a signal. It is durable and ordered when the call returns.

        Raises WorkflowNotFoundError, WorkflowClosedError.
        """
        name = signal if isinstance(signal, str) else signal.name
        last = partial(self._signal, request_id or uuid4().hex)
        await self._intercepted("signal", last, name=name, arguments=(value,))

    async def _signal(self, request_id: str, call: ClientCall) -> None:
        connection = self._connection
        request = pb.SignalWorkflowRequest(
            namespace=connection.namespace,
            workflow_id=self.workflow_id,
            run_id=self._listener,
            signal_name=call.name,
            payload=connection.converter.encode(call.arguments[0]),
            request_id=request_id,
        )
        if connection.uses_session:
            await connection.in_session(pb.SessionCall(signal=request), pb.SignalWorkflowResponse)
        else:
            await connection.unary(
                "WorkflowService/SignalWorkflow", request, pb.SignalWorkflowResponse
            )

    async def cancel(
        self, reason: str = "", *, deadline: timedelta | None = None, request_id: str = ""
    ) -> WorkflowStatus:
        """Asks the workflow to end; its code may compensate first. `deadline` then terminates it.

        Raises WorkflowNotFoundError, also for a closed run.
        """
        request = pb.CancelWorkflowRequest(
            namespace=self._connection.namespace,
            workflow_id=self.workflow_id,
            run_id=self._listener,
            reason=reason,
            request_id=request_id or uuid4().hex,
            deadline=to_duration("deadline", deadline),
        )
        status: WorkflowStatus = await self._intercepted("cancel", self._cancel, request=request)
        return status

    async def _cancel(self, call: ClientCall) -> WorkflowStatus:
        connection = self._connection
        if connection.uses_session:
            in_session = pb.SessionCall(cancel=call.request)
            response = await connection.in_session(in_session, pb.CancelWorkflowResponse)
        else:
            response = await connection.unary(
                "WorkflowService/CancelWorkflow", call.request, pb.CancelWorkflowResponse
            )
        return status_of(response.status)

    async def terminate(self, reason: str = "", *, request_id: str = "") -> None:
        """Ends the run now, without a word to its code. Raises WorkflowNotFoundError."""
        request = pb.TerminateWorkflowRequest(
            namespace=self._connection.namespace,
            workflow_id=self.workflow_id,
            run_id=self._listener,
            reason=reason,
            request_id=request_id or uuid4().hex,
        )
        method = "WorkflowService/TerminateWorkflow"
        await self._made("terminate", method, request, lambda _: None)

    async def pause(
        self, reason: str = "", *, identity: str = "", request_id: str = ""
    ) -> WorkflowStatus:
        """Holds back what no worker has yet. Raises WorkflowNotFoundError and WorkflowClosedError.

        What happens meanwhile is recorded; timers and timeouts run on.
        """
        request = pb.PauseWorkflowRequest(
            namespace=self._connection.namespace,
            workflow_id=self.workflow_id,
            run_id=self._listener,
            reason=reason,
            identity=identity,
            request_id=request_id or uuid4().hex,
        )
        method = "WorkflowService/PauseWorkflow"
        return await self._made("pause", method, request, lambda answer: status_of(answer.status))

    async def unpause(
        self, reason: str = "", *, identity: str = "", request_id: str = ""
    ) -> WorkflowStatus:
        """Lets a paused run go on. Raises WorkflowNotFoundError and WorkflowClosedError."""
        request = pb.UnpauseWorkflowRequest(
            namespace=self._connection.namespace,
            workflow_id=self.workflow_id,
            run_id=self._listener,
            reason=reason,
            identity=identity,
            request_id=request_id or uuid4().hex,
        )
        method = "WorkflowService/UnpauseWorkflow"
        return await self._made("unpause", method, request, lambda answer: status_of(answer.status))

    async def continue_as_new(self, value: Any = NOTHING, *, request_id: str = "") -> str:
        """Ends the run and goes on with a new history, without a word to the code.

        Gives the id of the new run. Raises WorkflowNotFoundError and WorkflowClosedError.
        """
        connection = self._connection
        request = pb.ContinueAsNewRequest(
            namespace=connection.namespace,
            workflow_id=self.workflow_id,
            run_id=self._listener,
            input=None if value is NOTHING else connection.converter.encode(value),
            request_id=request_id or uuid4().hex,
        )
        method = "WorkflowService/ContinueAsNew"
        return await self._made("continue_as_new", method, request, lambda answer: answer.run_id)

    async def reset(
        self,
        event_seq: int,
        reason: str = "",
        *,
        drop_signals: bool = False,
        identity: str = "",
        request_id: str = "",
    ) -> WorkflowHandle[R]:
        """Begins again behind an event of the history; a run that is open is terminated.

        Signals that came later are delivered again, unless `drop_signals`. Gives the handle of the
        new run. Raises WorkflowNotFoundError, InvalidRequestError, CannotResetError.
        """
        request = pb.ResetWorkflowRequest(
            namespace=self._connection.namespace,
            workflow_id=self.workflow_id,
            run_id=self.run_id,
            event_seq=event_seq,
            reason=reason,
            drop_signals=drop_signals,
            identity=identity,
            request_id=request_id or uuid4().hex,
        )
        return await self._made("reset", "WorkflowService/ResetWorkflow", request, self._begun)

    async def retry_failed_activity(
        self, requested_by: str, reason: str, *, request_id: str = ""
    ) -> WorkflowHandle[R]:
        """Tries the activity again that failed last in a failed run, in a new run.

        Gives its handle. Raises WorkflowNotFoundError, WorkflowNotFailedError, CannotResetError.
        """
        request = pb.RetryFailedActivityRequest(
            namespace=self._connection.namespace,
            workflow_id=self.workflow_id,
            run_id=self.run_id,
            requested_by=requested_by,
            reason=reason,
            request_id=request_id or uuid4().hex,
        )
        method = "WorkflowService/RetryFailedActivity"
        return await self._made("retry_failed_activity", method, request, self._begun)

    def activity(self, seq: int, *, external: bool = False) -> PendingActivity:
        """Returns the pending activity of a number, to pause, reset or change it.

        Those that were scheduled from outside the code are `external` and have numbers of their
        own.
        """
        number = -seq if external else seq
        return PendingActivity(self._connection, self.workflow_id, self.run_id, number)

    async def describe(self) -> WorkflowDescription:
        """Reads the run as it stands. Raises WorkflowNotFoundError."""
        request = pb.GetWorkflowRequest(
            namespace=self._connection.namespace, workflow_id=self.workflow_id, run_id=self.run_id
        )
        method = "WorkflowService/GetWorkflow"
        return await self._made("describe", method, request, _described)

    async def history(self) -> History:
        """Reads the whole history of the run. Raises WorkflowNotFoundError."""
        request = pb.GetWorkflowHistoryRequest(
            namespace=self._connection.namespace, workflow_id=self.workflow_id, run_id=self.run_id
        )
        history: History = await self._intercepted("history", self._history, request=request)
        return history

    async def children(self) -> AsyncGenerator[WorkflowDescription, None]:
        """Yields the children that the run started, oldest first. Raises WorkflowNotFoundError."""
        request = pb.ListChildrenRequest(
            namespace=self._connection.namespace,
            workflow_id=self.workflow_id,
            run_id=self.run_id,
            page_size=_CHILDREN_PAGE,
        )
        call = ClientCall(operation="children", workflow_id=self.workflow_id, request=request)
        async with aclosing(self._connection.yielded(call, self._children)) as children:
            async for child in children:
                yield child

    async def watch(self, *, after_seq: int = 0) -> AsyncGenerator[HistoryEvent, None]:
        """Yields the events of the run: those that stand, then new ones, to the closing event.

        Goes on over a lost connection. Raises WorkflowNotFoundError.
        """
        request = watching.WatchWorkflowRequest(
            namespace=self._connection.namespace,
            workflow_id=self.workflow_id,
            run_id=self.run_id,
            after_seq=after_seq,
        )
        call = ClientCall(operation="watch", workflow_id=self.workflow_id, request=request)
        async with aclosing(self._connection.yielded(call, self._watch)) as events:
            async for event in events:
                yield event

    def outcome(self, response: pb.GetWorkflowResultResponse) -> R:
        """Returns the result that an answer holds, or raises what it holds instead."""
        converter = self._connection.converter
        status = status_of(response.status)
        if status is WorkflowStatus.COMPLETED:
            payload = response.result if response.HasField("result") else None
            result: R = converter.decode(payload, self._result_type)
            return result
        raise workflow_error(
            status.value,
            response.failure,
            converter,
            workflow_id=self.workflow_id,
            run_id=response.run_id,
        )

    def _begun(self, answer: Any) -> WorkflowHandle[R]:
        """Returns the handle of the run that an answer names."""
        return WorkflowHandle(
            self._connection, self.workflow_id, run_id=answer.run_id, result_type=self._result_type
        )

    async def _intercepted(
        self,
        operation: str,
        last: Proceed[ClientCall],
        *,
        name: str = "",
        arguments: tuple[Any, ...] = (),
        request: Any = None,
    ) -> Any:
        """Makes a call through the interceptors of the client."""
        call = ClientCall(
            operation=operation,
            workflow_id=self.workflow_id,
            name=name,
            arguments=arguments,
            request=request,
        )
        return await self._connection.intercepted(call, last)

    async def _made(self, operation: str, method: str, request: Any, read: Callable[[Any], T]) -> T:
        """Sends a request through the interceptors and returns what `read` makes of the answer."""
        call = ClientCall(operation=operation, workflow_id=self.workflow_id, request=request)
        return await self._connection.made(call, method, read)

    async def _history(self, call: ClientCall) -> History:
        history = History()
        pages = self._connection.pages("WorkflowService/GetWorkflowHistory", call.request)
        async for page in pages:
            history.events.extend(page.history.events)
            # A retry between two pages must not change the run that is read.
            call.request.run_id = page.run_id
        return history

    async def _children(self, call: ClientCall) -> AsyncGenerator[WorkflowDescription, None]:
        pages = self._connection.pages("WorkflowService/ListChildren", call.request)
        async with aclosing(pages):
            async for page in pages:
                for message in page.children:
                    yield WorkflowDescription.of(message)

    async def _watch(self, call: ClientCall) -> AsyncGenerator[HistoryEvent, None]:
        async with aclosing(self._follow(call.request)) as responses:
            async for response in responses:
                # The first message of a stream only tells where it begins.
                if response.HasField("event"):
                    yield response.event

    async def _result(self, _: ClientCall) -> R:
        return self.outcome(await self._await_result())

    async def _follow(
        self, request: watching.WatchWorkflowRequest
    ) -> AsyncGenerator[watching.WatchWorkflowResponse, None]:
        """Yields what the streams of one run say, each beginning where the last one broke."""
        patience = self._connection.patience()
        while True:
            responses = self._connection.stream(
                "WatchService/WatchWorkflow", request, watching.WatchWorkflowResponse
            )
            try:
                async with aclosing(responses):
                    async for response in responses:
                        yield response
                        request.run_id = response.run_id
                        request.after_seq = max(request.after_seq, response.event.seq)
                        patience = self._connection.patience()
            except UnavailableError as error:
                await patience.after(error)
            else:
                return

    async def _await_result(self) -> pb.GetWorkflowResultResponse:
        connection = self._connection
        request = pb.GetWorkflowResultRequest(
            namespace=connection.namespace, workflow_id=self.workflow_id, run_id=self.run_id
        )
        if connection.uses_session:
            call = pb.SessionCall(result=request)
            return await connection.in_session(call, pb.GetWorkflowResultResponse)
        request.wait.FromTimedelta(_LONG_POLL)
        while True:
            response = await connection.unary(
                "WorkflowService/GetWorkflowResult",
                request,
                pb.GetWorkflowResultResponse,
                timeout_s=_LONG_POLL_TIMEOUT_S,
            )
            if status_of(response.status) in _CLOSED:
                return response
            # The runs before the one that is waited for now may be deleted meanwhile.
            request.run_id = response.run_id


def _described(answer: Any) -> WorkflowDescription:
    return WorkflowDescription.of(answer.workflow)


def status_of(status: workflow_pb2.WorkflowStatus) -> WorkflowStatus:
    """Returns the status that a message names."""
    name = workflow_pb2.WorkflowStatus.Name(status)
    return WorkflowStatus(name.removeprefix("WORKFLOW_STATUS_"))
