"""Steps: recorded once, and the report of one keeps the task."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.v1.failure_pb2 import Failure
from perdure.v1.payload_pb2 import Payload
from perdure_server.core import decide
from perdure_server.core.errors import InvalidCommand, StaleTask
from perdure_server.core.limits import SECOND_US, WORKFLOW_TASK_POLL_LEASE_US
from perdure_server.core.model import RunStatus, Task, TaskKind
from perdure_server.core.token import TaskToken
from tests.core.life import NEXT, Life, begun_again, complete, schedule, side_effect, step

WORKFLOW = (TaskKind.WORKFLOW, 0)


def task(life: Life) -> Task:
    return life.state.tasks[WORKFLOW]


def test_a_step_is_recorded_and_the_code_runs_again() -> None:
    life = Life()
    life.work(step(1, result=Payload(data=b"7"), attempt=3))
    recorded = life.last
    assert (recorded.step_seq, recorded.name, recorded.attempt) == (1, "fetch", 3)
    assert recorded.result.data == b"7"
    assert not recorded.HasField("failure")
    assert life.run.step_seq_max == 1
    assert WORKFLOW in life.state.tasks


def test_steps_end_in_any_order() -> None:
    life = Life()
    life.work(step(1, step_seq=2), step(2, step_seq=1, failure=Failure(message="no")))
    first, second = (event.step_completed for event in life.events[1:])
    assert (first.step_seq, first.attempt, first.HasField("result")) == (2, 1, False)
    assert (second.step_seq, second.failure.message) == (1, "no")


def test_a_repetition_writes_nothing() -> None:
    life = Life()
    life.work(step(1))
    life.work(step(1, result=Payload(data=b"other")))
    assert life.kinds[1:] == ["step_completed"]
    assert WORKFLOW not in life.state.tasks


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"seq": 2}, "without a gap"),
        ({"seq": 0}, "without a gap"),
        ({"name": "x" * 256}, "name"),
        ({"result": Payload(data=b"x" * (2 * 1024 * 1024 + 1))}, "result"),
        ({"failure": Failure(message="x" * 65 * 1024)}, "failure"),
        ({"result": Payload(), "failure": Failure()}, "one end"),
        ({"step_seq": -1}, "step_seq"),
        ({"attempt": -1}, "attempt"),
    ],
)
def test_a_malformed_one_is_refused(fields: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidCommand, match=text):
        Life().work(step(**fields))


def test_a_run_that_begins_again_goes_on_counting() -> None:
    life = Life()
    life.work(step(1), step(2))
    assert begun_again(life, life.run.history_length).run.step_seq_max == 2


def test_a_report_that_keeps_the_task_ends_nothing() -> None:
    life = Life()
    token = life.lease(TaskKind.WORKFLOW)
    lease = task(life).lease
    life.keep(token, step(1), schedule(1))
    assert life.kinds[1:] == ["step_completed", "activity_scheduled"]
    assert (task(life).lease, task(life).session_id) == (lease, "s-1")
    assert (life.run.status, life.run.seen_seq) == (RunStatus.RUNNING, 1)
    assert [row.seq for row in life.state.tail] == [2, 3]


def test_it_is_answered_again_when_it_is_repeated() -> None:
    life = Life()
    token = life.lease(TaskKind.WORKFLOW)
    life.keep(token, step(1), schedule(1))
    length = life.run.history_length
    life.keep(token, step(1), schedule(1))
    assert life.run.history_length == length


def test_the_next_report_has_the_token_of_the_answer() -> None:
    life = Life()
    token = life.lease(TaskKind.WORKFLOW)
    life.keep(token, step(1))
    second = life.kept_token(token)
    life.keep(second, step(2))
    with pytest.raises(StaleTask):
        life.keep(token, step(1))
    life.report(life.kept_token(second), complete())
    assert life.run.status is RunStatus.COMPLETED


def test_what_writes_no_event_is_no_reason_to_take_the_next_for_a_repetition() -> None:
    life = Life()
    token = life.lease(TaskKind.WORKFLOW)
    life.keep(token)
    assert life.run.seen_seq == 0
    life.keep(token, step(1))
    assert life.kinds[-1] == "step_completed"


def test_a_last_report_without_the_newest_token_loses_nothing() -> None:
    life = Life()
    token = life.lease(TaskKind.WORKFLOW)
    life.keep(token, step(1))
    second = life.kept_token(token)
    life.keep(second, step(2))
    life.report(token)
    assert life.run.seen_seq == second.seen_seq
    assert task(life).session_id is None


def test_a_lease_that_was_lost_keeps_nothing() -> None:
    life = Life()
    token = life.lease(TaskKind.WORKFLOW)
    life.keep(token, step(1))
    life.lose(token)
    with pytest.raises(StaleTask):
        life.keep(life.kept_token(token), step(2))
    assert task(life).session_id is None


def test_a_lease_by_time_begins_anew() -> None:
    life = Life()
    token = life.lease(TaskKind.WORKFLOW, for_us=30 * SECOND_US)
    life.wait(20)
    life.keep(token)
    assert task(life).lease_until_us == life.now_us + WORKFLOW_TASK_POLL_LEASE_US


def test_progress_after_a_failure_is_no_failure() -> None:
    life = Life()
    life.fail_task(life.lease(TaskKind.WORKFLOW), Failure(message="broken"))
    life.wait(60)
    token = life.lease(TaskKind.WORKFLOW)
    life.keep(token, step(1))
    assert (life.run.task_failure, life.run.accepted_lease) == (b"", 0)


@pytest.mark.parametrize("commands", [[step(1)], [schedule(1)], []])
def test_the_task_of_a_paused_run_is_not_kept_and_not_lost(commands: list[Any]) -> None:
    life = Life()
    token = life.lease(TaskKind.WORKFLOW)
    life.pause()
    token = life.kept_token(token)
    life.keep(token, *commands)
    assert task(life).is_held_back
    length = life.run.history_length
    life.keep(token, *commands)
    assert life.run.history_length == length
    life.unpause()
    assert task(life).session_id is None
    again = life.lease(TaskKind.WORKFLOW)
    assert again.lease > token.lease
    life.report(again, complete())


@pytest.mark.parametrize("commands", [[complete()], [side_effect(1), complete()]])
def test_a_task_that_is_kept_does_not_close_the_run(commands: list[Any]) -> None:
    life = Life()
    with pytest.raises(InvalidCommand, match="cannot be kept"):
        life.keep(life.lease(TaskKind.WORKFLOW), *commands)
    assert life.kinds == ["workflow_started"]


def test_the_token_of_an_activity_keeps_nothing() -> None:
    life = Life()
    token = TaskToken("run-1", TaskKind.ACTIVITY, 1, 1, lease=1)
    with pytest.raises(StaleTask):
        life.decide(lambda d: decide.decide_kept_commands(d, token, [], next_run=NEXT, now_us=1))
