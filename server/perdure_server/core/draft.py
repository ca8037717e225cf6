"""Owns `Draft`: what decisions change in one run, before it is committed.

A draft lies over a `RunState` or over another draft: reads fall through, writes stay. A decision that may fail is made
on a `fork`, which is absorbed when it succeeded and dropped when it did not. What is decided is not this module's
business, except what follows from every decision alike: `settle`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from perdure.v1.failure_pb2 import Failure, FailureKind  # noqa: F401
from perdure.v1.history_pb2 import HistoryEvent, WorkflowStarted

from perdure_server.core.changeset import RunChange, TaskFence
from perdure_server.core.frames import event_frame, parse_frame
from perdure_server.core.model import Activity, EventRow, Run, Task, TaskKind, Timer, TimerKind
from perdure_server.core.run import apply
from perdure_server.core.state import RunState
from perdure_server.core.times import to_timestamp

K = TypeVar("K")
V = TypeVar("V")


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
        """Returns the notice to the holder of a task; None when nobody holds it."""
        if task.session_id is None:
            return None
        return cls(task.kind, task.seq, task.lease, task.attempt, task.session_id, reason)


@dataclass(slots=True, frozen=True)
class NextRun:
    """The id and the seed of a run that a decision may create."""

    run_id: str
    seed: int


class Layer(Generic[K, V]):
    """Rows of one kind, changed on top of those `below`."""

    __slots__ = ("_below", "own")

    def __init__(self, below: Mapping[K, V] | Layer[K, V]) -> None:
        self._below = below
        self.own: dict[K, V | None] = {}
        """What this layer changed; None stands for a row that is gone."""

    def get(self, key: K) -> V | None:
        """Returns a row, or None."""
        if key in self.own:
            return self.own[key]
        return self._below.get(key)

    def items(self) -> Iterator[tuple[K, V]]:
        """Yields every row with its key."""
        for key, row in self._below.items():
            if key not in self.own:
                yield key, row
        for key, own in self.own.items():
            if own is not None:
                yield key, own

    def touched(self, key: K) -> bool:
        """Whether this layer or a layer below changed the row."""
        return key in self.own or (isinstance(self._below, Layer) and self._below.touched(key))

    def puts(self) -> dict[K, V]:
        """Returns the rows that this layer wrote."""
        return {key: row for key, row in self.own.items() if row is not None}

    def drops(self) -> set[K]:
        """Returns the keys of the rows that this layer removed."""
        return {key for key, row in self.own.items() if row is None}


class Draft:
    """What one or more decisions change in one run.

    `run` is a private copy that decisions change. `next_runs` holds drafts of runs that are created by the same commit.
    """

    __slots__ = (
        "_activities",
        "_below",
        "_change",
        "_fences",
        "_started",
        "_tasks",
        "_timers",
        "events",
        "next_runs",
        "notices",
        "run",
    )

    def __init__(self, base: RunState | Draft) -> None:
        self._below = base
        self.run: Run = base.run.copy()
        if isinstance(base, Draft):
            self._activities = Layer(base._activities)
            self._tasks = Layer(base._tasks)
            self._timers = Layer(base._timers)
        else:
            self._activities = Layer(base.activities)
            self._tasks = Layer(base.tasks)
            self._timers = Layer(base.timers)
        self._fences: dict[tuple[TaskKind, int], TaskFence] = {}
        self._started: WorkflowStarted | None = None
        self._change: RunChange | None = None
        self.events: list[EventRow] = []
        self.notices: list[CancelNotice] = []
        self.next_runs: list[Draft] = []

    @property
    def changed(self) -> bool:
        """Whether there is anything to commit."""
        return bool(
            self.events or self._tasks.own or self._activities.own or self._timers.own
        )

    def fork(self) -> Draft:
        """Returns a draft over this one, to be absorbed or dropped."""
        return Draft(self)

    def absorb(self, child: Draft) -> None:
        """Takes over what a fork of this draft changed. Nothing else may have changed it meanwhile."""
        self.run = child.run
        self.events += child.events
        self.notices += child.notices
        self.next_runs += child.next_runs
        self._started = self._started or child._started
        if child.run.status.is_closed:
            self._drop_everything()
            return
        self._activities.own.update(child._activities.own)
        self._tasks.own.update(child._tasks.own)
        self._timers.own.update(child._timers.own)
        self._fences.update(child._fences)

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
        """Yields the events that are at hand, ascending: at least those after the `seen_seq` of the last commit."""
        yield from self._below.recent() if isinstance(self._below, Draft) else self._below.tail
        yield from self.events

    def unseen_signals(self) -> list[tuple[int, str]]:
        """Returns the number and the name of every signal that no accepted workflow task covered."""
        return [
            (row.seq, parse_frame(row.frame).signal_received.signal_name)
            for row in self.recent()
            if row.kind == "signal_received" and row.seq > self.run.seen_seq
        ]

    def activity(self, seq: int) -> Activity | None:
        """Returns a pending activity, or None."""
        return self._activities.get(seq)

    def task(self, kind: TaskKind, seq: int) -> Task | None:
        """Returns a task, or None."""
        return self._tasks.get((kind, seq))

    def timer(self, kind: TimerKind, seq: int) -> Timer | None:
        """Returns a timer, or None."""
        return self._timers.get((kind, seq))

    def tasks(self) -> Iterable[Task]:
        """Yields every task of the run."""
        return (task for _, task in self._tasks.items())

    def put_activity(self, activity: Activity) -> None:
        """Writes a pending activity."""
        self._activities.own[activity.seq] = activity

    def drop_activity(self, seq: int) -> None:
        """Removes an activity."""
        self._activities.own[seq] = None

    def put_task(self, task: Task) -> None:
        """Writes a task."""
        self._tasks.own[task.kind, task.seq] = task

    def drop_task(self, kind: TaskKind, seq: int) -> None:
        """Removes a task."""
        self._tasks.own[kind, seq] = None

    def put_timer(self, timer: Timer) -> None:
        """Writes a timer."""
        self._timers.own[timer.kind, timer.seq] = timer

    def drop_timer(self, kind: TimerKind, seq: int) -> None:
        """Removes a timer."""
        self._timers.own[kind, seq] = None

    def fence(self, kind: TaskKind, seq: int, lease: int) -> None:
        """Makes the commit depend on the stored task having this lease: a claim changes it without a version.

        Called before the row is changed. A row that this draft wrote is not in the store and needs no fence.
        """
        if not self._tasks.touched((kind, seq)):
            self._fences[kind, seq] = TaskFence(kind, seq, lease)

    def notify(self, task: Task, reason: str) -> None:
        """Tells the holder of a task, if there is one, to stop."""
        notice = CancelNotice.of(task, reason)
        if notice is not None:
            self.notices.append(notice)

    def instant(self, now_us: int) -> int:
        """Returns the instant at which this run records what happens now: its instants never decrease."""
        return max(now_us, self.run.updated_at_us)

    def append(self, now_us: int, **event: Any) -> int:  # noqa: ANN401
        """Appends the one event given as `kind=message`, advances the run and returns the event's number."""
        kind = next(iter(event))
        seq = self.run.history_length + 1
        at_us = self.instant(now_us)
        frame = event_frame(HistoryEvent(seq=seq, timestamp=to_timestamp(at_us), **event))
        apply(self.run, kind, seq, at_us, len(frame))
        self.events.append(EventRow(seq, kind, at_us, frame))
        if kind == "workflow_started":
            self._started = event[kind]
        if self.run.status.is_closed:
            self._drop_everything()
        return seq

    def settle(self, now_us: int, next_run: NextRun) -> None:
        """Ends the deciding: fails a run that is too long, makes the workflow task that is due, raises the version.

        Does nothing when nothing changed. Called once, on the draft over the `RunState`, before `change`.
        """
        from perdure_server.core.settle import settle

        settle(self, now_us, next_run)

    def change(self) -> RunChange:
        """Returns what is to be committed; the same object each time, so that a task in it may be leased."""
        if self._change is None:
            self._change = RunChange(
                run=self.run,
                expected_version=self._below.run.version,
                events=self.events,
                put_activities=self._activities.puts(),
                del_activities=self._activities.drops(),
                put_tasks=self._tasks.puts(),
                del_tasks=self._tasks.drops(),
                put_timers=self._timers.puts(),
                del_timers=self._timers.drops(),
                fences=self._fences,
                closes=self.run.status.is_closed,
            )
        return self._change

    def state(self) -> RunState:
        """Makes the underlying `RunState` what the commit of `change` made of the stored run, and returns it."""
        state, change = self._below, self.change()
        if isinstance(state, Draft):
            msg = "a fork is absorbed, not committed"
            raise TypeError(msg)
        state.run = change.run
        if change.closes:
            state.activities.clear()
            state.tasks.clear()
            state.timers.clear()
        _write(state.activities, change.put_activities, change.del_activities)
        _write(state.tasks, change.put_tasks, change.del_tasks)
        _write(state.timers, change.put_timers, change.del_timers)
        state.tail += change.events
        if state.tail:
            # Numbers are dense, so the events that were seen are the first ones.
            del state.tail[: max(0, change.run.seen_seq - state.tail[0].seq + 1)]
        return state
