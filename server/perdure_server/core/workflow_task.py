"""Owns the workflow task of a run: how its lease ends, and when it is ready again.

A run has at most one, made by `Draft.settle` and removed when a report is accepted.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from perdure_server.core.limits import TASK_LOSSES_BEFORE_BACKOFF, WORKFLOW_TASK_POLL_LEASE_US
from perdure_server.core.model import Task, TaskKind
from perdure_server.core.retry import task_backoff_us
from perdure_server.core.run import TASK_ACCEPTED, TASK_WANTED, apply

if TYPE_CHECKING:
    from perdure.v1.failure_pb2 import Failure
    from perdure_server.core.draft import Draft


def accept(draft: Draft, task: Task, seen_seq: int, now_us: int) -> None:
    """Removes a task whose report is accepted, and notes what the code has seen."""
    run = draft.run
    # A token without the answers to reports that kept the task may be older than what they show.
    note_seen(draft, max(seen_seq, run.seen_seq), now_us)
    run.accepted_lease = run.task_lease = task.lease
    run.task_failure = b""
    draft.drop_task(TaskKind.WORKFLOW, 0)


def go_on(draft: Draft, task: Task, now_us: int) -> None:
    """Keeps a task whose worker reports while it works on; a lease by time begins anew."""
    run = draft.run
    note_seen(draft, run.seen_seq, now_us)
    if run.task_failure:
        run.task_failure, run.accepted_lease = b"", 0
    if task.lease_until_us is not None:
        until_us = now_us + WORKFLOW_TASK_POLL_LEASE_US
        draft.put_task(replace(task, lease_until_us=until_us))


def note_seen(draft: Draft, seen_seq: int, now_us: int) -> None:
    """Notes what the code has seen, which shows that it was run."""
    apply(draft.run, TASK_ACCEPTED, seen_seq, at_us=now_us)


def want(draft: Draft, now_us: int) -> None:
    """Has the code run again although it caused the last event itself."""
    apply(draft.run, TASK_WANTED, draft.run.history_length, at_us=now_us)


def fail(draft: Draft, task: Task, failure: Failure, now_us: int) -> None:
    """Puts a task back, with back-off, whose code could not be run."""
    draft.run.accepted_lease = task.lease
    draft.run.task_failure = failure.SerializeToString()
    _retry(draft, task, now_us + task_backoff_us(task.attempt))


def hand_back(draft: Draft, task: Task, now_us: int) -> None:
    """Puts a task back that no worker ever had; it does not count as an attempt."""
    draft.put_task(released(task, now_us))


def put_away(draft: Draft, task: Task, now_us: int) -> None:
    """Takes the task of a paused run from its worker, whose report is accepted."""
    draft.run.accepted_lease = task.lease
    hand_back(draft, task, now_us)


def lose(draft: Draft, task: Task, now_us: int) -> None:
    """Puts a task back whose worker was lost; the first losses, mostly restarts, cost no wait."""
    losses = task.attempt - TASK_LOSSES_BEFORE_BACKOFF + 1
    _retry(draft, task, now_us + (task_backoff_us(losses) if losses > 0 else 0))


def expire(draft: Draft, task: Task, now_us: int) -> None:
    """Puts a task back whose lease ran out, and tells the holder."""
    draft.notify(task, "LEASE_LOST")
    lose(draft, task, now_us)


def released(task: Task, ready_at_us: int) -> Task:
    """Returns a task, of either kind, that any worker may have from `ready_at_us` on."""
    return replace(
        task,
        ready_at_us=ready_at_us,
        session_id=None,
        worker_identity="",
        leased_at_us=None,
        lease_until_us=None,
    )


def _retry(draft: Draft, task: Task, ready_at_us: int) -> None:
    draft.put_task(replace(released(task, ready_at_us), attempt=task.attempt + 1))
