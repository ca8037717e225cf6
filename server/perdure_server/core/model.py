"""Owns the rows: the operational values that the engine loads, changes and commits.

Histories, commands and payloads are protobuf messages and are not modelled again here. Every
instant and span is an `int` in microseconds (`_us`), instants since the Unix epoch. Rows are
treated as immutable: a change is a copy made with `dataclasses.replace`, so that a decision that
fails leaves nothing behind.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from operator import attrgetter
from typing import Final


class RunStatus(StrEnum):
    """Where a run stands. Named as in `workflow.proto`, without the prefix."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    TERMINATED = "TERMINATED"
    TIMED_OUT = "TIMED_OUT"
    CONTINUED_AS_NEW = "CONTINUED_AS_NEW"

    @property
    def is_closed(self) -> bool:
        """Whether the status is terminal."""
        return self not in _OPEN


_OPEN = frozenset({RunStatus.PENDING, RunStatus.RUNNING, RunStatus.PAUSED})


class TaskKind(StrEnum):
    """What a task asks a worker to do."""

    WORKFLOW = "workflow"
    ACTIVITY = "activity"


class TimerKind(StrEnum):
    """Why a run is to be woken at an instant."""

    USER = "user"
    """The code scheduled it; `seq` is the timer's number."""
    ACTIVITY_QUEUE = "activity_queue"
    """Schedule-to-start of an activity; `seq` is the activity's number."""
    ACTIVITY_TOTAL = "activity_total"
    """Schedule-to-close of an activity; `seq` is the activity's number."""
    RUN_TIMEOUT = "run_timeout"
    """The run timeout; `seq` is 0."""
    EXECUTION_TIMEOUT = "execution_timeout"
    """The execution timeout; `seq` is 0."""
    CANCEL_DEADLINE = "cancel_deadline"
    """The deadline of a cancellation; `seq` is 0."""


@dataclass(slots=True, frozen=True)
class Lane:
    """What a task waits in: one queue of one namespace, one kind, one type. Workers take lanes."""

    namespace: str
    queue: str
    kind: TaskKind
    type: str


@dataclass(slots=True)
class Run:
    """One execution of a workflow.

    `version` is 1 after the first commit and grows by one with each. `generation` numbers the runs
    of one workflow id from 1 and is unique with it, so that of two racing starts one wins.
    `seen_seq` is the last event that an accepted workflow task covered; `stimulus_seq` is the last
    event that the code has not caused itself. `task_lease` is the highest lease number that a
    workflow task of this run ever had. The `*_seq_max` fields are the highest accepted number of
    each command kind.
    """

    run_id: str
    namespace: str
    workflow_id: str
    workflow_type: str
    task_queue: str
    generation: int
    status: RunStatus
    version: int
    attempt: int
    priority: int
    created_at_us: int
    updated_at_us: int
    started_at_us: int | None = None
    closed_at_us: int | None = None
    history_length: int = 0
    history_bytes: int = 0
    seen_seq: int = 0
    stimulus_seq: int = 0
    task_lease: int = 0
    accepted_lease: int = 0
    """The lease whose report was accepted last; sent again, it is answered again."""
    task_failure: bytes = b""
    """The encoded Failure of the last workflow task attempt; empty after a success."""
    activity_seq_max: int = 0
    timer_seq_max: int = 0
    wait_seq_max: int = 0
    cancel_requested: bool = False
    cancel_reason: str = ""
    previous_run_id: str = ""
    next_run_id: str = ""
    parent_run_id: str = ""
    """The run that started this one as its child; empty for a run that has no parent."""
    parent_seq: int = 0
    """The number of this child in its parent."""
    sent_max: int = 0
    """The highest number of a message that this run has sent to others."""
    child_seq_max: int = 0
    signal_seq_max: int = 0
    cancel_seq_max: int = 0
    side_effect_seq_max: int = 0
    step_seq_max: int = 0
    attribute_seq_max: int = 0
    pause: bytes = b""
    """The encoded WorkflowPaused in force; empty when the run is not paused."""
    attributes: bytes = b""
    """The encoded SearchAttributes in force."""
    parent_workflow_id: str = ""
    """The workflow id of the parent, which outlives the parent's runs."""

    def copy(self) -> Run:
        """Returns an equal run that may be changed on its own."""
        return Run(*_run_fields(self))


_run_fields = attrgetter(*(field.name for field in fields(Run)))
"""Reads every field at once: three times faster than `copy.copy` on a class with slots."""


@dataclass(slots=True)
class Activity:
    """A pending activity: it stands from its schedule to its ending and is then deleted."""

    run_id: str
    seq: int
    name: str
    attempt: int
    scheduled: bytes
    """The encoded ActivityScheduled, with every default filled in."""
    scheduled_at_us: int
    lease: int = 0
    """The highest lease number that a task of this activity ever had; only grows."""
    accepted_lease: int = 0
    """The lease whose failure report was accepted last; sent again, it is answered again."""
    cancel_requested: bool = False
    last_failure: bytes = b""
    heartbeat_details: bytes = b""
    """The encoded Payload of the last heartbeat that carried one."""
    heartbeat_at_us: int | None = None
    paused: bool = False


DETACHED: Final = ""
"""The session of a lease that no session holds: its worker passed the token on."""


@dataclass(slots=True)
class Task:
    """One task of a run: of kind WORKFLOW with `seq` 0, or ACTIVITY with the activity's `seq`.

    It is ready when `session_id` is None and `ready_at_us` has passed, else leased. `lease` grows
    with every hand-out and is never used again for the same run, kind and seq. `lease_until_us` is
    when the lease ends by itself: for an activity the earlier of start-to-close and heartbeat
    timeout, for a workflow task only if a poll took it. What a paused run keeps from workers has an
    empty session and no instant of a lease.
    """

    run_id: str
    kind: TaskKind
    seq: int
    namespace: str
    queue: str
    type: str
    priority: int
    ready_at_us: int
    created_at_us: int
    attempt: int = 1
    lease: int = 0
    lease_limit_us: int | None = None
    """How long a lease of this task lasts; None means as long as its session."""
    start_limit_us: int | None = None
    """Start-to-close of an attempt; None means unbounded.

    Never shorter than `lease_limit_us` if both are set.
    """
    session_id: str | None = None
    worker_identity: str = ""
    leased_at_us: int | None = None
    lease_until_us: int | None = None

    def leased_to(
        self,
        session_id: str,
        worker_identity: str,
        *,
        now_us: int,
        poll_lease_us: int | None = None,
    ) -> Task:
        """Returns the task as handed out now, under the next lease number.

        `poll_lease_us` bounds the lease of a poll on a task that has no limit of its own.
        """
        limit_us = poll_lease_us if self.lease_limit_us is None else self.lease_limit_us
        leased = Task(*_task_fields(self))
        leased.session_id, leased.worker_identity = session_id, worker_identity
        leased.lease = self.lease + 1
        leased.leased_at_us = now_us
        leased.lease_until_us = None if limit_us is None else now_us + limit_us
        return leased

    @property
    def is_held_back(self) -> bool:
        """Whether the task is kept from workers; nobody has its lease."""
        return self.session_id == DETACHED and self.leased_at_us is None

    @property
    def is_free(self) -> bool:
        """Whether no worker has the task."""
        return self.session_id is None or self.is_held_back

    def held_back(self) -> Task:
        """Returns a task that no worker has as kept from workers, under the next lease number."""
        return replace(self, session_id=DETACHED, lease=self.lease + 1)

    @property
    def lane(self) -> Lane:
        """The lane that the task waits in."""
        return Lane(self.namespace, self.queue, self.kind, self.type)


_task_fields = attrgetter(*(field.name for field in fields(Task)))


@dataclass(slots=True, frozen=True)
class Timer:
    """An instant at which a run is to be woken."""

    run_id: str
    kind: TimerKind
    seq: int
    due_at_us: int


@dataclass(slots=True, frozen=True)
class Child:
    """A child of a run: it stands from its start until the parent closes.

    `seq` numbers it in its parent, from 1. `child_run_id` is the run that was started, empty when
    none could be. `policy` names the ParentClosePolicy. `closed` says that the parent was told of
    its end.
    """

    run_id: str
    seq: int
    workflow_id: str
    workflow_type: str
    child_run_id: str
    policy: str
    closed: bool = False


@dataclass(slots=True, frozen=True)
class Update:
    """An update that a run was asked for: `seq` is the event that recorded it.

    `outcome` is the encoded UpdateOutcome, empty while the code has not answered. It stands until
    the run is deleted, so that who asks again learns the answer.
    """

    run_id: str
    seq: int
    name: str
    update_id: str
    outcome: bytes = b""


@dataclass(slots=True, frozen=True)
class Snapshot:
    """What the code of a run last published: an encoded Payload, as of the event `event_seq`."""

    run_id: str
    state: bytes
    event_seq: int
    created_at_us: int


@dataclass(slots=True, frozen=True)
class SearchKey:
    """A key that a run is found by: one of those of its search attribute `name`.

    `is_least` marks the first one of the name, by which lists are sorted. It stands until the run
    is deleted.
    """

    run_id: str
    name: str
    value: bytes
    namespace: str
    is_least: bool


class MessageKind(StrEnum):
    """What one run tells another."""

    SIGNAL = "signal"
    CANCEL = "cancel"
    TERMINATE = "terminate"
    CHILD_CLOSED = "child_closed"
    ANSWER = "answer"
    """What became of a signal or a cancellation that the receiver had sent."""
    ADOPT = "adopt"
    """A run that begins with the history of the child's parent takes that one's place."""


MessageKey = tuple[str, int]
"""What identifies a message: the run that sent it, and its number there."""


@dataclass(slots=True, frozen=True)
class Message:
    """A message of one run to another, which stands until the receiver has recorded it.

    `seq` numbers the messages of the run that sent it. The receiver is the run `run_id`, or the
    latest run of the workflow when that is empty. `body` is encoded as its kind says.
    """

    sender_run_id: str
    seq: int
    kind: MessageKind
    namespace: str
    workflow_id: str
    run_id: str
    body: bytes
    created_at_us: int

    @property
    def key(self) -> MessageKey:
        """What identifies the message."""
        return (self.sender_run_id, self.seq)


@dataclass(slots=True, frozen=True)
class EventRow:
    """An event as stored: `frame` is field 1 of a History, so that frames join to one."""

    seq: int
    kind: str
    at_us: int
    frame: bytes


@dataclass(slots=True, frozen=True)
class RequestRecord:
    """What a mutating RPC answered, kept so that its repetition is answered the same.

    `rpc` names the RPC, `fingerprint` is a hash of the request's content, `response` the encoded
    answer.
    """

    namespace: str
    workflow_id: str
    rpc: str
    request_id: str
    fingerprint: bytes
    response: bytes
    created_at_us: int


@dataclass(slots=True, frozen=True)
class Namespace:
    """A namespace that was created. One that was not serves as well; it has no row."""

    name: str
    created_at_us: int
    retention_us: int | None = None
    """For how long runs are kept after they closed; None means for ever."""
    sweep_at_us: int = 0
    """When some server is to delete the runs that are too old."""
    expired_commit: int = 0
    expired_index: int = -1
    """The place of the last event that was deleted so."""


@dataclass(slots=True, frozen=True)
class ScheduleRow:
    """A schedule: `record` is the encoded Schedule, the rest is what it is found by.

    `version` begins at the instant of creation and grows by one with each change, so that a
    schedule created again under its name is never taken for the one before.
    """

    namespace: str
    name: str
    version: int
    serve_at_us: int | None
    """When it is to be served next; None when it is paused or has come to its end."""
    waits: bool
    """Whether it has to learn how one of its workflows ends, before its next instant."""
    record: bytes

    @property
    def key(self) -> ScheduleKey:
        """What it is known by."""
        return (self.namespace, self.name)


ScheduleKey = tuple[str, str]


@dataclass(slots=True, frozen=True)
class ApiKey:
    """What is kept of an API key, none of which opens a door.

    `digest` is the SHA-256 of the whole key, `prefix` its first characters; both are unique.
    """

    digest: bytes = field(repr=False)
    prefix: str
    label: str
    created_at_us: int


@dataclass(slots=True, frozen=True)
class Worker:
    """A worker that servers know of: registered, or connected to one of them.

    `info` is an encoded WorkerInfo without what changes by itself; with `any_type` its lists of
    types mean nothing, for the worker takes every type.
    """

    worker_id: str
    server_id: str
    """The server that it is connected to; empty: it registered, and may talk to any."""
    namespace: str
    queue: str
    info: bytes = field(repr=False)
    any_type: bool
    heard_at_us: int
    until_us: int
    """When it is forgotten, unless it is heard before."""
