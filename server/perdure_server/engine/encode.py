"""Owns how tasks look on the wire.

Event frames are joined as they are stored; nothing is encoded twice.
"""

from __future__ import annotations

from collections.abc import Sequence

from perdure.v1.history_pb2 import ActivityScheduled, History
from perdure.v1.payload_pb2 import Payload
from perdure.v1.task_pb2 import ActivityTask, WorkflowTask
from perdure.v1.worker_service_pb2 import KeptTask
from perdure_server.core import limits
from perdure_server.core.frames import field
from perdure_server.core.model import Activity, EventRow, Run, Task, TaskKind
from perdure_server.core.times import to_timestamp
from perdure_server.core.token import TaskToken

_HISTORY_FIELD = WorkflowTask.HISTORY_FIELD_NUMBER


def workflow_task(
    run: Run, task: Task, events: Sequence[EventRow], *, previous_seq: int, whole: bool = False
) -> tuple[str, bytes]:
    """Returns the token and the encoded WorkflowTask that carries `events`.

    More than 1 MiB of history is cut and continued by page token, unless `whole` is set.
    """
    sent = list(events) if whole else first_mebibyte(events)
    token = TaskToken(
        run_id=run.run_id,
        kind=TaskKind.WORKFLOW,
        seq=0,
        attempt=task.attempt,
        lease=task.lease,
        seen_seq=events[-1].seq if events else run.history_length,
    ).encode()
    header = WorkflowTask(
        task_token=token,
        namespace=run.namespace,
        workflow_id=run.workflow_id,
        run_id=run.run_id,
        workflow_type=run.workflow_type,
        task_queue=run.task_queue,
        attempt=task.attempt,
        previous_seq=previous_seq,
        next_page_token=str(sent[-1].seq) if len(sent) < len(events) else "",
    ).SerializeToString()
    return token, header + field(_HISTORY_FIELD, b"".join([event.frame for event in sent]))


def activity_task(run: Run, activity: Activity, task: Task) -> tuple[str, bytes]:
    """Returns the token and the encoded ActivityTask."""
    scheduled = ActivityScheduled.FromString(activity.scheduled)
    token = TaskToken(
        run_id=run.run_id,
        kind=TaskKind.ACTIVITY,
        seq=task.seq,
        attempt=task.attempt,
        lease=task.lease,
    ).encode()
    message = ActivityTask(
        task_token=token,
        namespace=run.namespace,
        workflow_id=run.workflow_id,
        run_id=run.run_id,
        workflow_type=run.workflow_type,
        activity_seq=task.seq,
        name=activity.name,
        task_queue=task.queue,
        input=scheduled.input if scheduled.HasField("input") else None,
        options=scheduled.options,
        attempt=task.attempt,
        scheduled_at=to_timestamp(activity.scheduled_at_us),
        started_at=to_timestamp(task.leased_at_us or task.created_at_us),
        cancel_requested=activity.cancel_requested,
        headers=scheduled.headers,
        worker_identity=task.worker_identity,
    )
    if activity.heartbeat_details:
        message.heartbeat_details.CopyFrom(Payload.FromString(activity.heartbeat_details))
    return token, message.SerializeToString()


def kept_task(task: Task, events: Sequence[EventRow], *, seen_seq: int) -> KeptTask:
    """Returns how a workflow task goes on that its worker keeps, and has seen up to `seen_seq`."""
    token = TaskToken(
        run_id=task.run_id,
        kind=task.kind,
        seq=task.seq,
        attempt=task.attempt,
        lease=task.lease,
        seen_seq=seen_seq,
    )
    history = History.FromString(b"".join([event.frame for event in events]))
    return KeptTask(task_token=token.encode(), run_id=task.run_id, history=history)


def first_mebibyte(events: Sequence[EventRow]) -> list[EventRow]:
    """Returns so many of the first events as one message carries; at least one, if there is."""
    size = 0
    for count, event in enumerate(events):
        size += len(event.frame)
        if size > limits.TASK_HISTORY_BYTES_MAX and count:
            return list(events[:count])
    return list(events)
