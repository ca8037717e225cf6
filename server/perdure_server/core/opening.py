"""Owns how a run begins: its first event, and the timers that bound it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.v1.history_pb2 import WorkflowStarted
from perdure_server.core.attributes import encoded
from perdure_server.core.model import Run, RunStatus, Timer, TimerKind
from perdure_server.core.times import from_duration, from_timestamp, to_duration

if TYPE_CHECKING:
    from perdure_server.core.draft import Draft, NextRun


def open_run(draft: Draft, started: WorkflowStarted, now_us: int) -> None:
    """Writes the first event and the timers of a new run.

    The run timeout counts from when the code may first run, the execution timeout from the start of
    the chain.
    """
    draft.run.attributes = encoded(started.search_attributes)
    draft.append(now_us, workflow_started=started)
    run_id, created_at_us = draft.run.run_id, draft.run.created_at_us
    if run_us := from_duration(started.run_timeout):
        due_us = created_at_us + from_duration(started.start_delay) + run_us
        draft.put_timer(Timer(run_id, TimerKind.RUN_TIMEOUT, 0, due_us))
    if execution_us := from_duration(started.execution_timeout):
        due_us = from_timestamp(started.execution_started_at) + execution_us
        draft.put_timer(Timer(run_id, TimerKind.EXECUTION_TIMEOUT, 0, due_us))


def open_next_run(draft: Draft, delay_us: int, *, next_run: NextRun, now_us: int) -> None:
    """Adds the run that tries again after `delay_us`, and names it in the run that failed."""
    run = draft.run
    now_us = draft.instant(now_us)
    follower = draft.new(
        Run(
            run_id=next_run.run_id,
            namespace=run.namespace,
            workflow_id=run.workflow_id,
            workflow_type=run.workflow_type,
            task_queue=run.task_queue,
            generation=run.generation + 1,
            status=RunStatus.PENDING,
            version=0,
            attempt=run.attempt + 1,
            priority=run.priority,
            created_at_us=now_us,
            updated_at_us=now_us,
            previous_run_id=run.run_id,
            parent_run_id=run.parent_run_id,
            parent_seq=run.parent_seq,
        )
    )
    started = WorkflowStarted()
    started.CopyFrom(draft.started())
    started.seed = next_run.seed
    started.attempt = run.attempt + 1
    started.previous_run_id = run.run_id
    started.search_attributes.ParseFromString(run.attributes)
    started.start_delay.CopyFrom(to_duration(delay_us))
    open_run(follower, started, now_us)
    follower.settle(now_us, next_run)
    run.next_run_id = next_run.run_id
    draft.next_runs.append(follower)
