"""Owns `Life`: one run in memory, treated as the engine and the store would treat it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from google.protobuf.duration_pb2 import Duration

from perdure.v1.activity_pb2 import ActivityOptions
from perdure.v1.command_pb2 import (
    CancelActivity,
    CancelChild,
    CancelTimer,
    CancelWorkflow,
    Command,
    CompleteUpdate,
    CompleteWorkflow,
    ContinueAsNew,
    FailWorkflow,
    RecordSideEffect,
    RecordSnapshot,
    RecordStep,
    RejectUpdate,
    ScheduleActivity,
    ScheduleTimer,
    SignalWorkflow,
    StartChildWorkflow,
    UpsertSearchAttributes,
    WaitForSignal,
)
from perdure.v1.failure_pb2 import Failure
from perdure.v1.history_pb2 import HistoryEvent, UnhandledSignal
from perdure.v1.interaction_pb2 import UpdateWorkflowRequest
from perdure.v1.payload_pb2 import Payload
from perdure.v1.retry_policy_pb2 import RetryPolicy
from perdure.v1.search_attributes_pb2 import SearchAttributes
from perdure.v1.workflow_service_pb2 import (
    CancelWorkflowRequest,
    ContinueAsNewRequest,
    PauseActivityRequest,
    PauseWorkflowRequest,
    ResetActivityRequest,
    ScheduleActivityRequest,
    SignalWorkflowRequest,
    StartWorkflowRequest,
    UnpauseActivityRequest,
    UnpauseWorkflowRequest,
    UpdateActivityOptionsRequest,
)
from perdure_server.core import decide, operations
from perdure_server.core.draft import Draft, NextRun
from perdure_server.core.frames import parse_frame
from perdure_server.core.limits import SECOND_US
from perdure_server.core.model import (
    Activity,
    EventRow,
    Message,
    Run,
    Task,
    TaskKind,
    Timer,
    TimerKind,
)
from perdure_server.core.reset import Reset, reset_open, reset_run
from perdure_server.core.run import COMMAND_KINDS, TASK_ACCEPTED, TASK_WANTED
from perdure_server.core.state import RunState
from perdure_server.core.times import to_duration
from perdure_server.core.token import TaskToken

START_US = 1_700_000_000 * SECOND_US
NEXT = NextRun("run-2", 22)


class Life:
    """Starts a run, then decides and commits one stimulus after another; `wait` lets time pass."""

    def __init__(self, **request: Any) -> None:
        self.now_us = START_US
        self.rows: list[EventRow] = []
        self.steps: list[tuple[str, int, int]] = []
        """What `apply` was given, in order: kind, number, size; with steps that are no events."""
        request = {"workflow_type": "checkout", "workflow_id": "o-1", **request}
        start = decide.normalize_start(StartWorkflowRequest(**request))
        self.sent: list[Message] = []
        """What the run has sent to others, in order."""
        self.known: dict[str, Run] = {}
        """The latest runs of workflow ids that are taken."""
        self.draft = decide.decide_start(
            start, new=NextRun("run-1", 11), generation=1, now_us=self.now_us
        )
        self._settle()
        self.state: RunState = self.draft.state()

    @property
    def run(self) -> Run:
        return self.state.run

    @property
    def events(self) -> list[HistoryEvent]:
        return [parse_frame(row.frame) for row in self.rows]

    @property
    def kinds(self) -> list[str]:
        return [row.kind for row in self.rows]

    @property
    def last(self) -> Any:
        """The message of the last event."""
        event = parse_frame(self.rows[-1].frame)
        return getattr(event, self.rows[-1].kind)

    def wait(self, seconds: float) -> None:
        self.now_us += int(seconds * SECOND_US)

    def decide(self, decision: Callable[[Draft], Any]) -> Any:
        """Decides on a fork and commits; a decision that raises leaves nothing behind."""
        self.draft = Draft(self.state)
        self.draft.known = self.known
        trial = self.draft.fork()
        answer = decision(trial)
        self.draft.absorb(trial)
        if self._settle():
            self.state = self.draft.state()
        return answer

    def lease(
        self, kind: TaskKind, seq: int = 0, *, session_id: str = "s-1", for_us: int | None = None
    ) -> TaskToken:
        """Hands a task to a session, as a claim does."""
        task = self.state.tasks[kind, seq]
        assert task.session_id is None
        assert task.ready_at_us <= self.now_us
        limit_us = for_us if task.lease_limit_us is None else task.lease_limit_us
        leased = replace(
            task,
            lease=task.lease + 1,
            session_id=session_id,
            worker_identity="ann",
            leased_at_us=self.now_us,
            lease_until_us=None if limit_us is None else self.now_us + limit_us,
        )
        self.state.tasks[kind, seq] = leased
        return self.token(leased)

    def token(self, task: Task) -> TaskToken:
        return TaskToken(
            self.run.run_id,
            task.kind,
            task.seq,
            task.attempt,
            lease=task.lease,
            seen_seq=self.run.history_length,
        )

    def task(self, kind: TaskKind = TaskKind.WORKFLOW, seq: int = 0) -> Task:
        return self.state.tasks[kind, seq]

    def work(self, *commands: Command) -> TaskToken:
        """Takes the workflow task and reports commands."""
        token = self.lease(TaskKind.WORKFLOW)
        self.report(token, *commands)
        return token

    def report(self, token: TaskToken, *commands: Command) -> None:
        seen = self.run.seen_seq
        self.decide(
            lambda draft: decide.decide_commands(
                draft,
                token,
                commands,
                next_run=NEXT,
                frames={row.seq: row.frame for row in self.rows},
                new_runs=[NextRun(f"child-{self.run.version}-{n}", n) for n in range(9)],
                now_us=self.now_us,
            )
        )
        if self.run.seen_seq != seen:
            self.steps.insert(
                len(self.steps) - len(self.draft.events), (TASK_ACCEPTED, token.seen_seq, 0)
            )
            kinds = {row.kind for row in self.draft.events}
            mute = {"upsert_search_attributes", "record_snapshot"}
            if kinds and {command.WhichOneof("command") for command in commands} <= mute:
                self.steps.append((TASK_WANTED, self.run.history_length, 0))

    def keep(self, token: TaskToken, *commands: Command) -> None:
        """Reports commands of a workflow task that its worker keeps."""
        before = self.run.copy()
        self.decide(
            lambda draft: decide.decide_kept_commands(
                draft,
                token,
                commands,
                next_run=NEXT,
                new_runs=[NextRun(f"child-{self.run.version}-{n}", n) for n in range(9)],
                now_us=self.now_us,
            )
        )
        if self.run.seen_seq != before.seen_seq:
            shown = (TASK_ACCEPTED, before.seen_seq, 0)
            self.steps.insert(len(self.steps) - len(self.draft.events), shown)
            self.steps.append((TASK_ACCEPTED, token.seen_seq, 0))

    def kept_token(self, token: TaskToken) -> TaskToken:
        """The token that the answer to a report gives: everything so far is seen."""
        return replace(token, seen_seq=self.run.history_length)

    def fail_task(self, token: TaskToken, failure: Failure) -> None:
        self.decide(
            lambda draft: decide.decide_workflow_task_failed(draft, token, failure, self.now_us)
        )

    def complete(self, token: TaskToken, result: Payload | None = None) -> None:
        self.decide(
            lambda draft: decide.decide_activity_completed(
                draft, token, result or Payload(data=b"1"), self.now_us
            )
        )

    def fail(self, token: TaskToken, failure: Failure | None = None) -> None:
        self.decide(
            lambda draft: decide.decide_activity_failed(
                draft, token, failure or Failure(message="no", type="ValueError"), self.now_us
            )
        )

    def heartbeat(self, token: TaskToken, details: Payload | None = None) -> bool:
        return bool(
            self.decide(lambda draft: decide.decide_heartbeat(draft, token, details, self.now_us))
        )

    def detach(self, token: TaskToken) -> None:
        self.decide(lambda draft: decide.decide_activity_detached(draft, token))

    def lose(self, token: TaskToken, *, delivered: bool = True) -> None:
        self.decide(
            lambda draft: decide.decide_task_lost(
                draft, token.kind, token.seq, token.lease, delivered=delivered, now_us=self.now_us
            )
        )

    def expire(self, token: TaskToken) -> None:
        self.decide(
            lambda draft: decide.decide_lease_expired(
                draft, token.kind, token.seq, token.lease, now_us=self.now_us
            )
        )

    def ring(self, kind: TimerKind, seq: int = 0) -> None:
        """Tells the run that a timer is due, whether it is or not."""
        timer = Timer(self.run.run_id, kind, seq, 0)
        self.decide(
            lambda draft: decide.decide_timer_due(draft, timer, next_run=NEXT, now_us=self.now_us)
        )

    def schedule_outside(self, seq: int = 1, name: str = "audit", **fields: Any) -> Activity:
        """Schedules an activity as a caller does, not the code."""
        request = ScheduleActivityRequest(seq=seq, name=name, **fields)
        row = self.decide(
            lambda draft: decide.decide_schedule_activity(draft, request, self.now_us)
        )
        assert isinstance(row, Activity)
        return row

    def signal(self, name: str = "go", payload: Payload | None = None) -> int:
        request = SignalWorkflowRequest(signal_name=name, payload=payload)
        return int(self.decide(lambda draft: decide.decide_signal(draft, request, self.now_us)))

    def update(self, name: str = "add", **fields: Any) -> int:
        request = UpdateWorkflowRequest(update_name=name, **fields)
        return int(self.decide(lambda draft: decide.decide_update(draft, request, self.now_us)))

    def cancel(self, reason: str = "", deadline_s: float | None = None) -> Any:
        request = CancelWorkflowRequest(reason=reason)
        if deadline_s is not None:
            request.deadline.CopyFrom(seconds(deadline_s))
        return self.decide(lambda draft: decide.decide_cancel(draft, request, self.now_us))

    def pause(self, reason: str = "", identity: str = "") -> Any:
        request = PauseWorkflowRequest(reason=reason, identity=identity)
        return self.decide(lambda draft: decide.decide_pause(draft, request, self.now_us))

    def unpause(self) -> Any:
        request = UnpauseWorkflowRequest()
        return self.decide(lambda draft: decide.decide_unpause(draft, request, self.now_us))

    def continue_as_new(self, **fields: Any) -> Any:
        """Goes on with a new history, as a caller wants it."""
        request = ContinueAsNewRequest(**fields)
        return self.decide(
            lambda draft: decide.decide_continue_as_new(
                draft, request, next_run=NEXT, now_us=self.now_us
            )
        )

    def terminate(self, reason: str = "") -> None:
        self.decide(lambda draft: decide.decide_terminate(draft, reason, self.now_us))

    def hear(self, message: Message) -> None:
        """Records a message of another run."""
        self.decide(lambda draft: decide.decide_message(draft, message, self.now_us))

    def take_back(self, message: Message, reason: str = "nobody") -> None:
        """Hears that a message of this run found nobody."""
        self.decide(
            lambda draft: decide.decide_message_returned(draft, message, reason, self.now_us)
        )

    @property
    def children(self) -> list[Run]:
        """The runs that the last commit created."""
        return [draft.run for draft in self.draft.next_runs]

    def _settle(self) -> bool:
        self.draft.settle(self.now_us, NEXT)
        if not self.draft.changed:
            return False
        self.sent += self.draft.messages
        self.rows += self.draft.events
        self.steps += [(row.kind, row.seq, len(row.frame)) for row in self.draft.events]
        return True


def seconds(value: float) -> Duration:
    return to_duration(int(value * SECOND_US))


def nested_failure(causes: int) -> Failure:
    """A failure with so many causes, one behind another."""
    failure = link = Failure(message="0")
    for number in range(causes):
        link = link.cause
        link.message = str(number + 1)
    return failure


def options(*, retry: RetryPolicy | None = None, **timeouts: float) -> ActivityOptions:
    """Returns activity options; timeouts by their names without the suffix, in seconds."""
    fields = {f"{name}_timeout": seconds(value) for name, value in timeouts.items()}
    return ActivityOptions(retry_policy=retry, **fields)


def attempts(count: int, **policy: Any) -> RetryPolicy:
    return RetryPolicy(max_attempts=count, **policy)


def schedule(seq: int = 1, name: str = "charge", **fields: Any) -> Command:
    return Command(schedule_activity=ScheduleActivity(seq=seq, name=name, **fields))


def cancel_activity(seq: int = 1) -> Command:
    return Command(cancel_activity=CancelActivity(seq=seq))


def timer(seq: int = 1, after_s: float = 10) -> Command:
    return Command(schedule_timer=ScheduleTimer(seq=seq, duration=seconds(after_s)))


def cancel_timer(seq: int = 1) -> Command:
    return Command(cancel_timer=CancelTimer(seq=seq))


def await_signal(seq: int = 0, name: str = "go", timer_seq: int = 0) -> Command:
    return Command(wait_for_signal=WaitForSignal(seq=seq, signal_name=name, timer_seq=timer_seq))


def side_effect(seq: int = 1, name: str = "dice", **fields: object) -> Command:
    effect = RecordSideEffect(seq=seq, name=name, **fields)  # type: ignore[arg-type]
    return Command(record_side_effect=effect)


def step(seq: int = 1, name: str = "fetch", **fields: Any) -> Command:
    return Command(record_step=RecordStep(seq=seq, name=name, **fields))


def upsert(seq: int, patch: SearchAttributes) -> Command:
    return Command(upsert_search_attributes=UpsertSearchAttributes(seq=seq, patch=patch))


def record_snapshot(data: bytes | None) -> Command:
    state = None if data is None else Payload(data=data)
    return Command(record_snapshot=RecordSnapshot(state=state))


def complete_update(requested_seq: int, result: bytes = b"1") -> Command:
    return Command(
        complete_update=CompleteUpdate(requested_seq=requested_seq, result=Payload(data=result))
    )


def reject_update(requested_seq: int, failure: Failure | None = None) -> Command:
    failure = failure or Failure(message="no", type="ValueError")
    return Command(reject_update=RejectUpdate(requested_seq=requested_seq, failure=failure))


def complete(result: bytes | None = b"1", unconsumed: tuple[tuple[int, str], ...] = ()) -> Command:
    payload = None if result is None else Payload(data=result)
    return Command(
        complete_workflow=CompleteWorkflow(
            result=payload,
            unconsumed_signals=[
                UnhandledSignal(event_seq=seq, signal_name=name) for seq, name in unconsumed
            ],
        )
    )


def fail(failure: Failure | None = None) -> Command:
    failure = failure or Failure(message="no", type="ValueError")
    return Command(fail_workflow=FailWorkflow(failure=failure))


def cancelled() -> Command:
    return Command(cancel_workflow=CancelWorkflow())


def start_child(seq: int = 1, workflow_id: str = "c-1", **fields: Any) -> Command:
    fields = {"workflow_type": "refund", **fields}
    command = StartChildWorkflow(seq=seq, workflow_id=workflow_id, **fields)
    return Command(start_child_workflow=command)


def send_signal(seq: int = 1, workflow_id: str = "other", **fields: Any) -> Command:
    fields = {"signal_name": "go", **fields}
    return Command(signal_workflow=SignalWorkflow(seq=seq, workflow_id=workflow_id, **fields))


def send_cancel(seq: int = 1, workflow_id: str = "other", **fields: Any) -> Command:
    return Command(cancel_child=CancelChild(seq=seq, workflow_id=workflow_id, **fields))


def child_of(parent: Life, *, number: int = 0, **columns: Any) -> Life:
    """Returns the life of a child that the last commit of its parent created."""
    child = Life()
    draft = parent.draft.next_runs[number]
    child.rows, child.steps, child.draft = list(draft.events), [], draft
    child.state = draft.state()
    for name, value in columns.items():
        setattr(child.state.run, name, value)
    return child


OPERATIONS = {
    "pause": (operations.pause, PauseActivityRequest),
    "unpause": (operations.unpause, UnpauseActivityRequest),
    "reset": (operations.reset, ResetActivityRequest),
    "update_options": (operations.update_options, UpdateActivityOptionsRequest),
}


def operate(life: Life, name: str, seq: int = 1, **fields: Any) -> Any:
    """Does what an operator does to an activity."""
    operation, kind = OPERATIONS[name]
    request: Any = kind(activity_seq=seq, **fields)
    return life.decide(lambda draft: operation(draft, request, life.now_us))


def begun_again(life: Life, event_seq: int, **wanted: Any) -> Life:
    """Returns the life of a run that begins with the history of another, open or closed."""
    new, again = NextRun("run-9", 99), Life()
    reset = Reset(event_seq, **{"reason": "bug", "identity": "ann", **wanted})
    if life.run.status.is_closed:
        draft = reset_run(life.run, life.rows, reset, new=new, generation=7, now_us=life.now_us)
        draft.settle(life.now_us, new)
    else:
        rows = list(life.rows)
        draft = life.decide(
            lambda trial: reset_open(trial, rows, reset, new=new, now_us=life.now_us)
        )
    again.now_us, again.rows, again.steps, again.draft = life.now_us, list(draft.events), [], draft
    for row in again.rows:
        if row.kind in COMMAND_KINDS:
            again.steps.append((TASK_ACCEPTED, row.seq - 1, 0))
        again.steps.append((row.kind, row.seq, len(row.frame)))
    again.state = draft.state()
    return again


def go_on(unconsumed: tuple[tuple[int, str], ...] = (), **fields: Any) -> Command:
    command = ContinueAsNew(
        unconsumed_signals=[
            UnhandledSignal(event_seq=seq, signal_name=name) for seq, name in unconsumed
        ],
        **fields,
    )
    return Command(continue_as_new=command)
