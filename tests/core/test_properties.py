"""What holds for every run, whatever happens to it in whatever order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.v1.command_pb2 import Command
from perdure.v1.failure_pb2 import Failure, FailureKind
from perdure.v1.history_pb2 import (
    CancelWorkflowInitiated,
    ChildWorkflowCompleted,
    ChildWorkflowFailed,
    HistoryEvent,
    SignalWorkflowDelivered,
    SignalWorkflowInitiated,
)
from perdure.v1.search_attributes_pb2 import SearchAttribute, SearchAttributes
from perdure_server.core.activity import ACTIVITY_TRANSITIONS, ActivityPhase, activity_phase
from perdure_server.core.changeset import RunChange
from perdure_server.core.child import CHILD_TRANSITIONS, ChildPhase
from perdure_server.core.draft import Draft
from perdure_server.core.errors import DomainError
from perdure_server.core.frames import parse_frame
from perdure_server.core.model import Message, MessageKind, RunStatus, Task, TaskKind, TimerKind
from perdure_server.core.run import apply
from perdure_server.core.state import RunState
from perdure_server.core.timer import TIMER_TRANSITIONS, timer_phase
from perdure_server.core.token import TaskToken
from tests.core.life import (
    Life,
    attempts,
    await_signal,
    cancel_activity,
    cancel_timer,
    cancelled,
    complete,
    fail,
    go_on,
    options,
    record_snapshot,
    schedule,
    seconds,
    send_cancel,
    send_signal,
    start_child,
    timer,
    upsert,
)
from tests.support.histories import CLOSINGS, START_US, a_message, a_run, is_external

WORKFLOW, ACTIVITY = TaskKind.WORKFLOW, TaskKind.ACTIVITY

FAILURES = [
    Failure(message="no"),
    Failure(message="never", non_retryable=True),
    Failure(message="stopped", kind=FailureKind.FAILURE_KIND_CANCELLED),
]
OPTIONS = [
    None,
    options(start_to_close=9, heartbeat=4, retry=attempts(2)),
    options(schedule_to_start=5, schedule_to_close=20),
]


class Chance:
    """Does to a run what comes to mind, and keeps what a store would hold beside it."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self.life = Life(run_timeout=seconds(900), retry_policy=[None, attempts(2)][self.pick(2)])
        self.tokens: list[TaskToken] = []
        self.numbers_taken = 0
        self.answered = 0
        self.life.known["taken"] = a_run(workflow_id="taken", status=RunStatus.RUNNING)
        self.stored = RunState(self.life.run, b"")
        write(self.stored, self.life.draft.change())

    def pick(self, count: int) -> int:
        return self._random.randrange(count)

    def step(self) -> None:
        """Takes one step; a refusal must leave no trace."""
        before = len(self.life.rows), self.life.run.version
        closed = self.life.run.status.is_closed
        draft = self.life.draft
        try:
            STEPS[self.pick(len(STEPS))](self)
        except DomainError:
            assert (len(self.life.rows), self.life.run.version) == before
            return
        if self.life.run.version != before[1]:
            assert not closed
            assert self.life.draft is not draft
            change = self.life.draft.change()
            assert change.expected_version == before[1]
            check_fences(self.stored, change)
            write(self.stored, change)

    def lease(self) -> None:
        free = [task for task in self.life.state.tasks.values() if task.session_id is None]
        if free and self.pick(4) == 0:
            first_us = min(task.ready_at_us for task in free)
            self.life.now_us = max(self.life.now_us, first_us)
        if ready := [task for task in free if task.ready_at_us <= self.life.now_us]:
            self.take(ready[self.pick(len(ready))])

    def take(self, task: Task) -> None:
        poll_us = [None, 10_000_000][self.pick(2)]
        self.tokens.append(self.life.lease(task.kind, task.seq, for_us=poll_us))
        self.stored.tasks[task.kind, task.seq] = self.life.task(task.kind, task.seq)

    def token(self, kind: TaskKind) -> TaskToken:
        """Returns one of the latest tokens; now and then of the wrong kind, or forged."""
        tokens = [token for token in self.tokens if token.kind is kind or self.rarely()]
        current = [token for token in tokens if self.is_current(token)]
        if current and self.pick(4):
            return current[self.pick(len(current))]
        if not tokens:
            return TaskToken("run-1", kind, 0, 1, lease=0)
        return tokens[-1 - self.pick(min(len(tokens), 3))]

    def report(self) -> None:
        task = self.life.state.tasks.get((WORKFLOW, 0))
        if task is not None and task.session_id is None and self.pick(4):
            self.life.now_us = max(self.life.now_us, task.ready_at_us)
            self.take(task)
        self.life.report(self.token(WORKFLOW), *self.commands())

    def is_current(self, token: TaskToken) -> bool:
        task = self.life.state.tasks.get((token.kind, token.seq))
        return task is not None and task.session_id is not None and task.lease == token.lease

    def commands(self) -> list[Command]:
        run = self.life.run
        made: list[Command] = []
        activities, timers, waits = run.activity_seq_max, run.timer_seq_max, run.wait_seq_max
        if self.pick(3) == 0:
            return self.more_commands()
        for _ in range(self.pick(6)):
            match self.pick(9):
                case 0 | 1:
                    activities += 1
                    made.append(schedule(activities, options=OPTIONS[self.pick(3)]))
                case 2:
                    timers += 1
                    made.append(timer(timers, self.pick(20)))
                case 3:
                    waits += 1
                    made.append(await_signal(waits))
                case 4:
                    made.append(await_signal())
                case 5 | 6 if activities:
                    made.append(cancel_activity(1 + self.pick(activities)))
                case 7 if timers:
                    made.append(cancel_timer(1 + self.pick(timers)))
                case 8:
                    endings = [[complete()], [fail()], [cancelled()], [go_on()], [], [], [], []]
                    made += endings[self.pick(8)]
        return made

    def more_commands(self) -> list[Command]:
        """What reaches beyond the run: attributes and a snapshot for callers, other runs."""
        run = self.life.run
        children, signals, cancels = run.child_seq_max, run.signal_seq_max, run.cancel_seq_max
        attributes = run.attribute_seq_max
        made: list[Command] = []
        for _ in range(self.pick(4)):
            match self.pick(6):
                case 0 | 1:
                    attributes += 1
                    value = SearchAttribute(int=self.pick(9))
                    made.append(upsert(attributes, SearchAttributes(values={"size": value})))
                case 2:
                    made.append(record_snapshot(bytes([self.pick(9)])))
                case 3:
                    children += 1
                    made.append(start_child(children, ["", "taken"][self.pick(2)]))
                case 4:
                    signals += 1
                    made.append(send_signal(signals))
                case 5:
                    cancels += 1
                    made.append(send_cancel(cancels))
        return made

    def hear(self) -> None:
        """A signal of another run arrives; now and then that this one shall end."""
        kind, body = MessageKind.SIGNAL, SignalWorkflowInitiated(signal_seq=1, signal_name="go")
        if self.rarely():
            kind, body = MessageKind.CANCEL, CancelWorkflowInitiated(cancel_seq=1)
        self.life.hear(self.message(kind, body.SerializeToString()))

    def child_ends(self) -> None:
        """A child tells its end; now and then one tells it twice, or one that there never was."""
        told = {"child_seq": self.pick(self.life.run.child_seq_max + 2)}
        event = HistoryEvent(child_workflow_completed=ChildWorkflowCompleted(**told))
        if self.pick(2):
            event = HistoryEvent(child_workflow_failed=ChildWorkflowFailed(**told))
        self.life.hear(self.message(MessageKind.CHILD_CLOSED, event.SerializeToString()))

    def answer(self) -> None:
        """What the run sent is told to have arrived, or comes back, once."""
        if self.answered == len(self.life.sent):
            return
        sent = self.life.sent[self.answered]
        self.answered += 1
        if sent.kind is MessageKind.SIGNAL and self.pick(2):
            seq = SignalWorkflowInitiated.FromString(sent.body).signal_seq
            event = HistoryEvent(signal_workflow_delivered=SignalWorkflowDelivered(signal_seq=seq))
            self.life.hear(self.message(MessageKind.ANSWER, event.SerializeToString()))
        elif sent.body and sent.kind in {MessageKind.SIGNAL, MessageKind.CANCEL}:
            self.life.take_back(sent)

    @staticmethod
    def message(kind: MessageKind, body: bytes) -> Message:
        return a_message(a_run(9), kind=kind, body=body)

    def schedule_outside(self) -> None:
        """Takes a number that is new, as the engine makes sure, or that is pending."""
        pending = [-seq for seq in self.life.state.activities if seq < 0]
        if pending and self.pick(4) == 0:
            self.life.schedule_outside(pending[0])
        else:
            self.numbers_taken += 1 + self.pick(3)
            self.life.schedule_outside(self.numbers_taken, options=OPTIONS[self.pick(3)])

    def rarely(self) -> bool:
        return self.pick(20) == 19

    def ring(self) -> None:
        if keys := sorted(self.life.state.timers):
            key = keys[self.pick(len(keys))]
            if self.pick(3) == 0 and (key[0] is not TimerKind.RUN_TIMEOUT or self.rarely()):
                self.life.now_us = max(self.life.now_us, self.life.state.timers[key].due_at_us)
            self.life.ring(*key)


STEPS: list[Callable[[Chance], object]] = [
    Chance.lease,
    Chance.lease,
    Chance.lease,
    Chance.report,
    Chance.report,
    Chance.report,
    Chance.report,
    Chance.report,
    lambda self: self.life.complete(self.token(ACTIVITY)),
    lambda self: self.life.fail(self.token(ACTIVITY), FAILURES[self.pick(3)]),
    lambda self: self.life.heartbeat(self.token(ACTIVITY)),
    lambda self: self.life.detach(self.token(ACTIVITY)),
    lambda self: self.life.lose(self.token(ACTIVITY), delivered=bool(self.pick(2))),
    lambda self: self.life.lose(self.token(WORKFLOW), delivered=bool(self.pick(2))),
    lambda self: self.life.expire(self.token(ACTIVITY)),
    lambda self: self.life.expire(self.token(WORKFLOW)),
    lambda self: self.life.fail_task(self.token(WORKFLOW), FAILURES[0]),
    lambda self: self.life.signal(),
    Chance.hear,
    Chance.child_ends,
    Chance.answer,
    lambda self: self.pick(5) == 0 and self.life.pause(),
    lambda self: self.life.unpause(),
    lambda self: self.rarely() and self.life.continue_as_new(),
    Chance.schedule_outside,
    Chance.ring,
    Chance.ring,
    lambda self: self.life.wait(self.pick(12) - 1),
    lambda self: self.life.wait(self.pick(12) - 1),
    lambda self: self.rarely() and self.life.cancel(deadline_s=[None, 5][self.pick(2)]),
    lambda self: self.rarely() and self.life.terminate(),
]


def write(stored: RunState, change: RunChange) -> None:
    """Applies a change as the store contract words it, knowing nothing of drafts."""
    stored.run = change.run
    for name in ("activities", "tasks", "timers", "children"):
        rows = getattr(stored, name)
        for key in getattr(change, f"del_{name}", ()):
            rows.pop(key, None)
        rows.update(getattr(change, f"put_{name}"))
        if change.closes:
            rows.clear()
    stored.started = stored.started or change.events[0].frame
    stored.tail = [row for row in stored.tail + change.events if row.seq > change.run.seen_seq]


def check_fences(stored: RunState, change: RunChange) -> None:
    for key, fence in change.fences.items():
        assert stored.tasks[key].lease == fence.lease


def fold(life: Life) -> None:
    """The tables, fed with the stored history, lead to the state that the decisions led to."""
    run = a_run()
    for kind, seq, size in life.steps:
        at_us = START_US if not size else life.rows[seq - 1].at_us
        external = bool(size) and is_external(life.rows[seq - 1])
        apply(run, kind, seq, at_us=at_us, size=size, external=external)
    for name in ("status", "history_length", "history_bytes", "seen_seq", "stimulus_seq"):
        assert getattr(run, name) == getattr(life.run, name)
    assert run.cancel_requested == life.run.cancel_requested
    assert (run.started_at_us is None) == (life.run.started_at_us is None)
    assert run.closed_at_us == life.run.closed_at_us


def phases(life: Life, table: dict, prefix: str, number: str = "{}_seq") -> dict[int, object]:
    states: dict[int, object] = {}
    for event in life.events:
        kind = event.WhichOneof("event")
        if kind.startswith(prefix):
            seq = getattr(getattr(event, kind), number.format(prefix))
            states[seq] = table[states.get(seq), kind]
    return states


@settings(deadline=None, derandomize=True, max_examples=200)
@given(seed=st.integers(0, 2**32), steps=st.integers(10, 250))
def test_what_holds_for_every_run(seed: int, steps: int) -> None:
    chance = Chance(seed)
    life = chance.life
    for _ in range(steps):
        chance.step()
    rows, run, state = life.rows, life.run, life.state

    assert [row.seq for row in rows] == list(range(1, run.history_length + 1))
    instants = [row.at_us for row in rows]
    assert instants == sorted(instants)
    assert instants == [parse_frame(row.frame).timestamp.ToMicroseconds() for row in rows]
    assert run.updated_at_us >= instants[-1]
    assert state == chance.stored

    fold(life)
    draft = Draft(state)
    if not run.status.is_closed:
        for seq, phase in phases(life, ACTIVITY_TRANSITIONS, "activity").items():
            # A run does not remember those from outside that have ended.
            forgotten = seq < 0 and phase is ActivityPhase.CLOSED
            assert activity_phase(draft, seq) is (None if forgotten else phase)
            assert (state.activities.get(seq) is None) == (
                state.tasks.get((TaskKind.ACTIVITY, seq)) is None
            )
        for seq, phase in phases(life, TIMER_TRANSITIONS, "timer").items():
            assert timer_phase(draft, seq) is phase
        children = phases(life, CHILD_TRANSITIONS, "child_workflow", "child_seq")
        assert {seq: row.closed for seq, row in state.children.items()} == {
            seq: phase is ChildPhase.CLOSED for seq, phase in children.items()
        }
    endings = Counter(
        getattr(event, event.WhichOneof("event")).activity_seq
        for event in life.events
        if event.WhichOneof("event")
        in {"activity_completed", "activity_failed", "activity_timed_out", "activity_cancelled"}
    )
    assert all(count == 1 for count in endings.values())

    closings = [row.seq for row in rows if row.kind in CLOSINGS]
    assert closings == ([run.history_length] if run.status.is_closed else [])
    if run.status.is_closed:
        assert (state.activities, state.tasks, state.timers) == ({}, {}, {})
        assert state.children == {}
    elif run.stimulus_seq > run.seen_seq and run.status is not RunStatus.PAUSED:
        assert isinstance(state.tasks[TaskKind.WORKFLOW, 0], Task)
    assert (run.status is RunStatus.PENDING) <= (run.seen_seq == 0)
