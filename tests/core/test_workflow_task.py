from __future__ import annotations

import pytest

from perdure.v1.command_pb2 import Command
from perdure.v1.failure_pb2 import Failure
from perdure_server.core.errors import InvalidCommand, LimitExceeded, StaleTask
from perdure_server.core.limits import COMMANDS_MAX, FAILURE_BYTES_MAX, SECOND_US
from perdure_server.core.model import RunStatus, TaskKind
from tests.core.life import Life, await_signal, complete, fail, schedule

WORKFLOW = TaskKind.WORKFLOW
MISFIT = Failure(message="the code no longer fits", type="DeterminismError")


def test_an_accepted_report_starts_the_run() -> None:
    life = Life()
    life.wait(3)
    token = life.work()
    run = life.run
    assert (run.status, run.started_at_us) == (RunStatus.RUNNING, life.now_us)
    assert (run.seen_seq, run.accepted_lease, run.task_lease) == (1, 1, 1)
    assert (life.state.tasks, life.state.tail) == ({}, [])
    assert life.draft.fences[WORKFLOW, 0].lease == 1
    assert token.seen_seq == 1


def test_lease_numbers_only_grow() -> None:
    life = Life()
    life.work(await_signal(1))
    for lease in (2, 3, 4):
        life.signal()
        assert life.work().lease == lease


def test_an_accepted_report_sent_again_changes_nothing() -> None:
    life = Life()
    token = life.work(schedule())
    version = life.run.version
    life.report(token, schedule())
    assert (life.run.version, len(life.rows)) == (version, 2)
    life.signal()
    closing = life.work(complete())
    version = life.run.version
    life.report(closing, complete())
    assert life.run.version == version
    with pytest.raises(StaleTask):
        life.report(token, complete())


def test_a_stale_report_is_refused() -> None:
    life = Life()
    token = life.lease(WORKFLOW)
    life.lose(token)
    for report in (lambda: life.report(token), lambda: life.fail_task(token, MISFIT)):
        with pytest.raises(StaleTask, match="lease 1 of workflow task 0 is no longer current"):
            report()
    life.lease(WORKFLOW)
    with pytest.raises(StaleTask):
        life.report(token)


def test_tokens_of_the_other_kind_are_refused() -> None:
    life = Life()
    workflow_token = life.work(schedule())
    activity_token = life.lease(TaskKind.ACTIVITY, 1)
    with pytest.raises(StaleTask):
        life.report(activity_token)
    with pytest.raises(StaleTask):
        life.complete(workflow_token)


def test_a_token_cannot_have_seen_the_future() -> None:
    life = Life()
    task = life.task()
    life.lease(WORKFLOW)
    life.run.history_length += 5
    token = life.token(life.task())
    life.run.history_length -= 5
    assert task.lease == 0
    with pytest.raises(StaleTask):
        life.report(token)


@pytest.mark.parametrize("kind", TaskKind)
def test_a_lease_of_zero_was_never_given(kind: TaskKind) -> None:
    life = Life()
    life.work(schedule())
    token = life.token(life.task(TaskKind.ACTIVITY, 1))
    forged = type(token)("run-1", kind, token.seq, 1, lease=0)
    life.lose(life.lease(TaskKind.ACTIVITY, 1), delivered=False)
    report = life.complete if kind is TaskKind.ACTIVITY else life.report
    with pytest.raises(StaleTask):
        report(forged)


def test_a_batch_stands_or_falls_as_one() -> None:
    life = Life()
    token = life.lease(WORKFLOW)
    with pytest.raises(InvalidCommand):
        life.report(token, schedule(1), schedule(2), schedule(9))
    assert life.kinds == ["workflow_started"]
    assert life.run.status is RunStatus.PENDING
    assert list(life.state.tasks) == [(WORKFLOW, 0)]
    life.report(token, schedule(1))
    assert life.kinds[-1] == "activity_scheduled"


def test_a_malformed_command_names_its_source() -> None:
    command = schedule(3)
    command.source = "shop.py:42"
    with pytest.raises(InvalidCommand, match=r"seq: is 3; .* \(at shop\.py:42\)$"):
        Life().work(command)


def test_an_empty_command_is_refused() -> None:
    with pytest.raises(InvalidCommand, match="command 1: command: is missing, or unknown"):
        Life().work(schedule(), Command())


@pytest.mark.parametrize("second", [complete(), fail(), schedule()])
def test_nothing_follows_a_closing_command(second: Command) -> None:
    life = Life()
    with pytest.raises(InvalidCommand, match=r"command 1: .* stands after a command that closes"):
        life.work(complete(), second)
    assert not life.run.status.is_closed


def test_a_batch_has_a_bound() -> None:
    with pytest.raises(LimitExceeded, match="commands: is 10001; the bound is 10000"):
        Life().work(*[Command()] * (COMMANDS_MAX + 1))


def test_a_task_that_failed_backs_off() -> None:
    life = Life()
    for attempt, wait_s in ((1, 1), (2, 2), (3, 4)):
        token = life.lease(WORKFLOW)
        life.fail_task(token, MISFIT)
        task = life.task()
        assert (task.attempt, task.session_id) == (attempt + 1, None)
        assert task.ready_at_us == life.now_us + wait_s * SECOND_US
        version = life.run.version
        life.fail_task(token, MISFIT)
        assert life.run.version == version
        life.wait(wait_s)
    assert Failure.FromString(life.run.task_failure) == MISFIT
    assert life.kinds == ["workflow_started"]
    life.work()
    assert life.run.task_failure == b""


def test_a_failure_that_is_too_large_is_refused() -> None:
    life = Life()
    with pytest.raises(LimitExceeded):
        life.fail_task(life.lease(WORKFLOW), Failure(message="x" * (FAILURE_BYTES_MAX + 1)))


def test_only_repeated_losses_back_off() -> None:
    life = Life()
    for attempt, wait_s in ((1, 0), (2, 0), (3, 1), (4, 2)):
        token = life.lease(WORKFLOW)
        life.lose(token)
        life.lose(token)
        task = life.task()
        assert task.attempt == attempt + 1
        assert task.ready_at_us == life.now_us + wait_s * SECOND_US
        life.wait(wait_s)


def test_a_task_that_never_left_costs_nothing() -> None:
    life = Life()
    life.lose(life.lease(WORKFLOW), delivered=False)
    task = life.task()
    assert (task.attempt, task.session_id, task.lease) == (1, None, 1)


def test_a_polled_task_comes_back_when_its_lease_runs_out() -> None:
    life = Life()
    token = life.lease(WORKFLOW, for_us=30 * SECOND_US)
    life.wait(29)
    life.expire(token)
    assert life.task().session_id == "s-1"
    life.wait(1)
    life.expire(token)
    assert (life.task().session_id, life.task().attempt) == (None, 2)
    assert life.draft.notices[0].reason == "LEASE_LOST"
    life.expire(token)
    assert life.task().attempt == 2


def test_a_lease_without_an_end_does_not_run_out() -> None:
    life = Life()
    token = life.lease(WORKFLOW)
    life.wait(10_000)
    life.expire(token)
    assert life.task().session_id == "s-1"
