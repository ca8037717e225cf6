"""Owns the first run of a chain: what a start request becomes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from perdure.v1.history_pb2 import WorkflowStarted
from perdure.v1.workflow_pb2 import ConflictPolicy, ReusePolicy
from perdure.v1.workflow_service_pb2 import StartWorkflowRequest
from perdure_server.core.attributes import label
from perdure_server.core.draft import Draft, NextRun
from perdure_server.core.errors import WorkflowAlreadyExists
from perdure_server.core.limits import NAMESPACE_DEFAULT, PRIORITY_DEFAULT, TASK_QUEUE_DEFAULT
from perdure_server.core.model import Run, RunStatus
from perdure_server.core.opening import open_run
from perdure_server.core.retry import resolve_policy
from perdure_server.core.times import to_timestamp


def normalize_start(request: StartWorkflowRequest) -> StartWorkflowRequest:
    """Returns the request with the defaults that a run needs: itself, or a changed copy."""
    if request.namespace and request.task_queue and request.priority:
        return request
    normal = StartWorkflowRequest()
    normal.CopyFrom(request)
    normal.namespace = request.namespace or NAMESPACE_DEFAULT
    normal.task_queue = request.task_queue or TASK_QUEUE_DEFAULT
    normal.priority = request.priority or PRIORITY_DEFAULT
    return normal


class TakenId(StrEnum):
    """What a start does whose workflow id has a run already."""

    START_NEXT = "START_NEXT"
    """The latest run is closed: another follows it."""
    USE_EXISTING = "USE_EXISTING"
    """The open run is the answer."""
    TERMINATE_EXISTING = "TERMINATE_EXISTING"
    """The open run is terminated, and another follows it in the same commit."""


def decide_taken_id(request: StartWorkflowRequest, latest: Run) -> TakenId:
    """Returns what the policies of a start say about the latest run of its workflow id.

    Raises `WorkflowAlreadyExists` when they forbid another.
    """
    if latest.status.is_closed:
        if not _may_reuse(request.reuse_policy, latest.status):
            raise WorkflowAlreadyExists(
                f"workflow {request.workflow_id!r} exists and is {latest.status}; choose another"
                " id or a reuse policy"
            )
        return TakenId.START_NEXT
    match request.conflict_policy:
        case ConflictPolicy.CONFLICT_POLICY_USE_EXISTING:
            return TakenId.USE_EXISTING
        case ConflictPolicy.CONFLICT_POLICY_TERMINATE_EXISTING:
            return TakenId.TERMINATE_EXISTING
    raise WorkflowAlreadyExists(
        f"workflow {request.workflow_id!r} is open as run {latest.run_id}; choose another id or a"
        " conflict policy"
    )


@dataclass(slots=True, frozen=True)
class Occasion:
    """The due time of a schedule that a workflow is started for."""

    schedule_name: str
    due_us: int


def decide_start(
    request: StartWorkflowRequest,
    *,
    new: NextRun,
    generation: int,
    now_us: int,
    occasion: Occasion | None = None,
) -> Draft:
    """Returns the draft of a new run.

    The request is checked and normal; without a workflow id it takes the run's.
    """
    draft = Draft.new(
        Run(
            run_id=new.run_id,
            namespace=request.namespace,
            workflow_id=request.workflow_id or new.run_id,
            workflow_type=request.workflow_type,
            task_queue=request.task_queue,
            generation=generation,
            status=RunStatus.PENDING,
            version=0,
            attempt=1,
            priority=request.priority,
            created_at_us=now_us,
            updated_at_us=now_us,
        )
    )
    started = _started(request, new, now_us)
    if occasion is not None:
        started.schedule_name = occasion.schedule_name
        started.schedule_due_at.CopyFrom(to_timestamp(occasion.due_us))
    open_run(draft, started, now_us)
    return draft


def _may_reuse(policy: ReusePolicy, status: RunStatus) -> bool:
    if policy == ReusePolicy.REUSE_POLICY_ALLOW_DUPLICATE_FAILED_ONLY:
        return status is not RunStatus.COMPLETED
    return policy == ReusePolicy.REUSE_POLICY_ALLOW_DUPLICATE


def _started(request: StartWorkflowRequest, new: NextRun, now_us: int) -> WorkflowStarted:
    started = WorkflowStarted(
        workflow_type=request.workflow_type,
        task_queue=request.task_queue,
        seed=new.seed,
        attempt=1,
        first_run_id=new.run_id,
        execution_started_at=to_timestamp(now_us),
        priority=request.priority,
        headers=request.headers,
    )
    if request.HasField("input"):
        started.input.CopyFrom(request.input)
    label(started, request)
    if request.HasField("retry_policy"):
        started.retry_policy.CopyFrom(resolve_policy(request.retry_policy))
    if request.HasField("execution_timeout"):
        started.execution_timeout.CopyFrom(request.execution_timeout)
    if request.HasField("run_timeout"):
        started.run_timeout.CopyFrom(request.run_timeout)
    if request.HasField("start_delay"):
        started.start_delay.CopyFrom(request.start_delay)
    return started
