from __future__ import annotations

import pytest

from perdure.v1.activity_pb2 import ActivityOptions
from perdure.v1.history_pb2 import ActivityScheduled
from perdure.v1.payload_pb2 import Payload
from perdure_server.core.errors import ActivityNotFound, WorkflowClosed
from perdure_server.core.limits import SECOND_US
from perdure_server.core.model import TaskKind, TimerKind
from tests.core.life import (
    OPERATIONS,
    Life,
    attempts,
    begun_again,
    operate,
    options,
    schedule,
    seconds,
)

ACTIVITY = TaskKind.ACTIVITY


def scheduled(**timeouts: float) -> Life:
    life = Life()
    life.work(schedule(options=options(retry=attempts(5), **timeouts)))
    return life


def test_a_paused_activity_is_kept_from_workers() -> None:
    life = scheduled()
    row = operate(life, "pause", reason="look", identity="ann")
    assert row.paused
    assert (life.last.reason, life.last.identity) == ("look", "ann")
    assert life.task(ACTIVITY, 1).is_held_back
    assert (TaskKind.WORKFLOW, 0) not in life.state.tasks
    before = life.kinds
    assert operate(life, "pause").paused
    assert life.kinds == before
    assert not operate(life, "unpause").paused
    life.complete(life.lease(ACTIVITY, 1))


def test_what_a_worker_has_goes_on_and_the_next_attempt_waits() -> None:
    life = scheduled()
    token = life.lease(ACTIVITY, 1)
    operate(life, "pause")
    life.fail(token)
    assert life.task(ACTIVITY, 1).is_held_back
    assert life.state.activities[1].attempt == 2
    operate(life, "unpause")
    assert operate(life, "unpause").attempt == 2
    life.wait(10)
    life.complete(life.lease(ACTIVITY, 1))


def test_one_that_a_worker_has_may_be_unpaused_too() -> None:
    life = scheduled()
    token = life.lease(ACTIVITY, 1)
    operate(life, "pause")
    operate(life, "unpause")
    life.complete(token)


def test_a_run_that_goes_on_does_not_free_a_paused_activity() -> None:
    life = scheduled()
    operate(life, "pause")
    life.pause()
    life.unpause()
    assert life.task(ACTIVITY, 1).is_held_back
    life.pause()
    operate(life, "unpause")
    assert life.task(ACTIVITY, 1).is_held_back
    life.unpause()
    life.complete(life.lease(ACTIVITY, 1))


def test_attempts_count_anew_at_once() -> None:
    life = scheduled()
    token = life.lease(ACTIVITY, 1)
    life.heartbeat(token, Payload(data=b"half"))
    life.fail(token)
    row = operate(life, "reset")
    assert (row.attempt, row.last_failure, row.heartbeat_details != b"") == (1, b"", True)
    task = life.task(ACTIVITY, 1)
    assert (task.attempt, task.ready_at_us) == (1, life.now_us)
    row = operate(life, "reset", drop_heartbeat_details=True)
    assert row.heartbeat_details == b""
    assert life.last.drop_heartbeat_details


def test_the_attempt_that_a_worker_has_counts_as_the_first() -> None:
    life = scheduled()
    life.fail(life.lease(ACTIVITY, 1))
    life.wait(10)
    token = life.lease(ACTIVITY, 1)
    operate(life, "reset")
    assert life.task(ACTIVITY, 1).attempt == token.attempt == 2
    life.fail(token)
    assert life.state.activities[1].attempt == life.task(ACTIVITY, 1).attempt == 2


def test_options_change_those_that_are_named() -> None:
    life = scheduled(schedule_to_close=100, schedule_to_start=50)
    started_us = life.now_us
    life.wait(1)
    change = ActivityOptions(
        start_to_close_timeout=seconds(7),
        schedule_to_start_timeout=seconds(0),
        schedule_to_close_timeout=seconds(60),
        retry_policy=attempts(2),
    )
    row = operate(life, "update_options", options=change, priority=1)
    after = ActivityScheduled.FromString(row.scheduled)
    assert life.last.options == after.options
    assert after.options.start_to_close_timeout == seconds(7)
    assert not after.options.HasField("schedule_to_start_timeout")
    assert after.options.retry_policy.max_attempts == 2
    assert after.options.retry_policy.backoff_coefficient == 2
    task = life.task(ACTIVITY, 1)
    assert (task.priority, task.start_limit_us) == (1, 7 * SECOND_US)
    assert {key: row.due_at_us - started_us for key, row in life.state.timers.items()} == {
        (TimerKind.ACTIVITY_TOTAL, 1): 60 * SECOND_US
    }
    none = ActivityOptions(schedule_to_close_timeout=seconds(0))
    operate(life, "update_options", options=none)
    assert life.state.timers == {}
    assert life.last.priority == 1


def test_the_attempt_that_a_worker_has_keeps_its_timeouts() -> None:
    life = scheduled(start_to_close=5)
    token = life.lease(ACTIVITY, 1)
    change = ActivityOptions(start_to_close_timeout=seconds(9), heartbeat_timeout=seconds(3))
    operate(life, "update_options", options=change)
    assert life.task(ACTIVITY, 1).start_limit_us == 5 * SECOND_US
    life.fail(token)
    task = life.task(ACTIVITY, 1)
    assert (task.start_limit_us, task.lease_limit_us) == (9 * SECOND_US, 3 * SECOND_US)


@pytest.mark.parametrize("name", OPERATIONS)
def test_only_a_pending_activity_of_an_open_run(name: str) -> None:
    life = scheduled()
    with pytest.raises(ActivityNotFound, match="no pending activity 2"):
        operate(life, name, 2)
    life.complete(life.lease(ACTIVITY, 1))
    with pytest.raises(ActivityNotFound):
        operate(life, name)
    life.terminate()
    with pytest.raises(WorkflowClosed):
        operate(life, name)


def test_a_run_that_begins_again_has_them_as_they_were_left() -> None:
    life = scheduled()
    operate(life, "pause")
    operate(life, "reset")
    change = ActivityOptions(start_to_close_timeout=seconds(7))
    operate(life, "update_options", options=change, priority=2)
    again = begun_again(life, life.run.history_length)
    row, task = again.state.activities[1], again.task(ACTIVITY, 1)
    assert row.paused
    assert task.is_held_back
    assert (task.priority, task.start_limit_us) == (2, 7 * SECOND_US)
    operate(again, "unpause")
    third = begun_again(again, again.run.history_length)
    assert not third.state.activities[1].paused


def test_one_from_outside_is_like_any_other() -> None:
    life = scheduled()
    life.schedule_outside(1, options=options(retry=attempts(5)))
    token = life.lease(ACTIVITY, -1)
    assert operate(life, "pause", -1).paused
    assert life.task(ACTIVITY, 1).is_free
    life.fail(token)
    assert life.task(ACTIVITY, -1).is_held_back
    assert operate(life, "update_options", -1, priority=1).seq == -1
    assert operate(life, "reset", -1).attempt == 1
    again = begun_again(life, life.run.history_length)
    assert again.state.activities[-1].paused
    assert again.task(ACTIVITY, -1).is_held_back
    assert (again.task(ACTIVITY, -1).priority, again.task(ACTIVITY, 1).priority) == (1, 3)
    assert not operate(again, "unpause", -1).paused
    again.complete(again.lease(ACTIVITY, -1))
    with pytest.raises(ActivityNotFound, match="no pending activity 1 from outside"):
        operate(again, "pause", -1)
