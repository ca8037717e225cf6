"""Owns what runs tell one another, on both sides.

A signal or a cancellation of another workflow is recorded where the code asked for it, travels as a
message, and what became of it is told back. `deliver` is the receiver's decision, `give_back` the
sender's when there is no receiver.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure.v1.failure_pb2 import Failure, FailureKind
from perdure.v1.history_pb2 import (
    CancelWorkflowDelivered,
    CancelWorkflowFailed,
    CancelWorkflowInitiated,
    ChildWorkflowStarted,
    HistoryEvent,
    SignalWorkflowDelivered,
    SignalWorkflowFailed,
    SignalWorkflowInitiated,
)
from perdure.v1.workflow_service_pb2 import CancelWorkflowRequest, SignalWorkflowRequest
from perdure_server.core import cancellation, child, closing, fields, signal
from perdure_server.core.batch import is_new
from perdure_server.core.errors import WorkflowClosed
from perdure_server.core.model import Message, MessageKind

if TYPE_CHECKING:
    from perdure.v1.command_pb2 import CancelChild, SignalWorkflow
    from perdure_server.core.batch import CommandBatch
    from perdure_server.core.draft import Draft


def send_signal(batch: CommandBatch, command: SignalWorkflow) -> None:
    """Sends a signal to another workflow. A repetition writes nothing."""
    fields.require_id("workflow_id", command.workflow_id)
    fields.check_id("run_id", command.run_id)
    fields.require_id("signal_name", command.signal_name)
    fields.check_payload("payload", command.payload)
    run = batch.draft.run
    if command.seq and not is_new(command.seq, run.signal_seq_max):
        return
    run.signal_seq_max += 1
    event = SignalWorkflowInitiated(
        signal_seq=run.signal_seq_max,
        workflow_id=command.workflow_id,
        run_id=command.run_id,
        signal_name=command.signal_name,
    )
    if command.HasField("payload"):
        event.payload.CopyFrom(command.payload)
    batch.draft.append(batch.now_us, signal_workflow_initiated=event)
    batch.draft.send(
        MessageKind.SIGNAL, command.workflow_id, command.run_id, event.SerializeToString()
    )


def send_cancel(batch: CommandBatch, command: CancelChild) -> None:
    """Asks another workflow to end. A repetition writes nothing."""
    fields.require_id("workflow_id", command.workflow_id)
    fields.check_id("run_id", command.run_id)
    fields.check_reason("reason", command.reason)
    run = batch.draft.run
    if command.seq and not is_new(command.seq, run.cancel_seq_max):
        return
    target = f"{command.workflow_id}\0{command.run_id}"
    if not command.seq and batch.cancels_again(target, 0):
        return
    run.cancel_seq_max += 1
    event = CancelWorkflowInitiated(
        cancel_seq=run.cancel_seq_max,
        workflow_id=command.workflow_id,
        run_id=command.run_id,
        reason=command.reason,
    )
    batch.draft.append(batch.now_us, cancel_workflow_initiated=event)
    batch.draft.send(
        MessageKind.CANCEL, command.workflow_id, command.run_id, event.SerializeToString()
    )


def deliver(draft: Draft, message: Message, now_us: int) -> None:
    """Records a message in the run that it is for.

    Raises `WorkflowClosed` when the sender is to hear that the run takes none, and when another run
    goes on for it and is to have the message; what a closed run need not know is dropped.
    """
    if not message.run_id and draft.run.next_run_id:
        _require_open(draft)
    match message.kind:
        case MessageKind.SIGNAL:
            _require_open(draft)
            _deliver_signal(draft, message, now_us)
        case MessageKind.CANCEL if message.body:
            _require_open(draft)
            _deliver_cancel(draft, message, now_us)
        case MessageKind.CANCEL if child.is_child_of(draft.run, message.sender_run_id):
            request = CancelWorkflowRequest(reason=child.PARENT_CLOSED)
            cancellation.request_cancel(draft, request, now_us)
        case MessageKind.TERMINATE if child.is_child_of(draft.run, message.sender_run_id):
            closing.terminate(draft, child.PARENT_CLOSED, now_us)
        case MessageKind.CHILD_CLOSED if not draft.run.status.is_closed:
            child.end(draft, HistoryEvent.FromString(message.body), now_us)
        case MessageKind.ANSWER if not draft.run.status.is_closed:
            _append(draft, HistoryEvent.FromString(message.body), now_us)
        case MessageKind.ADOPT:
            started = ChildWorkflowStarted.FromString(message.body)
            child.adopt(draft, message.sender_run_id, started)


def wants_answer(message: Message) -> bool:
    """Whether the sender of a message is to hear what became of it."""
    return message.kind in {MessageKind.SIGNAL, MessageKind.ADOPT} or (
        message.kind is MessageKind.CANCEL and bool(message.body)
    )


def give_back(
    draft: Draft,
    message: Message,
    reason: str,
    now_us: int,
    *,
    ending: HistoryEvent | None = None,
) -> None:
    """Records in the sender that a message found no open run.

    `ending` is how a child ended before the sender could call for it.
    """
    if draft.run.status.is_closed:
        return
    if message.kind is MessageKind.ADOPT:
        lost = child.lost(ChildWorkflowStarted.FromString(message.body))
        child.end(draft, ending or lost, now_us)
        return
    failure = Failure(
        message=reason,
        kind=FailureKind.FAILURE_KIND_APPLICATION,
        type="WORKFLOW_NOT_FOUND",
        non_retryable=True,
    )
    if message.kind is MessageKind.SIGNAL:
        seq = SignalWorkflowInitiated.FromString(message.body).signal_seq
        failed = SignalWorkflowFailed(signal_seq=seq, failure=failure)
        draft.append(now_us, signal_workflow_failed=failed)
    else:
        seq = CancelWorkflowInitiated.FromString(message.body).cancel_seq
        refused = CancelWorkflowFailed(cancel_seq=seq, failure=failure)
        draft.append(now_us, cancel_workflow_failed=refused)


def _deliver_signal(draft: Draft, message: Message, now_us: int) -> None:
    sent = SignalWorkflowInitiated.FromString(message.body)
    request = SignalWorkflowRequest(signal_name=sent.signal_name)
    if sent.HasField("payload"):
        request.payload.CopyFrom(sent.payload)
    signal.receive(draft, request, now_us)
    delivered = SignalWorkflowDelivered(signal_seq=sent.signal_seq)
    _answer(draft, message, signal_workflow_delivered=delivered)


def _deliver_cancel(draft: Draft, message: Message, now_us: int) -> None:
    sent = CancelWorkflowInitiated.FromString(message.body)
    cancellation.request_cancel(draft, CancelWorkflowRequest(reason=sent.reason), now_us)
    delivered = CancelWorkflowDelivered(cancel_seq=sent.cancel_seq)
    _answer(draft, message, cancel_workflow_delivered=delivered)


def _answer(draft: Draft, message: Message, **event: Any) -> None:
    body = HistoryEvent(**event).SerializeToString()
    draft.send(MessageKind.ANSWER, "", message.sender_run_id, body)


def _append(draft: Draft, event: HistoryEvent, now_us: int) -> None:
    kind = event.WhichOneof("event")
    assert kind is not None
    draft.append(now_us, **{kind: getattr(event, kind)})


def _require_open(draft: Draft) -> None:
    run = draft.run
    if run.status.is_closed:
        raise WorkflowClosed(
            f"run {run.run_id} of workflow {run.workflow_id} is closed ({run.status})"
        )
