"""Owns the making of rows and changesets for tests that need some and do not care which."""

from __future__ import annotations

from dataclasses import replace

from perdure_server.core.changeset import Changeset, RunChange
from perdure_server.core.frames import parse_frame
from perdure_server.core.model import (
    Activity,
    Child,
    EventRow,
    Message,
    MessageKind,
    RequestRecord,
    Run,
    RunStatus,
    Task,
    TaskKind,
    Timer,
    TimerKind,
)

CLOSINGS = frozenset(
    {
        "workflow_completed",
        "workflow_failed",
        "workflow_cancelled",
        "workflow_terminated",
        "workflow_timed_out",
        "workflow_continued_as_new",
    }
)
"""The kinds of events that close a run, as the contract says and not as the code does."""
START_US = 1_700_000_000_000_000
"""The instant at which histories of tests begin."""


def a_run(number: int = 1, **columns: object) -> Run:
    """Returns a new run, the `number`-th of its test, with the given columns."""
    run = Run(
        run_id=f"run-{number:06}",
        namespace="default",
        workflow_id=f"order-{number}",
        workflow_type="checkout",
        task_queue="shop",
        generation=1,
        status=RunStatus.PENDING,
        version=1,
        attempt=1,
        priority=3,
        created_at_us=START_US,
        updated_at_us=START_US,
    )
    return replace(run, **columns)  # type: ignore[arg-type]


def an_event(seq: int, *, kind: str = "signal_received", size: int = 20) -> EventRow:
    """Returns an event whose frame has `size` bytes and tells its number."""
    return EventRow(seq, kind, START_US + seq, f"{seq:08}".encode().ljust(size, b"."))


def an_activity(run: Run, seq: int = 1, **columns: object) -> Activity:
    """Returns a pending activity of a run."""
    activity = Activity(run.run_id, seq, "charge", 1, b"scheduled", START_US)
    return replace(activity, **columns)  # type: ignore[arg-type]


def a_task(
    run: Run, seq: int = 0, *, kind: TaskKind = TaskKind.WORKFLOW, **columns: object
) -> Task:
    """Returns a ready task of a run."""
    type_ = run.workflow_type if kind is TaskKind.WORKFLOW else "charge"
    task = Task(
        run_id=run.run_id,
        kind=kind,
        seq=seq,
        namespace=run.namespace,
        queue=run.task_queue,
        type=type_,
        priority=run.priority,
        ready_at_us=START_US,
        created_at_us=START_US,
    )
    return replace(task, **columns)  # type: ignore[arg-type]


def a_timer(run: Run, seq: int = 1, *, kind: TimerKind = TimerKind.USER, due_us: int = 1) -> Timer:
    """Returns a timer of a run, due `due_us` after the start."""
    return Timer(run.run_id, kind, seq, START_US + due_us)


def a_child(run: Run, seq: int = 1, **columns: object) -> Child:
    """Returns a child of a run."""
    child = Child(run.run_id, seq, f"child-{seq}", "refund", f"run-{900_000 + seq}", "TERMINATE")
    return replace(child, **columns)  # type: ignore[arg-type]


def a_message(sender: Run, seq: int = 1, **columns: object) -> Message:
    """Returns a message that a run sends to the workflow `order-1`."""
    message = Message(
        sender.run_id, seq, MessageKind.SIGNAL, "default", "order-1", "", b"body", START_US
    )
    return replace(message, **columns)  # type: ignore[arg-type]


def a_request(run: Run, request_id: str = "r-1", *, rpc: str = "StartWorkflow") -> RequestRecord:
    """Returns the record of an answered request about a run's workflow."""
    return RequestRecord(
        run.namespace, run.workflow_id, rpc, request_id, b"print", b"answer", START_US
    )


def starting(run: Run, *tasks: Task) -> RunChange:
    """Returns the change that inserts a run with its first event and some tasks."""
    event = an_event(1, kind="workflow_started")
    return change_of(replace(run, history_length=1), *tasks, expected_version=0, events=[event])


def change_of(
    run: Run, *tasks: Task, expected_version: int, events: list[EventRow] | None = None
) -> RunChange:
    """Returns a change of a run that appends events and puts tasks."""
    change = RunChange(run, expected_version, events=events or [])
    change.put_tasks = {(task.kind, task.seq): task for task in tasks}
    return change


def stepping(run: Run, *tasks: Task, **columns: object) -> RunChange:
    """Returns the change that takes a run to its next version and appends one event."""
    seq = run.history_length + 1
    after = replace(run, version=run.version + 1, history_length=seq, **columns)  # type: ignore[arg-type]
    return change_of(after, *tasks, expected_version=run.version, events=[an_event(seq)])


def alone(change: RunChange, *requests: RequestRecord) -> Changeset:
    """Returns the changeset of one change."""
    return Changeset([change], list(requests))


def is_external(row: EventRow) -> bool:
    """Whether an event is of an activity that was scheduled from outside."""
    event = getattr(parse_frame(row.frame), row.kind)
    return row.kind.startswith("activity_") and event.activity_seq < 0
