"""Owns a worker session: who it is, what it can take, what it holds.

Leases belong to a session, not to its stream: the stream may break and come back while the session
goes on.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

from perdure_server.core import limits
from perdure_server.core.errors import DomainError
from perdure_server.core.model import Lane, TaskKind

TaskKey = tuple[str, TaskKind, int]
"""Run id, kind and seq: which task, whatever its lease."""


@dataclass(slots=True)
class Held:
    """A task that a session holds. `delivered` is set when it was written to the stream, as part of
    `batch`.

    `counted` says that it occupies a slot: the slot is free as soon as the worker reports, the
    lease only when the report is committed.
    """

    key: TaskKey
    lease: int
    token: str
    delivered: bool = False
    counted: bool = True
    batch: int = 0
    told_seq: int = 0
    """The last event told to a worker that keeps its workflow task; 0 when it has not said so."""
    reporting: bool = False
    """Whether a report that keeps the task is under way, whose answer tells what is new."""

    def sent(self, batch: int) -> None:
        """Notes that the task was written, as part of a batch."""
        self.delivered, self.batch = True, batch


class Sink(Protocol):
    """Where the tasks of a session go."""

    def push(self, kind: TaskKind, task: bytes, held: Held) -> None:
        """Sends an encoded task; sets `held.delivered` when it is written."""

    def cancel(self, token: str, reason: str) -> None:
        """Tells the worker to stop an activity."""

    def go_on(self, kept: bytes) -> None:
        """Tells the worker, one that caches runs, what is new in a workflow task that it keeps."""

    def end(self, error: DomainError | None) -> None:
        """Ends the stream."""


@dataclass(slots=True, eq=False)
class Session:
    """A worker as the dispatcher sees it.

    `workflow_types` and `activity_types` None mean all types.

    `by_time` sessions are polls: their leases end by time, not with the session. `heard_us` is
    monotonic.
    """

    session_id: str
    identity: str
    namespace: str
    queue: str
    workflow_types: frozenset[str] | None
    activity_types: frozenset[str] | None
    slots: dict[TaskKind, int]
    heard_us: int
    since_us: int
    sink: Sink | None = None
    by_time: bool = False
    sticky: bool = True
    draining: bool = False
    used: dict[TaskKind, int] = field(
        default_factory=lambda: {TaskKind.WORKFLOW: 0, TaskKind.ACTIVITY: 0}
    )
    held: dict[TaskKey, Held] = field(default_factory=dict)
    cached: dict[str, int] = field(default_factory=dict)
    """Runs in the worker's cache, with the last event each has applied."""
    unacknowledged: deque[tuple[int, int]] = field(default_factory=deque)
    """Batches written and not acknowledged, with the monotonic instant of the write."""
    batch: int = 0
    """The last batch of its one-way streams."""

    @property
    def poll_lease_us(self) -> int | None:
        """How long a lease lasts on a task without a limit of its own; None: with the session."""
        return limits.WORKFLOW_TASK_POLL_LEASE_US if self.by_time else None

    def takes(self, lane: Lane) -> bool:
        """Whether the session serves a lane."""
        if (lane.namespace, lane.queue) != (self.namespace, self.queue):
            return False
        types = self.workflow_types if lane.kind is TaskKind.WORKFLOW else self.activity_types
        return types is None or lane.type in types

    def lanes(self) -> list[Lane]:
        """The lanes that the session names; those of an any-type session are not known."""
        kinds = ((TaskKind.WORKFLOW, self.workflow_types), (TaskKind.ACTIVITY, self.activity_types))
        return [
            Lane(self.namespace, self.queue, kind, name)
            for kind, types in kinds
            for name in sorted(types or ())
        ]

    def free(self, kind: TaskKind, monotonic_us: int) -> int:
        """How many more tasks of a kind may be sent now."""
        if self.sink is None or self.draining:
            return 0
        if self.unacknowledged:
            waited_us = monotonic_us - self.unacknowledged[0][1]
            if waited_us > limits.ACK_TIMEOUT_US:
                return 0
        return self.slots[kind] - self.used[kind]

    def next_batch(self) -> int:
        """Returns the number of a new batch of a one-way stream."""
        self.batch += 1
        return self.batch

    def acknowledge(self, batch: int) -> None:
        """Notes that the worker has received all batches up to `batch`."""
        while self.unacknowledged and self.unacknowledged[0][0] <= batch:
            self.unacknowledged.popleft()
