from __future__ import annotations

import pytest

from perdure_server.core.errors import StaleTask, WorkflowClosed
from perdure_server.core.model import DETACHED, RunStatus, TaskKind, TimerKind
from tests.core.life import (
    Life,
    attempts,
    await_signal,
    cancel_activity,
    complete,
    go_on,
    options,
    schedule,
    timer,
)

WORKFLOW, ACTIVITY = TaskKind.WORKFLOW, TaskKind.ACTIVITY


def test_a_paused_run_gives_workers_nothing_new() -> None:
    life = Life()
    life.work(schedule(), timer())
    assert life.pause("look", "ann") is RunStatus.PAUSED
    assert (life.last.reason, life.last.identity) == ("look", "ann")
    assert life.task(ACTIVITY, 1).is_held_back
    assert life.task(ACTIVITY, 1).is_free
    life.wait(10)
    life.ring(TimerKind.USER, 1)
    assert life.kinds[-1] == "timer_fired"
    assert (WORKFLOW, 0) not in life.state.tasks


def test_what_was_kept_back_is_given_out_again() -> None:
    life = Life()
    life.work(schedule())
    ready_at_us = life.task(ACTIVITY, 1).ready_at_us
    life.pause()
    life.signal()
    assert life.unpause() is RunStatus.RUNNING
    assert life.run.pause == b""
    task = life.task(ACTIVITY, 1)
    assert (task.session_id, task.ready_at_us, task.lease) == (None, ready_at_us, 1)
    assert (WORKFLOW, 0) in life.state.tasks
    life.complete(life.lease(ACTIVITY, 1))


def test_what_a_worker_has_stays_with_it_when_the_run_goes_on() -> None:
    life = Life()
    life.work(schedule())
    token = life.lease(ACTIVITY, 1)
    life.pause()
    life.unpause()
    assert life.task(ACTIVITY, 1).lease == token.lease
    life.complete(token)


def test_a_run_whose_code_never_ran_pends_again() -> None:
    life = Life()
    life.pause()
    assert life.task().is_held_back
    assert life.unpause() is RunStatus.PENDING
    life.work(complete())
    assert life.run.status is RunStatus.COMPLETED


def test_the_run_that_follows_a_paused_one_is_paused_too() -> None:
    life = Life()
    token = life.lease(WORKFLOW)
    life.signal()
    life.pause("look", "ann")
    life.report(token, go_on())
    follower = life.draft.next_runs[0]
    assert follower.run.status is RunStatus.PAUSED
    assert [row.kind for row in follower.events][1:] == ["signal_received", "workflow_paused"]
    assert follower.tasks() == []


def test_pausing_and_unpausing_twice_changes_nothing() -> None:
    life = Life()
    assert life.unpause() is RunStatus.PENDING
    life.pause("one")
    before = list(life.kinds)
    assert life.pause("two") is RunStatus.PAUSED
    assert life.kinds == before


def test_a_closed_run_is_not_paused() -> None:
    life = Life()
    life.terminate()
    with pytest.raises(WorkflowClosed, match="nothing to pause"):
        life.pause()
    with pytest.raises(WorkflowClosed, match="nothing to unpause"):
        life.unpause()


def test_what_a_worker_has_goes_on_and_what_follows_is_kept_back() -> None:
    life = Life()
    life.work(schedule(options=options(retry=attempts(3))))
    activity = life.lease(ACTIVITY, 1)
    life.signal()
    token = life.lease(WORKFLOW)
    life.pause()
    life.report(token, schedule(2), await_signal(1))
    life.fail(activity)
    for seq in (1, 2):
        task = life.task(ACTIVITY, seq)
        assert (task.session_id, task.leased_at_us) == (DETACHED, None)
    life.unpause()
    life.wait(10)
    life.complete(life.lease(ACTIVITY, 1))


def test_a_lease_of_before_does_not_come_alive_again() -> None:
    life = Life()
    life.work(schedule(options=options(retry=attempts(3))))
    token = life.lease(ACTIVITY, 1)
    life.lose(token)
    life.pause()
    with pytest.raises(StaleTask):
        life.complete(token)


def test_a_kept_back_activity_is_cancelled_at_once() -> None:
    life = Life()
    life.work(schedule(), await_signal(1))
    life.signal()
    token = life.lease(WORKFLOW)
    life.pause()
    life.report(token, cancel_activity())
    assert life.kinds[-2:] == ["activity_cancel_requested", "activity_cancelled"]


def test_a_kept_back_activity_still_waits_too_long() -> None:
    life = Life()
    life.work(schedule(options=options(schedule_to_start=5)))
    life.pause()
    life.wait(5)
    life.ring(TimerKind.ACTIVITY_QUEUE, 1)
    assert life.kinds[-1] == "activity_timed_out"
