"""Owns pauses: a paused run records everything, and gives no worker anything new."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.v1.history_pb2 import WorkflowPaused, WorkflowUnpaused
from perdure_server.core.model import RunStatus
from perdure_server.core.workflow_task import released

if TYPE_CHECKING:
    from perdure.v1.workflow_service_pb2 import PauseWorkflowRequest, UnpauseWorkflowRequest
    from perdure_server.core.draft import Draft


def pause(draft: Draft, request: PauseWorkflowRequest, now_us: int) -> None:
    """Keeps from workers what none of them has; what they have goes on. A paused run stays so."""
    if draft.run.status is RunStatus.PAUSED:
        return
    event = WorkflowPaused(reason=request.reason, identity=request.identity)
    draft.append(now_us, workflow_paused=event)
    draft.run.pause = event.SerializeToString()
    for task in draft.tasks():
        if task.session_id is None:
            draft.fence(task.kind, task.seq, task.lease)
            draft.put_task(task)


def unpause(draft: Draft, request: UnpauseWorkflowRequest, now_us: int) -> None:
    """Gives workers what was kept from them. A run that is not paused stays as it is."""
    if draft.run.status is not RunStatus.PAUSED:
        return
    event = WorkflowUnpaused(reason=request.reason, identity=request.identity)
    draft.append(now_us, workflow_unpaused=event)
    draft.run.pause = b""
    for task in draft.tasks():
        if task.is_held_back:
            draft.put_task(released(task, task.ready_at_us))
