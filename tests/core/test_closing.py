from __future__ import annotations

import pytest

from perdure.v1.failure_pb2 import Failure, FailureKind, TimeoutType
from perdure.v1.payload_pb2 import Payload
from perdure_server.core import closing
from perdure_server.core.errors import InvalidCommand, WorkflowNotFound
from perdure_server.core.frames import parse_frame
from perdure_server.core.limits import (
    FAILURE_BYTES_MAX,
    HISTORY_BYTES_MAX,
    HISTORY_EVENTS_MAX,
    PAYLOAD_BYTES_MAX,
    SECOND_US,
)
from perdure_server.core.model import RunStatus, TaskKind, TimerKind
from tests.core.life import (
    START_US,
    Life,
    attempts,
    await_signal,
    complete,
    fail,
    options,
    schedule,
    seconds,
    timer,
)


def names(life: Life) -> list[tuple[int, str]]:
    return [(each.event_seq, each.signal_name) for each in life.last.unhandled_signals]


def test_a_result_closes_the_run() -> None:
    life = Life()
    life.work(schedule(), timer(), complete(b"7"))
    run = life.run
    assert (run.status, run.closed_at_us) == (RunStatus.COMPLETED, START_US)
    assert life.last.result.data == b"7"
    assert (life.state.activities, life.state.tasks, life.state.timers) == ({}, {}, {})
    change = life.draft.change()
    assert change.closes
    assert (change.put_activities, change.put_tasks, change.put_timers) == ({}, {}, {})


def test_a_run_may_complete_without_a_result() -> None:
    life = Life()
    life.work(complete(None))
    assert not life.last.HasField("result")


def test_holders_of_activities_are_told() -> None:
    life = Life()
    life.work(schedule(1), schedule(2))
    life.lease(TaskKind.ACTIVITY, 2)
    life.signal()
    life.work(complete())
    assert [(each.seq, each.reason) for each in life.draft.notices] == [(2, "WORKFLOW_CLOSED")]


def test_unseen_and_unconsumed_signals_are_listed() -> None:
    life = Life()
    life.signal("a")
    life.signal("b")
    token = life.lease(TaskKind.WORKFLOW)
    life.signal("c")
    life.report(token, complete(unconsumed=((3, "b"), (3, "b"))))
    assert names(life) == [(3, "b"), (4, "c")]


def test_a_signal_of_an_earlier_task_is_listed_by_the_name_it_is_given() -> None:
    life = Life()
    life.signal("a")
    life.work(schedule())
    life.signal("b")
    life.work(complete(unconsumed=((2, "a"),)))
    assert names(life) == [(2, "a")]


@pytest.mark.parametrize("seq", [0, 3])
def test_an_unconsumed_signal_was_covered(seq: int) -> None:
    life = Life()
    life.signal()
    token = life.lease(TaskKind.WORKFLOW)
    life.signal()
    with pytest.raises(InvalidCommand, match=r"unconsumed_signals\[0\].event_seq: is"):
        life.report(token, complete(unconsumed=((seq, "go"),)))


def test_termination_lists_what_it_cuts_off() -> None:
    life = Life()
    life.signal("a")
    life.terminate("enough")
    assert (life.run.status, life.last.reason) == (RunStatus.TERMINATED, "enough")
    assert names(life) == [(2, "a")]
    with pytest.raises(WorkflowNotFound):
        life.terminate()


def test_a_failure_without_a_policy_is_final() -> None:
    life = Life()
    life.work(fail())
    assert (life.run.status, life.run.next_run_id) == (RunStatus.FAILED, "")
    assert (life.last.failure.message, life.last.next_run_id) == ("no", "")
    assert not life.draft.next_runs


def test_a_failed_run_is_tried_again() -> None:
    life = Life(
        retry_policy=attempts(2),
        input=Payload(data=b"5"),
        run_timeout=seconds(30),
        execution_timeout=seconds(99),
        task_queue="shop",
        priority=1,
    )
    life.wait(2)
    life.work(fail())
    assert (life.run.next_run_id, life.last.next_run_id) == ("run-2", "run-2")
    (follower,) = life.draft.next_runs
    change, state = follower.change(), follower.state()
    run, started = state.run, parse_frame(state.started).workflow_started
    assert (run.generation, run.attempt, run.version) == (2, 2, 1)
    assert change.expected_version == 0
    assert (run.previous_run_id, started.previous_run_id) == ("run-1", "run-1")
    assert (started.first_run_id, started.seed, started.attempt) == ("run-1", 22, 2)
    assert started.execution_started_at.ToMicroseconds() == START_US
    assert started.input.data == b"5"
    task = state.tasks[TaskKind.WORKFLOW, 0]
    assert (task.queue, task.priority) == ("shop", 1)
    assert task.ready_at_us == life.now_us + SECOND_US
    assert state.timers[TimerKind.RUN_TIMEOUT, 0].due_at_us == life.now_us + 31 * SECOND_US
    assert state.timers[TimerKind.EXECUTION_TIMEOUT, 0].due_at_us == START_US + 99 * SECOND_US


@pytest.mark.parametrize(
    ("failure", "policy"),
    [
        (Failure(type="A"), attempts(1)),
        (Failure(type="A"), attempts(5, non_retryable_types=["A"])),
        (Failure(type="A", non_retryable=True), attempts(5)),
    ],
)
def test_a_policy_may_forbid_another_run(failure: Failure, policy: object) -> None:
    life = Life(retry_policy=policy)
    life.work(fail(failure))
    assert not life.draft.next_runs


def test_no_run_begins_after_the_execution_timeout() -> None:
    life = Life(retry_policy=attempts(0), execution_timeout=seconds(10))
    life.wait(9)
    life.work(fail())
    assert life.run.next_run_id == ""


def test_a_cancelled_run_is_not_tried_again() -> None:
    life = Life(retry_policy=attempts(0))
    life.work(await_signal(1))
    life.cancel()
    life.work(fail())
    assert life.run.status is RunStatus.FAILED
    assert not life.draft.next_runs


@pytest.mark.parametrize("policy", [None, attempts(2)])
def test_the_run_timeout_may_be_tried_again(policy: object) -> None:
    life = Life(run_timeout=seconds(5), retry_policy=policy)
    life.signal("a")
    life.wait(5)
    life.ring(TimerKind.RUN_TIMEOUT)
    assert life.run.status is RunStatus.TIMED_OUT
    assert life.last.timeout_type == TimeoutType.TIMEOUT_TYPE_RUN
    assert life.last.next_run_id == ("run-2" if policy else "")
    assert names(life) == [(2, "a")]


def test_the_execution_timeout_ends_the_chain() -> None:
    life = Life(execution_timeout=seconds(5), retry_policy=attempts(0))
    life.wait(5)
    life.ring(TimerKind.EXECUTION_TIMEOUT)
    assert life.last.timeout_type == TimeoutType.TIMEOUT_TYPE_EXECUTION
    assert life.last.next_run_id == ""
    assert life.run.status is RunStatus.TIMED_OUT


@pytest.mark.parametrize(
    ("bound", "value"),
    [("HISTORY_EVENTS_MAX", 3), ("HISTORY_BYTES_MAX", 120)],
)
def test_a_history_that_is_too_long_fails_the_run(
    bound: str, value: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (HISTORY_EVENTS_MAX, HISTORY_BYTES_MAX) == (50_000, 50 * 1024 * 1024)
    monkeypatch.setattr(closing, bound, value)
    life = Life()
    life.signal("a")
    assert life.run.status is RunStatus.PENDING
    life.signal("a" * 80)
    assert life.kinds[-2:] == ["signal_received", "workflow_failed"]
    assert life.last.failure.kind == FailureKind.FAILURE_KIND_LIMIT
    assert life.last.failure.type == "HISTORY_LIMIT"
    assert [seq for seq, _ in names(life)] == [2, 3]
    assert not life.state.tasks


def test_a_run_that_closes_at_the_bound_just_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closing, "HISTORY_EVENTS_MAX", 2)
    life = Life()
    life.work(complete())
    assert life.kinds[-1] == "workflow_completed"


@pytest.mark.parametrize(
    ("command", "field"),
    [
        (complete(b"x" * (PAYLOAD_BYTES_MAX + 1)), "complete_workflow.result"),
        (fail(Failure(message="x" * (FAILURE_BYTES_MAX + 1))), "fail_workflow.failure"),
    ],
)
def test_a_result_that_is_too_large_is_refused(command: object, field: str) -> None:
    with pytest.raises(InvalidCommand, match=rf"command 0: {field}: has \d+ bytes"):
        Life().work(command)


def test_options_of_activities_do_not_outlive_the_run() -> None:
    life = Life()
    life.work(schedule(options=options(schedule_to_start=5)))
    life.terminate()
    life.wait(5)
    life.ring(TimerKind.ACTIVITY_QUEUE, 1)
    assert life.kinds[-1] == "workflow_terminated"
