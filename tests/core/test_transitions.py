"""Takes every row of every table, and counts the rows by folding the histories that resulted."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from perdure.v1.failure_pb2 import Failure, FailureKind
from perdure.v1.search_attributes_pb2 import SearchAttributes
from perdure_server.core import closing
from perdure_server.core.activity import ACTIVITY_TRANSITIONS
from perdure_server.core.cancellation import CANCELLATION_TRANSITIONS, CancellationPhase
from perdure_server.core.child import CHILD_TRANSITIONS
from perdure_server.core.model import TaskKind, TimerKind
from perdure_server.core.run import RUN_TRANSITIONS
from perdure_server.core.signal import WAIT_TRANSITIONS, WaitPhase
from perdure_server.core.timer import TIMER_TRANSITIONS
from perdure_server.core.update import UPDATE_TRANSITIONS
from tests.core.life import (
    OPERATIONS,
    Life,
    attempts,
    await_signal,
    begun_again,
    cancel_activity,
    cancel_timer,
    cancelled,
    child_of,
    complete,
    complete_update,
    fail,
    operate,
    options,
    reject_update,
    schedule,
    seconds,
    send_cancel,
    send_signal,
    side_effect,
    start_child,
    step,
    timer,
    upsert,
)

Rows = set[tuple[object, str]]

ONE_ATTEMPT = options(start_to_close=5, retry=attempts(1))
CANCELLED = Failure(kind=FailureKind.FAILURE_KIND_CANCELLED)


def ends_of_a_pending_activity() -> Life:
    life = Life()
    life.work(*[schedule(seq, options=ONE_ATTEMPT) for seq in (1, 2, 3)])
    tokens = [life.lease(TaskKind.ACTIVITY, seq) for seq in (1, 2, 3)]
    life.complete(tokens[0])
    life.fail(tokens[1])
    life.wait(5)
    life.expire(tokens[2])
    life.work(cancel_activity(1), complete())
    return life


def ends_of_a_cancelling_activity() -> Life:
    life = Life()
    life.work(*[schedule(seq, options=ONE_ATTEMPT) for seq in (1, 2, 3, 4)])
    tokens = [life.lease(TaskKind.ACTIVITY, seq) for seq in (1, 2, 3, 4)]
    life.signal()
    life.work(*[cancel_activity(seq) for seq in (1, 2, 3, 4)])
    life.complete(tokens[0])
    life.fail(tokens[1])
    life.fail(tokens[2], CANCELLED)
    life.wait(5)
    life.expire(tokens[3])
    life.work(fail())
    return life


def ends_of_activities_from_outside() -> Life:
    """Before the code has ever run."""
    life = Life()
    for seq in (1, 2, 3):
        life.schedule_outside(seq, options=ONE_ATTEMPT)
    tokens = [life.lease(TaskKind.ACTIVITY, seq) for seq in (-1, -2, -3)]
    life.complete(tokens[0])
    life.fail(tokens[1])
    life.wait(5)
    life.expire(tokens[2])
    life.work(complete())
    return life


def timers() -> Life:
    life = Life()
    life.work(timer(1), timer(2), timer(3))
    life.wait(10)
    life.ring(TimerKind.USER, 1)
    life.work(cancel_timer(1), cancel_timer(2), complete())
    return life


def signals() -> Life:
    life = Life()
    life.signal()
    life.work(await_signal(1), await_signal(2))
    life.signal()
    life.work(complete())
    return life


def cancelled_unseen() -> Life:
    life = Life()
    life.cancel()
    return life


def cancelled_on_request() -> Life:
    life = Life()
    life.work(await_signal(1))
    life.cancel()
    life.work(cancelled())
    return life


def cancelled_unasked() -> Life:
    life = Life()
    life.work(cancelled())
    return life


def terminated(*, seen: bool) -> Life:
    life = Life()
    if seen:
        life.work(await_signal(1))
    life.terminate()
    return life


def timed_out(*, seen: bool) -> Life:
    life = Life(run_timeout=seconds(5))
    if seen:
        life.work(await_signal(1))
    life.wait(5)
    life.ring(TimerKind.RUN_TIMEOUT)
    return life


def found_by_others() -> Life:
    life = Life()
    patch = SearchAttributes()
    patch.values["team"].keyword = "a"
    life.work(upsert(1, patch))
    return life


def with_side_effect() -> Life:
    life = Life()
    life.work(side_effect())
    return life


def with_steps() -> Life:
    life = Life()
    token = life.lease(TaskKind.WORKFLOW)
    life.keep(token, step(1))
    life.report(life.kept_token(token), step(2))
    return life


def flooded() -> Life:
    life = Life()
    while not life.run.status.is_closed:
        life.signal()
    return life


def children() -> Life:
    life = Life()
    life.work(start_child(1, "c-1"), start_child(2, "c-2"), start_child(3, "o-1"))
    ends = [child_of(life, number=number) for number in (0, 1)]
    ends[0].work(complete())
    ends[1].terminate()
    for end in ends:
        life.hear(end.sent[0])
    return life


def messages() -> Life:
    life, other = Life(), Life()
    life.work(send_signal(1), send_signal(2), send_cancel(1), send_cancel(2))
    for number in (0, 2):
        other.hear(life.sent[number])
        life.hear(other.sent[-1])
    life.take_back(life.sent[1])
    life.take_back(life.sent[3])
    return life


def paused_unseen() -> Life:
    life = Life()
    life.pause()
    return life


def continued(*, seen: bool) -> Life:
    life = Life()
    if seen:
        life.work(await_signal(1))
    life.continue_as_new()
    return life


def cancelled_while_it_goes_on() -> Life:
    """Activities from outside are cancelled before the code has run that goes on."""
    life = Life()
    life.run.previous_run_id = "run-0"
    life.schedule_outside(1)
    life.cancel()
    return life


def paused() -> Life:
    """Everything that can happen to a paused run, but for its end."""
    life, other = Life(), Life()
    life.work(*[schedule(seq, options=ONE_ATTEMPT) for seq in (1, 2, 3, 4)], timer(1), timer(2))
    tokens = [life.lease(TaskKind.ACTIVITY, seq) for seq in (1, 2, 3, 4)]
    life.signal()
    task = life.lease(TaskKind.WORKFLOW)
    life.pause()
    life.signal()
    life.cancel()
    asked = [life.update(), life.update()]
    life.report(
        task,
        complete_update(asked[0]),
        reject_update(asked[1]),
        schedule(5),
        cancel_activity(4),
        timer(3),
        cancel_timer(3),
        await_signal(1),
        upsert(1, SearchAttributes()),
        side_effect(),
        step(),
        *[start_child(seq, f"c-{seq}") for seq in (1, 2)],
        *[send_signal(seq) for seq in (1, 2)],
        *[send_cancel(seq) for seq in (1, 2)],
    )
    ends = [child_of(life, number=number) for number in (0, 1)]
    ends[0].work(complete())
    ends[1].terminate()
    for end in ends:
        life.hear(end.sent[0])
    for number in (0, 2):
        other.hear(life.sent[number])
        life.hear(other.sent[-1])
    life.take_back(life.sent[1])
    life.take_back(life.sent[3])
    life.complete(tokens[0])
    life.fail(tokens[1])
    life.fail(tokens[3], CANCELLED)
    life.wait(5)
    life.expire(tokens[2])
    life.wait(10)
    life.ring(TimerKind.USER, 1)
    life.unpause()
    return life


def upserted_while_paused() -> Life:
    life = Life()
    token = life.lease(TaskKind.WORKFLOW)
    life.pause()
    life.report(token, upsert(1, SearchAttributes()))
    assert (TaskKind.WORKFLOW, 0) not in life.state.tasks
    life.unpause()
    assert (TaskKind.WORKFLOW, 0) in life.state.tasks
    return life


def ends_of_a_paused_run() -> list[Life]:
    lives = []
    for command in (complete(), fail(), cancelled(), None, None, None):
        life = Life(run_timeout=seconds(5))
        life.work(await_signal(1))
        life.signal()
        token = life.lease(TaskKind.WORKFLOW)
        life.pause()
        if command is not None:
            life.report(token, command)
        lives.append(life)
    lives[3].terminate()
    lives[4].wait(5)
    lives[4].ring(TimerKind.RUN_TIMEOUT)
    lives[5].continue_as_new()
    return lives


def updates() -> Life:
    life = Life()
    first, second = life.update(), life.update()
    life.work(complete_update(first), reject_update(second))
    life.update()
    life.terminate()
    return life


def reset(*, paused: bool) -> Life:
    life = Life()
    life.work(await_signal(1))
    if paused:
        life.pause()
    return begun_again(life, life.run.history_length)


def operated() -> Life:
    """Operators change an activity from outside before the code has run, then in a paused run."""
    life = Life()
    life.schedule_outside(1)
    for name in OPERATIONS:
        operate(life, name, -1)
    life.work(schedule(1))
    life.lease(TaskKind.ACTIVITY, 1)
    for name in OPERATIONS:
        operate(life, name)
    life.signal()
    life.work(cancel_activity(1))
    life.pause()
    for name in OPERATIONS:
        operate(life, name)
    return life


SCENARIOS: list[Callable[[], Life]] = [
    ends_of_a_pending_activity,
    ends_of_a_cancelling_activity,
    ends_of_activities_from_outside,
    timers,
    signals,
    cancelled_unseen,
    cancelled_on_request,
    cancelled_unasked,
    lambda: terminated(seen=False),
    lambda: terminated(seen=True),
    lambda: timed_out(seen=False),
    lambda: timed_out(seen=True),
    found_by_others,
    with_side_effect,
    with_steps,
    flooded,
    children,
    messages,
    paused,
    paused_unseen,
    upserted_while_paused,
    lambda: continued(seen=False),
    lambda: continued(seen=True),
    cancelled_while_it_goes_on,
    updates,
    operated,
    lambda: begun_again(Life(), 1),
    lambda: reset(paused=False),
    lambda: reset(paused=True),
]


@pytest.fixture(scope="module")
def lives() -> list[Life]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(closing, "HISTORY_EVENTS_MAX", 50)
        return [*(scenario() for scenario in SCENARIOS), *ends_of_a_paused_run()]


def rows_taken(lives: list[Life], table: dict, key: Callable[[str, object], object]) -> Rows:
    """Folds every history over a table, one state for each thing that `key` names in an event."""
    rows: Rows = set()
    for life in lives:
        states: dict[object, object] = {}
        for event in life.events:
            kind = event.WhichOneof("event")
            thing = key(kind, getattr(event, kind))
            if thing is not None:
                row = (states.get(thing, START.get(id(table))), kind)
                rows.add(row)
                states[thing] = table[row]
    return rows


START = {
    id(WAIT_TRANSITIONS): WaitPhase.IDLE,
    id(CANCELLATION_TRANSITIONS): CancellationPhase.NONE,
}


def field(name: str, prefix: str) -> Callable[[str, object], object]:
    return lambda kind, event: getattr(event, name) if kind.startswith(prefix) else None


def test_every_row_of_the_run_is_taken(lives: list[Life]) -> None:
    rows: Rows = set()
    for life in lives:
        status = None
        for kind, _, _ in life.steps:
            rows.add((status, kind))
            status = RUN_TRANSITIONS[status, kind]
        assert status is life.run.status
    assert rows == set(RUN_TRANSITIONS)


def test_every_row_of_an_activity_is_taken(lives: list[Life]) -> None:
    taken = rows_taken(lives, ACTIVITY_TRANSITIONS, field("activity_seq", "activity_"))
    assert taken == set(ACTIVITY_TRANSITIONS)


def test_every_row_of_a_timer_is_taken(lives: list[Life]) -> None:
    taken = rows_taken(lives, TIMER_TRANSITIONS, field("timer_seq", "timer_"))
    assert taken == set(TIMER_TRANSITIONS)


def test_every_row_of_a_child_is_taken(lives: list[Life]) -> None:
    taken = rows_taken(lives, CHILD_TRANSITIONS, field("child_seq", "child_"))
    assert taken == set(CHILD_TRANSITIONS)


def test_every_row_of_an_update_is_taken(lives: list[Life]) -> None:
    taken: Rows = set()
    for life in lives:
        states: dict[int, object] = {}
        for event in life.events:
            kind = event.WhichOneof("event")
            if kind in {kind for _, kind in UPDATE_TRANSITIONS}:
                told = getattr(event, kind)
                seq = event.seq if kind == "update_requested" else told.requested_seq
                taken.add((states.get(seq), kind))
                states[seq] = UPDATE_TRANSITIONS[states.get(seq), kind]
    assert taken == set(UPDATE_TRANSITIONS)


def test_every_row_of_a_wait_is_taken(lives: list[Life]) -> None:
    kinds = {kind for _, kind in WAIT_TRANSITIONS}
    taken = rows_taken(
        lives, WAIT_TRANSITIONS, lambda kind, event: event.signal_name if kind in kinds else None
    )
    assert taken == set(WAIT_TRANSITIONS)


def test_every_row_of_a_cancellation_is_taken(lives: list[Life]) -> None:
    kinds = {kind for _, kind in CANCELLATION_TRANSITIONS}
    taken = rows_taken(
        lives, CANCELLATION_TRANSITIONS, lambda kind, _: "run" if kind in kinds else None
    )
    assert taken == set(CANCELLATION_TRANSITIONS)
