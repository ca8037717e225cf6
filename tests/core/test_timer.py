from __future__ import annotations

import pytest

from perdure_server.core.errors import InvalidCommand
from perdure_server.core.limits import SECOND_US
from perdure_server.core.model import TaskKind, TimerKind
from perdure_server.core.times import to_timestamp
from tests.core.life import START_US, Life, cancel_timer, seconds, timer

USER = TimerKind.USER


def scheduled() -> Life:
    life = Life()
    life.work(timer(1, 10))
    return life


def test_a_timer_is_scheduled_for_an_instant() -> None:
    life = scheduled()
    due_us = START_US + 10 * SECOND_US
    assert life.kinds[-1] == "timer_scheduled"
    assert life.last.fire_at == to_timestamp(due_us)
    assert life.last.duration == seconds(10)
    assert life.state.timers[USER, 1].due_at_us == due_us


def test_a_due_timer_fires_once() -> None:
    life = scheduled()
    life.wait(10)
    life.ring(USER, 1)
    life.ring(USER, 1)
    assert life.kinds.count("timer_fired") == 1
    assert not life.state.timers
    assert (TaskKind.WORKFLOW, 0) in life.state.tasks


def test_a_timer_does_not_fire_early() -> None:
    life = scheduled()
    life.wait(9.9)
    life.ring(USER, 1)
    assert life.kinds[-1] == "timer_scheduled"


def test_a_cancelled_timer_does_not_fire() -> None:
    life = scheduled()
    life.signal()
    life.work(cancel_timer())
    assert life.kinds[-1] == "timer_cancelled"
    life.wait(10)
    life.ring(USER, 1)
    assert life.kinds[-1] == "timer_cancelled"
    assert (TaskKind.WORKFLOW, 0) not in life.state.tasks


def test_a_moot_cancellation_writes_its_event_once_per_batch() -> None:
    life = scheduled()
    life.wait(10)
    life.ring(USER, 1)
    life.work(cancel_timer(), cancel_timer())
    assert life.kinds[-2:] == ["timer_fired", "timer_cancelled"]


def test_a_repeated_schedule_writes_nothing() -> None:
    life = Life()
    life.work(timer(1, 10), timer(1, 20))
    assert life.kinds.count("timer_scheduled") == 1
    assert life.state.timers[USER, 1].due_at_us == START_US + 10 * SECOND_US


def test_a_timer_counts_from_the_instant_of_its_event() -> None:
    life = Life()
    token = life.lease(TaskKind.WORKFLOW)
    life.wait(-5)
    life.report(token, timer(1, 10))
    assert life.state.timers[USER, 1].due_at_us == START_US + 10 * SECOND_US


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        (timer(2), "seq: is 2; each kind counts from 1 without a gap, to 1 so far"),
        (cancel_timer(1), "seq: is 1; each kind counts from 1 without a gap, to 0 so far"),
    ],
)
def test_a_wrong_number_is_refused(command: object, problem: str) -> None:
    with pytest.raises(InvalidCommand, match=problem):
        Life().work(command)


def test_a_negative_duration_is_refused() -> None:
    command = timer(1)
    command.schedule_timer.duration.seconds = -1
    with pytest.raises(InvalidCommand, match=r"schedule_timer\.duration: is negative"):
        Life().work(command)
