"""Owns the value that a decision hands to the store.

A changeset is applied as a whole or not at all. It holds plain rows: a backend writes it without
knowing a rule.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from perdure_server.core.model import (
    Activity,
    Child,
    EventRow,
    Lane,
    Message,
    MessageKey,
    RequestRecord,
    Run,
    ScheduleRow,
    SearchKey,
    Snapshot,
    Task,
    TaskKind,
    Timer,
    TimerKind,
    Update,
)


@dataclass(slots=True, frozen=True)
class TaskFence:
    """A task that the decision relied on: when the change is applied it must have this `lease`."""

    kind: TaskKind
    seq: int
    lease: int


@dataclass(slots=True)
class RunChange:
    """What changes in one run.

    `expected_version` 0 inserts the run, else its row must have that version.

    Puts replace the row of the same key; deletes of a missing row do nothing. Deletes are applied
    before puts.
    """

    run: Run
    expected_version: int
    events: list[EventRow] = field(default_factory=list)
    put_activities: dict[int, Activity] = field(default_factory=dict)
    del_activities: set[int] = field(default_factory=set)
    put_tasks: dict[tuple[TaskKind, int], Task] = field(default_factory=dict)
    del_tasks: set[tuple[TaskKind, int]] = field(default_factory=set)
    put_timers: dict[tuple[TimerKind, int], Timer] = field(default_factory=dict)
    del_timers: set[tuple[TimerKind, int]] = field(default_factory=set)
    put_children: dict[int, Child] = field(default_factory=dict)
    put_updates: dict[int, Update] = field(default_factory=dict)
    """Written also when the run closes: they stand until it is deleted."""
    put_keys: dict[tuple[str, bytes], SearchKey] = field(default_factory=dict)
    del_keys: set[tuple[str, bytes]] = field(default_factory=set)
    """What the run is found by, by name and value; written also when the run closes."""
    snapshot: Snapshot | None = None
    """Replaces the run's snapshot, also when the run closes."""
    messages: list[Message] = field(default_factory=list)
    """What the run sends to others, with numbers that it has never used."""
    fences: dict[tuple[TaskKind, int], TaskFence] = field(default_factory=dict)
    """Keyed like tasks; checked before anything is applied."""
    closes: bool = False
    """Whether the run closes.

    Every activity, task, timer and child row is deleted, and the puts of these are ignored.
    """
    begins: bool = False
    """Whether the run's code has run for the first time; nothing of it is stored."""
    changed_tasks: set[tuple[TaskKind, int]] = field(default_factory=set)
    """Tasks that stood before and that this changes or ends; nothing of it is stored."""
    stops: bool = False
    """Whether this ends, or asks to stop, a task that a session of another server may hold.

    Other servers are told; nothing of it is stored.
    """


@dataclass(slots=True, frozen=True)
class ScheduleChange:
    """What becomes of one schedule.

    `expected_version` 0 inserts the row, else the stored one must have that version.
    """

    row: ScheduleRow
    expected_version: int
    deletes: bool = False
    """Whether the stored row is deleted."""


@dataclass(slots=True)
class Changeset:
    """Changes of one or more runs, with the records of the requests that caused them.

    `taken` names the messages that it records: they must stand, and are deleted.
    And of the schedules that started the runs, or were changed by the requests.
    """

    changes: list[RunChange] = field(default_factory=list)
    requests: list[RequestRecord] = field(default_factory=list)
    taken: list[MessageKey] = field(default_factory=list)
    schedules: list[ScheduleChange] = field(default_factory=list)
    """Of a schedule at most one."""

    def absorb(self, other: Changeset) -> None:
        """Takes over the requests and the schedules of another."""
        self.requests += other.requests
        self.schedules += other.schedules

    def lanes(self) -> set[Lane]:
        """Lanes in which this changeset leaves a task that no session holds."""
        return {
            task.lane
            for change in self.changes
            if not change.closes
            for task in change.put_tasks.values()
            if task.session_id is None
        }
