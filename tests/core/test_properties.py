"""What holds for every run, whatever happens to it in whatever order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.v1.command_pb2 import Command
from perdure.v1.failure_pb2 import Failure, FailureKind
from perdure_server.core.activity import ACTIVITY_TRANSITIONS, ActivityPhase, activity_phase
from perdure_server.core.changeset import RunChange
from perdure_server.core.draft import Draft
from perdure_server.core.errors import DomainError
from perdure_server.core.frames import parse_frame
from perdure_server.core.model import RunStatus, Task, TaskKind, TimerKind
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
    options,
    schedule,
    seconds,
    timer,
)
from tests.support.histories import START_US, a_run, is_external

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
    """Does to a run what the numbers say, and keeps what a store would hold beside it."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self._numbers = iter(numbers)
        self.life = Life(run_timeout=seconds(900), retry_policy=[None, attempts(2)][self.pick(2)])
        self.tokens: list[TaskToken] = []
        self.numbers_taken = 0
        self.stored = RunState(self.life.run, b"")
        write(self.stored, self.life.draft.change())

    def pick(self, count: int) -> int:
        return next(self._numbers, 0) % count

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
        ready = [
            task
            for task in self.life.state.tasks.values()
            if task.session_id is None and task.ready_at_us <= self.life.now_us
        ]
        if ready:
            task = ready[self.pick(len(ready))]
            poll_us = [None, 10_000_000][self.pick(2)]
            self.tokens.append(self.life.lease(task.kind, task.seq, for_us=poll_us))
            self.stored.tasks[task.kind, task.seq] = self.life.task(task.kind, task.seq)

    def token(self, kind: TaskKind) -> TaskToken:
        """Returns one of the latest tokens; now and then of the wrong kind, or forged."""
        tokens = [token for token in self.tokens if token.kind is kind or self.rarely()]
        if not tokens:
            return TaskToken("run-1", kind, 0, 1, lease=0)
        return tokens[-1 - self.pick(min(len(tokens), 3))]

    def commands(self) -> list[Command]:
        run = self.life.run
        made: list[Command] = []
        activities, timers, waits = run.activity_seq_max, run.timer_seq_max, run.wait_seq_max
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
                    waits += 1
                    made.append(await_signal())
                case 5 | 6 if activities:
                    made.append(cancel_activity(1 + self.pick(activities)))
                case 7 if timers:
                    made.append(cancel_timer(1 + self.pick(timers)))
                case 8:
                    made += [[complete()], [fail()], [cancelled()], [], [], []][self.pick(6)]
        return made

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
    lambda self: self.life.report(self.token(WORKFLOW), *self.commands()),
    lambda self: self.life.report(self.token(WORKFLOW), *self.commands()),
    lambda self: self.life.report(self.token(WORKFLOW), *self.commands()),
    lambda self: self.life.report(self.token(WORKFLOW), *self.commands()),
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
    for name in ("activities", "tasks", "timers"):
        rows = getattr(stored, name)
        for key in getattr(change, f"del_{name}"):
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


def phases(life: Life, table: dict, prefix: str) -> dict[int, object]:
    states: dict[int, object] = {}
    for event in life.events:
        kind = event.WhichOneof("event")
        if kind.startswith(prefix):
            seq = getattr(getattr(event, kind), f"{prefix}_seq")
            states[seq] = table[states.get(seq), kind]
    return states


@settings(deadline=None, derandomize=True, max_examples=100)
@given(st.lists(st.integers(min_value=0, max_value=10_000), min_size=150, max_size=400))
def test_what_holds_for_every_run(numbers: list[int]) -> None:
    chance = Chance(numbers)
    life = chance.life
    for _ in range(80):
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
    elif run.stimulus_seq > run.seen_seq:
        assert isinstance(state.tasks[TaskKind.WORKFLOW, 0], Task)
    assert (run.status is RunStatus.PENDING) <= (run.seen_seq == 0)


CLOSINGS = {
    "workflow_completed",
    "workflow_failed",
    "workflow_cancelled",
    "workflow_terminated",
    "workflow_timed_out",
}
