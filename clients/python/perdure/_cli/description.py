"""Owns how one run and what is pending in it look to a person."""

from __future__ import annotations

from google.protobuf.message import Message

from perdure._cli import show
from perdure.v1.activity_pb2 import Activity
from perdure.v1.workflow_pb2 import PendingTimer, PendingWorkflowTask, Workflow
from perdure.v1.workflow_service_pb2 import GetWorkflowResponse


def print_description(answer: GetWorkflowResponse) -> None:
    """Prints a run, then its pending workflow task, activities and timers."""
    show.print_fields(_run_fields(answer.workflow))
    if answer.HasField("pending_workflow_task"):
        print("\nPending workflow task")
        show.print_fields(_task_fields(answer.pending_workflow_task))
    if answer.pending_activities:
        print("\nPending activities")
        headings = ("SEQ", "NAME", "STATUS", "ATTEMPT", "WORKER", "NEXT ATTEMPT", "NOTE")
        show.print_table(headings, map(_activity_cells, answer.pending_activities))
    if answer.pending_timers:
        print("\nPending timers")
        show.print_table(("SEQ", "FIRES AT"), map(_timer_cells, answer.pending_timers))


def _run_fields(run: Workflow) -> list[tuple[str, str]]:
    return [
        ("workflow", run.workflow_id),
        ("run", run.run_id),
        ("type", run.workflow_type),
        ("task queue", run.task_queue),
        ("status", show.enum_text(run, "status")),
        ("attempt", str(run.attempt)),
        ("events", str(run.history_length)),
        ("created", show.time_text(run.created_at)),
        ("started", show.time_text(run.started_at)),
        ("completed", show.time_text(run.completed_at)),
        ("cancel requested", "yes" if run.cancel_requested else ""),
        ("previous run", run.previous_run_id),
        ("next run", run.next_run_id),
        ("summary", run.summary),
        ("details", run.details),
        ("search attributes", _text(run, "search_attributes")),
        ("memo", _text(run, "memo")),
        ("input", _text(run, "input")),
        ("result", _text(run, "result")),
        ("failure", run.failure.message),
    ]


def _task_fields(task: PendingWorkflowTask) -> list[tuple[str, str]]:
    return [
        ("scheduled", show.time_text(task.scheduled_at)),
        ("started", show.time_text(task.started_at)),
        ("attempt", str(task.attempt)),
        ("worker", task.worker_identity),
        ("waits because", task.waiting_reason),
        ("next attempt", show.time_text(task.next_attempt_at)),
        ("last failure", task.last_failure.message),
    ]


def _activity_cells(activity: Activity) -> tuple[str, ...]:
    return (
        f"{activity.seq} (external)" if activity.external else str(activity.seq),
        activity.name,
        show.enum_text(activity, "status"),
        str(activity.attempt),
        activity.worker_identity,
        show.time_text(activity.next_attempt_at),
        activity.waiting_reason or activity.last_failure.message,
    )


def _timer_cells(timer: PendingTimer) -> tuple[str, str]:
    return str(timer.seq), show.time_text(timer.fire_at)


def _text(message: Message, field: str) -> str:
    return show.gist(getattr(message, field)) if message.HasField(field) else ""
