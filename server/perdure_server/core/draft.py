"""Owns `Draft`: what decisions change in one run, before it is committed.

A draft lies over a `RunState` or over another draft: reads fall through, writes stay. A decision
that may fail is made on a `fork`, which is absorbed when it succeeded and dropped when it did not.
What is decided is not this module's business, except what follows from every decision alike:
`settle`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from perdure.v1.history_pb2 import HistoryEvent, WorkflowStarted
from perdure_server.core import closing
from perdure_server.core.attributes import changed_keys
from perdure_server.core.changeset import RunChange, TaskFence
from perdure_server.core.frames import event_frame, parse_frame
from perdure_server.core.layers import Rows, write_rows
from perdure_server.core.model import (
    DETACHED,
    Activity,
    Child,
    EventRow,
    Message,
    MessageKind,
    Run,
    RunStatus,
    Snapshot,
    Task,
    TaskKind,
    Timer,
    TimerKind,
    Update,
)
from perdure_server.core.run import apply
from perdure_server.core.state import RunState
from perdure_server.core.times import from_duration, to_timestamp

_DISPATCHED = frozenset({RunStatus.PENDING, RunStatus.RUNNING})


@dataclass(slots=True, frozen=True)
class CancelNotice:
    """Tells the session that holds a task to stop.

    `reason` is CANCEL_REQUESTED, WORKFLOW_CLOSED or LEASE_LOST.
    """

    kind: TaskKind
    seq: int
    lease: int
    attempt: int
    session_id: str
    reason: str

    @classmethod
    def of(cls, task: Task, reason: str) -> CancelNotice | None:
        """Returns the notice to the holder of a task; None when no session holds it."""
        if task.session_id is None or task.session_id == DETACHED:
            return None
        return cls(task.kind, task.seq, task.lease, task.attempt, task.session_id, reason)


@dataclass(slots=True, frozen=True)
class NextRun:
    """The id and the seed of a run that a decision may create."""

    run_id: str
    seed: int


class Draft:
    """What one or more decisions change in one run.

    `run` is a private copy that decisions change. `next_runs` holds drafts of runs that are created
    by the same commit. `known` has the latest runs of workflow ids that turned out to be taken.
    """

    __slots__ = (
        "_below",
        "_change",
        "_started",
        "_touched",
        "events",
        "fences",
        "known",
        "messages",
        "next_runs",
        "notices",
        "rows",
        "run",
        "snapshot",
    )

    def __init__(self, base: RunState | Draft) -> None:
        self._below = base
        self._started: WorkflowStarted | None = None
        self._change: RunChange | None = None
        self._touched = False
        self.run: Run = base.run.copy()
        self.rows: Rows = Rows(base.rows if isinstance(base, Draft) else base)
        self.fences: dict[tuple[TaskKind, int], TaskFence] = {}
        self.events: list[EventRow] = []
        self.notices: list[CancelNotice] = []
        self.next_runs: list[Draft] = []
        self.messages: list[Message] = []
        self.snapshot: Snapshot | None = None
        self.known: Mapping[str, Run] = base.known if isinstance(base, Draft) else {}

    @classmethod
    def new(cls, run: Run) -> Draft:
        """Returns a draft of a run that the store does not have yet."""
        return cls(RunState(run=run, started=b""))

    @property
    def changed(self) -> bool:
        """Whether there is anything to commit."""
        return bool(self.events or self.rows or self.snapshot or self._touched)

    def touch(self) -> None:
        """Makes the commit depend on the version of an open run, whatever else changes."""
        self._touched = not self.run.status.is_closed

    def fork(self) -> Draft:
        """Returns a draft over this one, to be absorbed or dropped."""
        return Draft(self)

    def absorb(self, child: Draft) -> None:
        """Takes over what a fork of this draft changed.

        Nothing else may have changed it meanwhile.
        """
        self.run = child.run
        self.events += child.events
        self.notices += child.notices
        self.next_runs += child.next_runs
        self.messages += child.messages
        self.snapshot = child.snapshot or self.snapshot
        self._touched |= child._touched
        self.fences.update(child.fences)
        if child.run.status.is_closed:
            self._drop_everything()
            self.rows.updates.own.update(child.rows.updates.own)
        else:
            self.rows.absorb(child.rows)

    def started(self) -> WorkflowStarted:
        """Returns event 1."""
        if self._started is None:
            below = self._below
            self._started = (
                below.started()
                if isinstance(below, Draft)
                else parse_frame(below.started).workflow_started
            )
        return self._started

    def recent(self) -> Iterator[EventRow]:
        """Yields the events at hand: those after the stored `seen_seq`, and the new ones."""
        yield from self._below.recent() if isinstance(self._below, Draft) else self._below.tail
        yield from self.events

    def unseen_signals(self) -> list[tuple[int, str]]:
        """Returns number and name of every signal that no accepted workflow task covered."""
        return [
            (row.seq, parse_frame(row.frame).signal_received.signal_name)
            for row in self.recent()
            if row.kind == "signal_received" and row.seq > self.run.seen_seq
        ]

    def activity(self, seq: int) -> Activity | None:
        """Returns a pending activity, or None."""
        return self.rows.activities.get(seq)

    def task(self, kind: TaskKind, seq: int) -> Task | None:
        """Returns a task, or None."""
        return self.rows.tasks.get((kind, seq))

    def timer(self, kind: TimerKind, seq: int) -> Timer | None:
        """Returns a timer, or None."""
        return self.rows.timers.get((kind, seq))

    def tasks(self) -> list[Task]:
        """Returns every task of the run."""
        return [task for _, task in self.rows.tasks.items()]

    def child(self, seq: int) -> Child | None:
        """Returns a child, or None."""
        return self.rows.children.get(seq)

    def children(self) -> list[Child]:
        """Returns every child of the run, by number."""
        return [child for _, child in sorted(self.rows.children.items())]

    def update(self, seq: int) -> Update | None:
        """Returns an update that the code has not answered, or None."""
        update = self.rows.updates.get(seq)
        return None if update is None or update.outcome else update

    def updates(self) -> list[Update]:
        """Returns the updates that the code has not answered, by number."""
        return [update for _, update in sorted(self.rows.updates.items()) if not update.outcome]

    def send(self, kind: MessageKind, workflow_id: str, run_id: str, body: bytes) -> None:
        """Sends a message to another run of the namespace; an empty run id means the latest."""
        run = self.run
        run.sent_max += 1
        self.messages.append(
            Message(
                sender_run_id=run.run_id,
                seq=run.sent_max,
                kind=kind,
                namespace=run.namespace,
                workflow_id=workflow_id,
                run_id=run_id,
                body=body,
                created_at_us=run.updated_at_us,
            )
        )

    def put_child(self, child: Child) -> None:
        """Writes a child."""
        self.rows.children.own[child.seq] = child

    def put_update(self, update: Update) -> None:
        """Writes an update; one with an outcome stands in the store only."""
        self.rows.updates.own[update.seq] = update

    def put_activity(self, activity: Activity) -> None:
        """Writes a pending activity."""
        self.rows.activities.own[activity.seq] = activity

    def drop_activity(self, seq: int) -> None:
        """Removes an activity."""
        self.rows.activities.own[seq] = None

    def put_task(self, task: Task) -> None:
        """Writes a task; a paused run or activity keeps it from workers, unless one has it."""
        if task.session_id is None and self._holds_back(task):
            task = task.held_back()
        self.rows.tasks.own[task.kind, task.seq] = task

    def drop_task(self, kind: TaskKind, seq: int) -> None:
        """Removes a task."""
        self.rows.tasks.own[kind, seq] = None

    def put_timer(self, timer: Timer) -> None:
        """Writes a timer."""
        self.rows.timers.own[timer.kind, timer.seq] = timer

    def drop_timer(self, kind: TimerKind, seq: int) -> None:
        """Removes a timer."""
        self.rows.timers.own[kind, seq] = None

    def fence(self, kind: TaskKind, seq: int, lease: int) -> None:
        """Makes the commit depend on a stored lease: a claim changes it without a version.

        Called before the row is changed. A row that this draft wrote is not in the store and needs
        no fence.
        """
        if not self.rows.tasks.touched((kind, seq)):
            self.fences[kind, seq] = TaskFence(kind, seq, lease)

    def notify(self, task: Task, reason: str) -> None:
        """Tells the holder of a task, if there is one, to stop."""
        notice = CancelNotice.of(task, reason)
        if notice is not None:
            self.notices.append(notice)

    def instant(self, now_us: int) -> int:
        """Returns the instant to record for what happens now: those of a run never decrease."""
        return max(now_us, self.run.updated_at_us)

    def append(self, now_us: int, **event: Any) -> int:
        """Appends the one event given as `kind=message`, advances the run, returns the number."""
        return self._append(now_us, event, external=False)

    def append_external(self, now_us: int, **event: Any) -> int:
        """Appends an event of an activity from outside: the code is not run for it."""
        return self._append(now_us, event, external=True)

    def repeat(self, row: EventRow, *, external: bool) -> None:
        """Appends an event of another run as it is stored there."""
        apply(self.run, row.kind, row.seq, at_us=row.at_us, size=len(row.frame), external=external)
        self.events.append(row)
        if row.kind == "workflow_started":
            self._started = parse_frame(row.frame).workflow_started

    def settle(self, now_us: int, next_run: NextRun) -> None:
        """Ends the deciding: enforces the limits, makes the task that is due, raises the version.

        Does nothing when nothing changed. Called once, on the draft over the `RunState`, before
        `change`.
        """
        if not self.changed:
            return
        closing.enforce_limits(self, next_run=next_run, now_us=now_us)
        if self._needs_task():
            self.put_task(self._workflow_task(now_us))
        self.run.version += 1

    def change(self) -> RunChange:
        """Returns what is to be committed: one object, so that a task in it may be leased."""
        if self._change is None:
            tasks = self._below.rows.tasks if isinstance(self._below, Draft) else self._below.tasks
            put_keys, del_keys = changed_keys(self._below.run, self.run)
            self._change = RunChange(
                run=self.run,
                expected_version=self._below.run.version,
                events=self.events,
                put_keys=put_keys,
                del_keys=del_keys,
                snapshot=self.snapshot,
                messages=self.messages,
                fences=self.fences,
                closes=self.run.status.is_closed,
                begins=self._below.run.started_at_us is None and self.run.started_at_us is not None,
                changed_tasks={key for key in self.rows.tasks.own if tasks.get(key)},
            )
            self.rows.write_into(self._change)
        return self._change

    def state(self) -> RunState:
        """Makes the base what the commit of `change` made of the stored run, and returns it."""
        state, change = self._below, self.change()
        if isinstance(state, Draft):
            msg = "a fork is absorbed, not committed"
            raise TypeError(msg)
        state.run = change.run
        if change.expected_version == 0:
            state.started = change.events[0].frame
        if change.closes:
            state.activities.clear()
            state.tasks.clear()
            state.timers.clear()
            state.children.clear()
        write_rows(state.activities, change.put_activities, change.del_activities)
        write_rows(state.tasks, change.put_tasks, change.del_tasks)
        write_rows(state.timers, change.put_timers, change.del_timers)
        if change.put_children:
            state.children.update(change.put_children)
        if change.put_updates:
            state.updates.update(change.put_updates)
        for seq, update in change.put_updates.items():
            if update.outcome:
                del state.updates[seq]
        state.tail += change.events
        if state.tail:
            # Numbers are dense, so the events that were seen are the first ones.
            del state.tail[: max(0, change.run.seen_seq - state.tail[0].seq + 1)]
        return state

    def _append(self, now_us: int, event: dict[str, Any], *, external: bool) -> int:
        kind = next(iter(event))
        seq = self.run.history_length + 1
        at_us = self.instant(now_us)
        frame = event_frame(HistoryEvent(seq=seq, timestamp=to_timestamp(at_us), **event))
        apply(self.run, kind, seq, at_us=at_us, size=len(frame), external=external)
        self.events.append(EventRow(seq, kind, at_us, frame))
        if kind == "workflow_started":
            self._started = event[kind]
        if self.run.status.is_closed:
            self._drop_everything()
        return seq

    def _holds_back(self, task: Task) -> bool:
        """Whether a task is kept from workers: its run is paused, or its activity."""
        if self.run.status is RunStatus.PAUSED:
            return True
        row = self.activity(task.seq) if task.kind is TaskKind.ACTIVITY else None
        return row is not None and row.paused

    def _needs_task(self) -> bool:
        """Whether the code has something to learn, may be run, and has no task yet."""
        run = self.run
        return (
            run.status in _DISPATCHED
            and run.stimulus_seq > run.seen_seq
            and self.task(TaskKind.WORKFLOW, 0) is None
        )

    def _workflow_task(self, now_us: int) -> Task:
        run, ready_at_us = self.run, now_us
        if run.seen_seq == 0:
            start_delay_us = from_duration(self.started().start_delay)
            ready_at_us = max(now_us, run.created_at_us + start_delay_us)
        return Task(
            run_id=run.run_id,
            kind=TaskKind.WORKFLOW,
            seq=0,
            namespace=run.namespace,
            queue=run.task_queue,
            type=run.workflow_type,
            priority=run.priority,
            ready_at_us=ready_at_us,
            created_at_us=now_us,
            lease=run.task_lease,
        )

    def _drop_everything(self) -> None:
        """Forgets the rows of a run that closed: the store deletes them all with the change.

        Updates stand on, with or without an answer.
        """
        updates = self.rows.updates
        self.rows = Rows(RunState(run=self.run, started=b""))
        self.rows.updates = updates
