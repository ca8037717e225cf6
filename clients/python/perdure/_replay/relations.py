"""Owns what a run has to do with other workflows: its children, and messages on their way."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from perdure._failures import child_error, external_error
from perdure._replay.children import (
    CancelOtherRequest,
    ChildRequest,
    MessageRequest,
    SignalRequest,
)
from perdure._replay.commands import Request, State, Step
from perdure._replay.source import caller_line
from perdure.errors import HistoryError
from perdure.v1.failure_pb2 import Failure, FailureKind
from perdure.v1.history_pb2 import ChildWorkflowFailed

if TYPE_CHECKING:
    from perdure._replay.run import Run

MESSAGE_ENDS: Final = {
    "signal_workflow_delivered": "signal_seq",
    "signal_workflow_failed": "signal_seq",
    "cancel_workflow_delivered": "cancel_seq",
    "cancel_workflow_failed": "cancel_seq",
}
"""The events that answer a message, and the field that has its number."""
_NEVER_STARTED: Final = ChildWorkflowFailed(
    failure=Failure(
        message="it was cancelled before it was started", kind=FailureKind.FAILURE_KIND_CANCELLED
    )
)


class Relations:
    """Children and messages of one run, by number while they are open."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._children: dict[int, ChildRequest] = {}
        self._messages: dict[tuple[str, int], MessageRequest] = {}
        self._made = 0

    def begin(self, child: ChildRequest) -> None:
        """Makes sure that a child can be referred to, before it is asked for."""
        self._run.journal.require_open(child.describe)
        self._made += 1
        child.future = self._run.loop.create_future()
        if not child.workflow_id:
            child.named = False
            child.options.workflow_id = f"{self._run.identity.run_id}-{self._made}"

    async def result(self, child: ChildRequest, result_type: Any) -> Any:
        """Waits for the end of a child; who stops waiting leaves the child as it is.

        Gives the result, raises ChildWorkflowError or PayloadError.
        """
        return self._read(child, await asyncio.shield(child.future), result_type)

    async def call(self, child: ChildRequest, result_type: Any) -> Any:
        """Waits for the end of a child, and cancels the child when the wait is cancelled."""
        try:
            end = await child.future
        except asyncio.CancelledError:
            self._drop(child)
            raise
        return self._read(child, end, result_type)

    def cancel(self, child: ChildRequest, reason: str) -> None:
        """Asks a child to end. One that has not left the code is not started at all."""
        self._run.journal.require_open(lambda: f"CancelChild ({child.workflow_id})")
        if child.state is State.CREATED:
            child.advance(Step.CANCEL)
            child.future.set_result(_NEVER_STARTED)
        elif child.state is State.ISSUED:
            child.cancel_due = reason
        elif child.state is State.RECORDED:
            self._ask_cancel(child, reason, caller_line(3))

    async def send(self, message: MessageRequest) -> None:
        """Sends a message and waits until it has been recorded there.

        Raises ExternalWorkflowError when there is no open run. What was sent stays sent when the
        wait is cancelled.
        """
        message.future = self._run.loop.create_future()
        self._run.journal.ask(message)
        try:
            answer = await message.future
        except asyncio.CancelledError:
            message.advance(Step.CANCEL)
            raise
        if "failure" in answer.DESCRIPTOR.fields_by_name:
            raise external_error(
                answer.failure, self._run.converter, workflow_id=message.workflow_id
            )

    def record(self, request: Request, kind: str, recorded: Any) -> None:
        """Notes that the history holds a command, and whether a child was started."""
        if isinstance(request, MessageRequest):
            self._messages[request.EVENT, request.seq] = request
        if not isinstance(request, ChildRequest):
            return
        request.adopt(recorded)
        self._children[request.seq] = request
        if kind == ChildRequest.REFUSAL:
            self.end_child(recorded)
        elif self._run.loop.closed:
            # Its policy says what becomes of it.
            return
        elif request.state is State.CANCELLING:
            self._ask_cancel(request, "", request.source)
        elif request.cancel_due is not None:
            self._ask_cancel(request, request.cancel_due, request.source)

    def end_child(self, end: Any) -> None:
        """Ends a child by one of its ending events."""
        child = self._children.pop(end.child_seq, None)
        if child is None:
            raise HistoryError(f"the history is damaged: child {end.child_seq} is not open")
        told = child.state is State.RECORDED
        child.advance(Step.RESOLVE)
        if told and not self._run.loop.closed:
            child.future.set_result(end)

    def end_message(self, kind: str, answer: Any) -> None:
        """Answers a message by one of the events that do."""
        seq = getattr(answer, MESSAGE_ENDS[kind])
        sent = SignalRequest.EVENT if kind.startswith("signal") else CancelOtherRequest.EVENT
        message = self._messages.pop((sent, seq), None)
        if message is None:
            raise HistoryError(f"the history is damaged: {kind} {seq} answers nothing")
        told = message.state is State.RECORDED
        message.advance(Step.RESOLVE)
        if told and message.future is not None:
            message.future.set_result(answer)

    def clear(self) -> None:
        """Lets go of everything."""
        self._children.clear()
        self._messages.clear()

    def _drop(self, child: ChildRequest) -> None:
        """Undoes a child: without a trace before it is sent, else by a cancellation.

        Until it is known that the child was started, its id may be that of a stranger.
        """
        started = child.state is State.RECORDED
        child.advance(Step.CANCEL)
        if started:
            self._ask_cancel(child, "", caller_line(3) or child.source)

    def _ask_cancel(self, child: ChildRequest, reason: str, source: str) -> None:
        cancel = CancelOtherRequest(child, source)
        cancel.reason = reason
        self._run.journal.ask(cancel)

    def _read(self, child: ChildRequest, end: Any, result_type: Any) -> Any:
        if "failure" in end.DESCRIPTOR.fields_by_name:
            raise child_error(
                end,
                self._run.converter,
                workflow_id=child.workflow_id,
                workflow_type=child.workflow_type,
            )
        result = end.result if end.HasField("result") else None
        return self._run.converter.decode(result, result_type)
