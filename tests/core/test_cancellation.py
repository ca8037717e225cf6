from __future__ import annotations

import pytest

from perdure_server.core.draft import CancelNotice
from perdure_server.core.errors import StaleTask, WorkflowNotFound
from perdure_server.core.limits import SECOND_US
from perdure_server.core.model import RunStatus, TaskKind, TimerKind
from perdure_server.core.times import to_timestamp
from tests.core.life import Life, await_signal, cancelled, complete

DEADLINE = TimerKind.CANCEL_DEADLINE


def running() -> Life:
    life = Life()
    life.work(await_signal(1))
    return life


def test_a_run_that_never_ran_ends_at_once() -> None:
    life = Life()
    life.signal("early")
    assert life.cancel("enough") is RunStatus.CANCELLED
    assert life.kinds[-2:] == ["workflow_cancel_requested", "workflow_cancelled"]
    assert life.last.reason == "enough"
    assert [signal.signal_name for signal in life.last.unhandled_signals] == ["early"]
    assert not life.state.tasks
    assert life.draft.change().closes


def test_the_worker_that_was_about_to_run_it_is_told() -> None:
    life = Life()
    token = life.lease(TaskKind.WORKFLOW)
    life.cancel()
    assert life.draft.notices == [
        CancelNotice(TaskKind.WORKFLOW, 0, 1, 1, "s-1", "WORKFLOW_CLOSED")
    ]
    with pytest.raises(StaleTask):
        life.report(token, complete())


def test_a_running_code_is_asked() -> None:
    life = running()
    assert life.cancel("enough") is RunStatus.RUNNING
    assert life.kinds[-1] == "workflow_cancel_requested"
    assert (life.run.cancel_requested, life.run.cancel_reason) == (True, "enough")
    assert (TaskKind.WORKFLOW, 0) in life.state.tasks
    life.work(cancelled())
    assert life.run.status is RunStatus.CANCELLED
    assert life.last.reason == "enough"


def test_code_may_cancel_itself() -> None:
    life = Life()
    life.work(cancelled())
    assert life.run.status is RunStatus.CANCELLED


def test_a_second_request_writes_no_event() -> None:
    life = running()
    life.cancel("first")
    version = life.run.version
    life.cancel("second")
    assert life.kinds.count("workflow_cancel_requested") == 1
    assert (life.run.cancel_reason, life.run.version) == ("first", version)


def test_only_an_earlier_deadline_counts() -> None:
    life = running()
    life.cancel("enough", deadline_s=10)
    assert life.last.deadline == to_timestamp(life.now_us + 10 * SECOND_US)
    for deadline_s, expected_s in ((20, 10), (5, 5), (None, 5)):
        life.cancel(deadline_s=deadline_s)
        due_us = life.now_us + expected_s * SECOND_US
        assert life.state.timers[DEADLINE, 0].due_at_us == due_us


def test_a_deadline_may_come_with_a_later_request() -> None:
    life = running()
    life.cancel()
    assert not life.last.HasField("deadline")
    life.cancel(deadline_s=5)
    assert (DEADLINE, 0) in life.state.timers


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("", "the deadline of the cancellation passed"),
        ("enough", "the deadline of the cancellation passed: enough"),
    ],
)
def test_the_deadline_terminates(reason: str, text: str) -> None:
    life = running()
    life.cancel(reason, deadline_s=5)
    life.wait(5)
    life.ring(DEADLINE)
    assert life.run.status is RunStatus.TERMINATED
    assert life.last.reason == text
    assert not life.state.timers


def test_a_closed_run_cannot_be_cancelled() -> None:
    life = running()
    life.terminate()
    with pytest.raises(WorkflowNotFound, match=r"TERMINATED.*there is no open run"):
        life.cancel()
