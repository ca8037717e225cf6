from __future__ import annotations

import pytest

from perdure.v1.payload_pb2 import Header, Payload
from perdure.v1.workflow_service_pb2 import SignalWorkflowRequest, StartWorkflowRequest
from perdure_server.core.decide import (
    decide_replacement,
    decide_signal,
    decide_taken_id,
    normalize_start,
)
from perdure_server.core.draft import Draft, NextRun
from perdure_server.core.errors import WorkflowAlreadyExists, WorkflowNotFound
from perdure_server.core.limits import SECOND_US
from perdure_server.core.model import RunStatus, TaskKind, TimerKind
from perdure_server.core.retry import resolve_policy
from perdure_server.core.start import Occasion, TakenId, decide_start
from perdure_server.core.times import to_timestamp
from tests.core.life import START_US, Life, attempts, seconds

RUN_ENDS = (TimerKind.RUN_TIMEOUT, 0)
EXECUTION_ENDS = (TimerKind.EXECUTION_TIMEOUT, 0)


def test_a_start_opens_a_run_with_a_task() -> None:
    life = Life(task_queue="shop", priority=2, input=Payload(data=b"[1]"))
    run, task = life.run, life.task()
    assert (run.run_id, run.workflow_id, run.generation, run.version) == ("run-1", "o-1", 1, 1)
    assert run.status is RunStatus.PENDING
    assert life.kinds == ["workflow_started"]
    started = life.last
    assert (started.seed, started.attempt, started.first_run_id) == (11, 1, "run-1")
    assert started.execution_started_at == to_timestamp(START_US)
    assert started.input == Payload(data=b"[1]")
    assert (task.queue, task.type, task.priority) == ("shop", "checkout", 2)
    assert (task.ready_at_us, task.session_id, task.lease) == (START_US, None, 0)
    assert task.lease_limit_us is None


def test_headers_are_recorded_as_they_came() -> None:
    headers = [Header(name="b", value=Payload(data=b"1")), Header(name="a")]
    assert list(Life(headers=headers).last.headers) == headers


def test_a_start_is_one_insert() -> None:
    change = Life().draft.change()
    assert change.expected_version == 0
    assert not change.fences
    assert not change.closes


def test_a_run_without_a_workflow_id_takes_its_own_id() -> None:
    assert Life(workflow_id="").run.workflow_id == "run-1"


def test_defaults_are_filled_in_a_copy() -> None:
    request = StartWorkflowRequest(workflow_type="checkout")
    normal = normalize_start(request)
    assert (normal.namespace, normal.task_queue, normal.priority) == ("main", "default", 3)
    assert request == StartWorkflowRequest(workflow_type="checkout")
    assert normalize_start(normal) is normal


def test_a_start_delay_holds_back_the_first_task_only() -> None:
    life = Life(start_delay=seconds(60))
    assert life.task().ready_at_us == START_US + 60 * SECOND_US
    life.signal()
    assert life.task().ready_at_us == START_US + 60 * SECOND_US
    life.wait(90)
    life.work()
    life.signal()
    assert life.task().ready_at_us == life.now_us


def test_timeouts_become_timers() -> None:
    life = Life(run_timeout=seconds(10), execution_timeout=seconds(100), start_delay=seconds(5))
    assert life.state.timers[RUN_ENDS].due_at_us == START_US + 15 * SECOND_US
    assert life.state.timers[EXECUTION_ENDS].due_at_us == START_US + 100 * SECOND_US


def test_a_timeout_of_zero_counts_as_absent() -> None:
    assert not Life(run_timeout=seconds(0), execution_timeout=seconds(0)).state.timers


def test_the_retry_policy_is_recorded_with_its_defaults() -> None:
    policy = attempts(5)
    assert Life(retry_policy=policy).last.retry_policy == resolve_policy(policy)
    assert not Life().last.HasField("retry_policy")


@pytest.mark.parametrize("field", ["input", "run_timeout", "execution_timeout", "start_delay"])
def test_what_is_absent_stays_absent(field: str) -> None:
    assert not Life().last.HasField(field)


def test_a_start_without_input_has_one_task() -> None:
    assert list(Life().state.tasks) == [(TaskKind.WORKFLOW, 0)]


CONFLICT, REUSE = "CONFLICT_POLICY_", "REUSE_POLICY_"


@pytest.mark.parametrize(
    ("policy", "outcome"),
    [
        ("UNSPECIFIED", None),
        ("FAIL", None),
        ("USE_EXISTING", TakenId.USE_EXISTING),
        ("TERMINATE_EXISTING", TakenId.TERMINATE_EXISTING),
    ],
)
def test_the_conflict_policy_judges_an_open_run(policy: str, outcome: TakenId | None) -> None:
    request = StartWorkflowRequest(workflow_id="o-1", conflict_policy=CONFLICT + policy)
    if outcome is not None:
        assert decide_taken_id(request, Life().run) is outcome
        return
    with pytest.raises(WorkflowAlreadyExists, match="is open as run run-1"):
        decide_taken_id(request, Life().run)


@pytest.mark.parametrize(
    ("policy", "status", "allowed"),
    [
        ("UNSPECIFIED", RunStatus.FAILED, False),
        ("REJECT_DUPLICATE", RunStatus.FAILED, False),
        ("ALLOW_DUPLICATE", RunStatus.COMPLETED, True),
        ("ALLOW_DUPLICATE_FAILED_ONLY", RunStatus.COMPLETED, False),
        ("ALLOW_DUPLICATE_FAILED_ONLY", RunStatus.TERMINATED, True),
    ],
)
def test_the_reuse_policy_judges_a_closed_run(
    policy: str, status: RunStatus, *, allowed: bool
) -> None:
    request = StartWorkflowRequest(workflow_id="o-1", reuse_policy=REUSE + policy)
    latest = Life().run.copy()
    latest.status = status
    if allowed:
        assert decide_taken_id(request, latest) is TakenId.START_NEXT
        return
    with pytest.raises(WorkflowAlreadyExists, match=f"exists and is {status}"):
        decide_taken_id(request, latest)


def signalled(draft: Draft, now_us: int) -> int:
    return decide_signal(draft, SignalWorkflowRequest(signal_name="go"), now_us)


def test_a_replacement_ends_one_run_and_opens_the_next() -> None:
    life = Life()
    request = normalize_start(StartWorkflowRequest(workflow_id="o-1", workflow_type="checkout"))
    draft = Draft(life.state)
    new = NextRun("run-2", 22)
    following, seq = decide_replacement(draft, request, new=new, also=signalled, now_us=life.now_us)
    assert (seq, following.run.history_length) == (2, 2)
    assert draft.run.status is RunStatus.TERMINATED
    assert (following.run.run_id, following.run.generation) == ("run-2", 2)
    assert draft.next_runs == [following]
    assert following.change().put_tasks
    with pytest.raises(WorkflowNotFound):
        decide_replacement(draft, request, new=new, also=signalled, now_us=life.now_us)


def test_the_start_for_a_schedule_says_so() -> None:
    request = StartWorkflowRequest(workflow_type="t", workflow_id="w", namespace="main")
    occasion = Occasion("nightly", 1_000_000)
    started = decide_start(
        request, new=NextRun("r", 1), generation=1, now_us=2_000_000, occasion=occasion
    ).started()
    assert (started.schedule_name, started.schedule_due_at.seconds) == ("nightly", 1)
