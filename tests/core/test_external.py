from __future__ import annotations

import pytest

from perdure.v1.activity_pb2 import ActivityOptions
from perdure.v1.failure_pb2 import Failure, FailureKind
from perdure.v1.payload_pb2 import Payload
from perdure_server.core import closing
from perdure_server.core.errors import StaleTask, WorkflowClosed
from perdure_server.core.limits import SECOND_US
from perdure_server.core.model import RunStatus, TaskKind, TimerKind
from perdure_server.core.retry import resolve_options
from tests.core.life import (
    START_US,
    Life,
    attempts,
    await_signal,
    cancelled,
    child_of,
    complete,
    options,
    schedule,
)

ACTIVITY, WORKFLOW = TaskKind.ACTIVITY, TaskKind.WORKFLOW
STOPPED = Failure(message="stopped", kind=FailureKind.FAILURE_KIND_CANCELLED)


def waiting() -> Life:
    """A run whose code waits for a signal."""
    life = Life()
    life.work(await_signal(1))
    return life


def test_it_is_an_activity_under_the_negative_number() -> None:
    life = waiting()
    row = life.schedule_outside(
        7, input=Payload(data=b"5"), options=options(schedule_to_close=90, heartbeat=5)
    )
    assert life.kinds[-1] == "activity_scheduled"
    assert (life.last.activity_seq, life.last.external) == (-7, True)
    assert (life.last.task_queue, life.last.priority) == ("default", 3)
    assert row == life.state.activities[-7]
    assert row.scheduled == life.last.SerializeToString()
    assert life.task(ACTIVITY, -7).lease_limit_us == 5 * SECOND_US
    assert life.state.timers[TimerKind.ACTIVITY_TOTAL, -7].due_at_us == START_US + 90 * SECOND_US


def test_defaults_are_filled_in_and_queue_and_priority_may_be_named() -> None:
    life = waiting()
    life.schedule_outside(1, task_queue="gpu", priority=1)
    assert life.last.options == resolve_options(ActivityOptions())
    assert (life.last.task_queue, life.last.priority) == ("gpu", 1)


def test_a_pending_number_stands_with_what_it_was_first_scheduled_with() -> None:
    life = waiting()
    first = life.schedule_outside(7, "audit")
    length = life.run.history_length
    assert life.schedule_outside(7, "other") == first
    assert life.run.history_length == length


def test_numbers_of_callers_and_of_the_code_never_meet() -> None:
    life = waiting()
    life.schedule_outside(1)
    life.signal()
    life.work(schedule(1), schedule(2))
    assert sorted(life.state.activities) == [-1, 1, 2]
    assert life.run.activity_seq_max == 2


@pytest.mark.parametrize("end", ["complete", "fail", "total"])
def test_its_end_wakes_no_code(end: str) -> None:
    life = waiting()
    life.schedule_outside(1, options=options(schedule_to_close=20, retry=attempts(1)))
    token = life.lease(ACTIVITY, -1)
    match end:
        case "complete":
            life.complete(token)
        case "fail":
            life.fail(token)
        case _:
            life.wait(20)
            life.ring(TimerKind.ACTIVITY_TOTAL, -1)
    assert life.last.activity_seq == -1
    assert (life.state.activities, life.state.tasks, life.state.timers) == ({}, {}, {})
    assert life.run.stimulus_seq <= life.run.seen_seq


def test_what_the_code_waits_for_still_wakes_it() -> None:
    life = waiting()
    life.schedule_outside(1)
    life.signal()
    assert (WORKFLOW, 0) in life.state.tasks


def test_it_is_tried_again_and_its_lease_fences() -> None:
    life = waiting()
    life.schedule_outside(1)
    token = life.lease(ACTIVITY, -1)
    assert life.heartbeat(token, Payload(data=b"7")) is False
    life.fail(token)
    assert (life.state.activities[-1].attempt, life.task(ACTIVITY, -1).attempt) == (2, 2)
    with pytest.raises(StaleTask):
        life.complete(token)
    life.wait(1)
    life.complete(life.lease(ACTIVITY, -1))
    assert (life.last.attempt, life.last.lease) == (2, 2)


def test_a_repeated_report_is_accepted_again() -> None:
    life = waiting()
    life.schedule_outside(1)
    token = life.lease(ACTIVITY, -1)
    life.complete(token)
    length = life.run.history_length
    life.complete(token)
    assert life.run.history_length == length


def test_a_run_whose_code_has_never_run_takes_it() -> None:
    life = Life()
    life.schedule_outside(1)
    life.complete(life.lease(ACTIVITY, -1))
    assert life.run.status is RunStatus.PENDING
    life.work(complete())
    assert life.run.status is RunStatus.COMPLETED


def test_a_closed_run_takes_none() -> None:
    life = Life()
    life.work(complete())
    with pytest.raises(WorkflowClosed, match="takes no more activities"):
        life.schedule_outside(1)


def test_it_ends_with_its_run() -> None:
    life = waiting()
    life.schedule_outside(1)
    life.lease(ACTIVITY, -1)
    life.terminate()
    assert life.state.activities == {}
    assert [notice.reason for notice in life.draft.notices] == ["WORKFLOW_CLOSED"]


def test_a_cancelled_run_cancels_those_from_outside_only() -> None:
    life = Life()
    life.work(schedule(1))
    for seq in (1, 2):
        life.schedule_outside(seq)
    held = life.lease(ACTIVITY, -1)
    life.cancel()
    assert life.kinds[-4:] == [
        "workflow_cancel_requested",
        "activity_cancel_requested",
        "activity_cancelled",
        "activity_cancel_requested",
    ]
    assert [notice.seq for notice in life.draft.notices] == [-1]
    assert sorted(life.state.activities) == [-1, 1]
    assert not life.state.activities[1].cancel_requested
    assert life.heartbeat(held) is True
    length = life.run.history_length
    life.cancel()
    assert life.run.history_length == length
    life.fail(held, STOPPED)
    assert life.kinds[-1] == "activity_cancelled"


def test_a_run_that_goes_on_from_another_cancels_them_before_its_code_has_run() -> None:
    before = waiting()
    before.continue_as_new()
    life = child_of(before)
    for seq in (1, 2):
        life.schedule_outside(seq)
    held = life.lease(ACTIVITY, -1)
    life.cancel()
    assert life.kinds[-4:] == [
        "workflow_cancel_requested",
        "activity_cancel_requested",
        "activity_cancelled",
        "activity_cancel_requested",
    ]
    life.fail(held, STOPPED)
    assert (life.kinds[-1], life.run.status) == ("activity_cancelled", RunStatus.PENDING)
    life.work(cancelled())
    assert life.run.status is RunStatus.CANCELLED


def test_too_long_a_history_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closing, "HISTORY_EVENTS_MAX", 3)
    life = waiting()
    life.schedule_outside(1)
    assert life.run.status is RunStatus.FAILED
