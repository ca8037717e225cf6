"""Owns children: how a run starts them, learns of their end, and ends them with itself."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from perdure.v1.failure_pb2 import Failure, FailureKind
from perdure.v1.history_pb2 import (
    ChildWorkflowCompleted,
    ChildWorkflowFailed,
    ChildWorkflowStarted,
    HistoryEvent,
    ParentLink,
    WorkflowStarted,
)
from perdure.v1.workflow_pb2 import ParentClosePolicy, ReusePolicy
from perdure_server.core import fields
from perdure_server.core.attributes import check_labels, label
from perdure_server.core.batch import is_new
from perdure_server.core.ending import failure_of
from perdure_server.core.errors import WorkflowClosed
from perdure_server.core.frames import parse_frame
from perdure_server.core.model import Child, MessageKind, Run, RunStatus
from perdure_server.core.opening import open_run
from perdure_server.core.retry import resolve_policy
from perdure_server.core.times import to_timestamp

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from google.protobuf.duration_pb2 import Duration

    from perdure.v1.command_pb2 import StartChildWorkflow
    from perdure_server.core.batch import CommandBatch
    from perdure_server.core.draft import Draft

ID_IN_USE: Final = "ID_IN_USE"
"""The failure type of a child that was never started."""
_TERMINATE: Final = "TERMINATE"
_REQUEST_CANCEL: Final = "REQUEST_CANCEL"
PARENT_CLOSED: Final = "the parent workflow closed"
"""Why a child ends with its parent."""


class ChildPhase(StrEnum):
    """Where a child stands in its parent."""

    OPEN = "OPEN"
    CLOSED = "CLOSED"


CHILD_TRANSITIONS: Final[dict[tuple[ChildPhase | None, str], ChildPhase]] = {
    (None, "child_workflow_started"): ChildPhase.OPEN,
    (None, "child_workflow_failed"): ChildPhase.CLOSED,
    (ChildPhase.OPEN, "child_workflow_completed"): ChildPhase.CLOSED,
    (ChildPhase.OPEN, "child_workflow_failed"): ChildPhase.CLOSED,
}
"""Where an event leads. A second end of a child has no row, and is not written."""


def start(batch: CommandBatch, command: StartChildWorkflow) -> None:
    """Starts a child, or records that its workflow id is in use. A repetition writes nothing."""
    _check(command)
    draft, run = batch.draft, batch.draft.run
    if command.seq:
        if not is_new(command.seq, run.child_seq_max):
            return
    elif batch.has_child(command.workflow_id):
        return
    run.child_seq_max += 1
    seq = run.child_seq_max
    workflow_id = command.workflow_id or f"{run.run_id}-{seq}"
    latest = _latest(batch, workflow_id)
    if latest is not None and not _may_follow(latest, command.reuse_policy):
        _record_in_use(batch, command, seq, workflow_id)
        return
    started = _open_child(batch, command, seq=seq, workflow_id=workflow_id, latest=latest)
    event = ChildWorkflowStarted(
        child_seq=seq,
        child_workflow_id=workflow_id,
        child_run_id=started.run_id,
        workflow_type=command.workflow_type,
        parent_close_policy=_policy(command),
    )
    draft.append(batch.now_us, child_workflow_started=event)
    batch.put_child(_row(batch, command, seq=seq, workflow_id=workflow_id, child=started.run_id))


def end(draft: Draft, event: HistoryEvent, now_us: int) -> None:
    """Records the end of a child, as the child tells it; the first one counts."""
    kind = event.WhichOneof("event")
    assert kind is not None
    told = getattr(event, kind)
    child = draft.child(told.child_seq)
    phase = ChildPhase.CLOSED if child is None or child.closed else ChildPhase.OPEN
    if child is None or (phase, kind) not in CHILD_TRANSITIONS:
        return
    draft.append(now_us, **{kind: told})
    draft.put_child(replace(child, closed=True))


def tell_parent(draft: Draft, **event: Any) -> None:
    """Tells the parent how a run closed, unless another run of the same workflow goes on for it."""
    run = draft.run
    if not run.parent_run_id or run.next_run_id:
        return
    parent = draft.started().parent
    body = _end_of(run, HistoryEvent(**event)).SerializeToString()
    draft.send(MessageKind.CHILD_CLOSED, parent.workflow_id, run.parent_run_id, body)


def call_for(draft: Draft, children: Sequence[Child]) -> None:
    """Tells the children that are open to whom they belong: the run of a draft takes their place.

    It begins with the history of the run that started them, and has their rows.
    """
    for child in children:
        if not child.closed:
            started = ChildWorkflowStarted(
                child_seq=child.seq,
                child_workflow_id=child.workflow_id,
                child_run_id=child.child_run_id,
                workflow_type=child.workflow_type,
            )
            draft.send(MessageKind.ADOPT, child.workflow_id, "", started.SerializeToString())


def adopt(draft: Draft, parent_run_id: str, started: ChildWorkflowStarted) -> None:
    """Has an open child belong to the run that takes the place of its parent.

    Of several such runs it is the last one's, which has the greatest id: at two servers the call of
    the other one may come later. Raises `WorkflowClosed` with the end that the run is to be told,
    when the child has ended.
    """
    run = draft.run
    if draft.started().first_run_id != started.child_run_id:
        raise WorkflowClosed("the workflow id has another workflow by now", lost(started))
    if run.status.is_closed:
        *_, last = draft.recent()
        raise WorkflowClosed(f"run {run.run_id} has closed", _end_of(run, parse_frame(last.frame)))
    if parent_run_id > run.parent_run_id:
        run.parent_run_id = parent_run_id
        draft.touch()


def lost(started: ChildWorkflowStarted) -> HistoryEvent:
    """Returns the end of a child of which nothing is known any more."""
    failure = Failure(
        message=f"the run {started.child_run_id} has ended, and how is not known any more",
        kind=FailureKind.FAILURE_KIND_APPLICATION,
        type="WORKFLOW_NOT_FOUND",
        non_retryable=True,
    )
    failed = ChildWorkflowFailed(
        child_seq=started.child_seq,
        child_workflow_id=started.child_workflow_id,
        child_run_id=started.child_run_id,
        workflow_type=started.workflow_type,
        failure=failure,
    )
    return HistoryEvent(child_workflow_failed=failed)


def end_children(draft: Draft, children: Sequence[Child]) -> None:
    """Tells the children that are open what becomes of them, now that their parent has closed."""
    kinds = {_TERMINATE: MessageKind.TERMINATE, _REQUEST_CANCEL: MessageKind.CANCEL}
    for child in children:
        if not child.closed and child.policy in kinds:
            draft.send(kinds[child.policy], child.workflow_id, "", b"")


def is_child_of(run: Run, parent_run_id: str) -> bool:
    """Whether a run may be ended by its parent's end: an open one of the workflow it started."""
    return run.parent_run_id == parent_run_id and not run.status.is_closed


def _end_of(run: Run, closing: HistoryEvent) -> HistoryEvent:
    """Returns how a closed run ended, as its parent records it."""
    if closing.WhichOneof("event") == "workflow_completed":
        completed = ChildWorkflowCompleted(
            child_seq=run.parent_seq,
            child_workflow_id=run.workflow_id,
            child_run_id=run.run_id,
        )
        if closing.workflow_completed.HasField("result"):
            completed.result.CopyFrom(closing.workflow_completed.result)
        return HistoryEvent(child_workflow_completed=completed)
    failed = ChildWorkflowFailed(
        child_seq=run.parent_seq,
        child_workflow_id=run.workflow_id,
        child_run_id=run.run_id,
        failure=failure_of(closing),
        status=f"WORKFLOW_STATUS_{run.status.value}",
        workflow_type=run.workflow_type,
    )
    return HistoryEvent(child_workflow_failed=failed)


def _check(command: StartChildWorkflow) -> None:
    fields.require_id("workflow_type", command.workflow_type)
    if command.seq == 0:
        fields.require_id("workflow_id", command.workflow_id)
    else:
        fields.check_id("workflow_id", command.workflow_id)
    fields.check_id("task_queue", command.task_queue)
    fields.check_payload("input", command.input)
    fields.check_headers("headers", command.headers)
    fields.check_priority("priority", command.priority)
    check_labels(command)
    fields.check_retry_policy("retry_policy", command.retry_policy)
    for name in ("execution_timeout", "run_timeout"):
        duration: Duration = getattr(command, name)
        fields.check_duration(name, duration)


def _latest(batch: CommandBatch, workflow_id: str) -> Run | None:
    """Returns the latest run of a workflow id, as far as it is known to be taken."""
    draft = batch.draft
    if workflow_id == draft.run.workflow_id:
        return draft.run
    return batch.opened.get(workflow_id) or draft.known.get(workflow_id)


def _may_follow(latest: Run, policy: ReusePolicy) -> bool:
    if not latest.status.is_closed:
        return False
    if policy == ReusePolicy.REUSE_POLICY_ALLOW_DUPLICATE_FAILED_ONLY:
        return latest.status is not RunStatus.COMPLETED
    return policy == ReusePolicy.REUSE_POLICY_ALLOW_DUPLICATE


def _record_in_use(
    batch: CommandBatch, command: StartChildWorkflow, seq: int, workflow_id: str
) -> None:
    event = ChildWorkflowFailed(
        child_seq=seq,
        child_workflow_id=workflow_id,
        failure=Failure(
            message=f"the workflow id {workflow_id!r} is in use; choose another or a reuse policy",
            kind=FailureKind.FAILURE_KIND_APPLICATION,
            type=ID_IN_USE,
            non_retryable=True,
        ),
        workflow_type=command.workflow_type,
    )
    batch.draft.append(batch.now_us, child_workflow_failed=event)
    batch.put_child(_row(batch, command, seq=seq, workflow_id=workflow_id, child=""))


def _row(
    batch: CommandBatch, command: StartChildWorkflow, *, seq: int, workflow_id: str, child: str
) -> Child:
    policy = ParentClosePolicy.Name(_policy(command)).removeprefix("PARENT_CLOSE_POLICY_")
    return Child(
        run_id=batch.draft.run.run_id,
        seq=seq,
        workflow_id=workflow_id,
        workflow_type=command.workflow_type,
        child_run_id=child,
        policy=policy,
        closed=not child,
    )


def _policy(command: StartChildWorkflow) -> ParentClosePolicy:
    return command.parent_close_policy or ParentClosePolicy.PARENT_CLOSE_POLICY_TERMINATE


def _open_child(
    batch: CommandBatch,
    command: StartChildWorkflow,
    *,
    seq: int,
    workflow_id: str,
    latest: Run | None,
) -> Run:
    """Adds the child's first run to the commit and returns it."""
    parent, new = batch.draft.run, next(batch.new_runs)
    now_us = batch.draft.instant(batch.now_us)
    child = batch.draft.new(
        Run(
            run_id=new.run_id,
            namespace=parent.namespace,
            workflow_id=workflow_id,
            workflow_type=command.workflow_type,
            task_queue=command.task_queue or parent.task_queue,
            generation=1 if latest is None else latest.generation + 1,
            status=RunStatus.PENDING,
            version=0,
            attempt=1,
            priority=command.priority or parent.priority,
            created_at_us=now_us,
            updated_at_us=now_us,
            parent_run_id=parent.run_id,
            parent_seq=seq,
            parent_workflow_id=parent.workflow_id,
        )
    )
    started = WorkflowStarted(
        workflow_type=command.workflow_type,
        task_queue=child.run.task_queue,
        seed=new.seed,
        attempt=1,
        first_run_id=new.run_id,
        execution_started_at=to_timestamp(now_us),
        priority=child.run.priority,
        headers=command.headers,
        parent=ParentLink(workflow_id=parent.workflow_id, run_id=parent.run_id, child_seq=seq),
    )
    for name in ("input", "execution_timeout", "run_timeout"):
        if command.HasField(name):
            getattr(started, name).CopyFrom(getattr(command, name))
    label(started, command)
    if command.HasField("retry_policy"):
        started.retry_policy.CopyFrom(resolve_policy(command.retry_policy))
    open_run(child, started, now_us)
    child.settle(now_us, new)
    batch.draft.next_runs.append(child)
    batch.opened[workflow_id] = child.run
    return child.run
