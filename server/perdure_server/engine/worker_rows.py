"""Owns the form in which servers tell each other of workers: sessions in, rows and messages out."""

from __future__ import annotations

from perdure.v1.worker_service_pb2 import WorkerInfo, WorkSlots
from perdure_server.core import limits
from perdure_server.core.model import Task, TaskKind, Worker
from perdure_server.core.times import to_timestamp
from perdure_server.engine.session import Session
from perdure_server.engine.sessions import SessionSpec
from perdure_server.store.contract import ListedWorker


def row_of(
    worker: SessionSpec | Session, server_id: str, *, since_us: int, heard_at_us: int
) -> Worker:
    """Returns the row of a worker; `since_us` tells when it registered or connected."""
    info = WorkerInfo(
        identity=worker.identity,
        workflow_types=sorted(worker.workflow_types or ()),
        activity_types=sorted(worker.activity_types or ()),
        slots=WorkSlots(
            workflow_tasks=worker.slots[TaskKind.WORKFLOW],
            activity_tasks=worker.slots[TaskKind.ACTIVITY],
        ),
        registered_at=to_timestamp(since_us),
        draining=isinstance(worker, Session) and worker.draining,
    )
    return Worker(
        worker_id=worker.session_id,
        server_id=server_id,
        namespace=worker.namespace,
        queue=worker.queue,
        info=info.SerializeToString(),
        any_type=worker.workflow_types is None,
        heard_at_us=heard_at_us,
        until_us=heard_at_us + limits.WORKER_FORGOTTEN_US,
    )


def spec_of(row: Worker) -> SessionSpec:
    """Returns what a registered worker said of itself."""
    info = WorkerInfo.FromString(row.info)
    return SessionSpec(
        session_id=row.worker_id,
        identity=info.identity,
        namespace=row.namespace,
        queue=row.queue,
        workflow_types=frozenset(info.workflow_types),
        activity_types=frozenset(info.activity_types),
        slots={
            TaskKind.WORKFLOW: info.slots.workflow_tasks,
            TaskKind.ACTIVITY: info.slots.activity_tasks,
        },
    )


def info_of(listed: ListedWorker) -> WorkerInfo:
    """Returns a worker as lists show it."""
    row, info = listed.worker, WorkerInfo.FromString(listed.worker.info)
    info.worker_id = row.worker_id
    info.namespace = row.namespace
    info.task_queue = row.queue
    info.active_tasks = listed.active_tasks
    info.last_heartbeat_at.CopyFrom(to_timestamp(row.heard_at_us))
    return info


def has_type(row: Worker, task: Task) -> bool:
    """Whether a worker takes tasks of this type."""
    if row.any_type:
        return True
    info = WorkerInfo.FromString(row.info)
    is_workflow = task.kind is TaskKind.WORKFLOW
    return task.type in (info.workflow_types if is_workflow else info.activity_types)
