from __future__ import annotations

import pytest

from perdure.v1.failure_pb2 import Failure, FailureKind
from perdure.v1.history_pb2 import ChildWorkflowFailed
from perdure.v1.payload_pb2 import Header, Payload
from perdure.v1.search_attributes_pb2 import SearchAttribute, SearchAttributes
from perdure.v1.workflow_pb2 import ParentClosePolicy, ReusePolicy
from perdure_server.core.errors import InvalidCommand
from perdure_server.core.model import MessageKind, RunStatus, TimerKind
from tests.core.life import (
    Life,
    attempts,
    cancelled,
    child_of,
    complete,
    fail,
    schedule,
    seconds,
    start_child,
)
from tests.support.histories import a_run

ABANDON = ParentClosePolicy.PARENT_CLOSE_POLICY_ABANDON
REQUEST_CANCEL = ParentClosePolicy.PARENT_CLOSE_POLICY_REQUEST_CANCEL
TEAM = SearchAttributes(values={"team": SearchAttribute(keyword="a")})
AGAIN = ReusePolicy.REUSE_POLICY_ALLOW_DUPLICATE
AFTER_FAILURE = ReusePolicy.REUSE_POLICY_ALLOW_DUPLICATE_FAILED_ONLY


def test_a_child_begins_in_the_commit_of_its_parent() -> None:
    life = Life()
    life.work(
        start_child(
            input=Payload(data=b"7"),
            task_queue="refunds",
            priority=1,
            run_timeout=seconds(9),
            retry_policy=attempts(2),
            headers=[Header(name="trace", value=Payload(data=b"1"))],
            memo=Payload(data=b"[1]"),
            search_attributes=TEAM,
            summary="a refund",
            details="of a book",
        )
    )
    (child,) = life.children
    assert (child.parent_run_id, child.parent_seq, child.workflow_id) == ("run-1", 1, "c-1")
    assert child.parent_workflow_id == life.run.workflow_id
    assert (child.task_queue, child.priority, child.generation) == ("refunds", 1, 1)
    started = life.draft.next_runs[0].started()
    assert (started.input.data, started.run_timeout.seconds) == (b"7", 9)
    assert (started.parent.workflow_id, started.parent.child_seq) == ("o-1", 1)
    assert started.retry_policy.max_attempts == 2
    assert (started.memo.data, started.summary, started.details) == (
        b"[1]",
        "a refund",
        "of a book",
    )
    assert started.search_attributes == TEAM
    assert child.attributes == TEAM.SerializeToString()
    assert [header.name for header in started.headers] == ["trace"]
    assert life.last.child_run_id == child.run_id
    assert life.state.children[1].policy == "TERMINATE"


def test_a_child_takes_what_it_is_not_given_from_its_parent() -> None:
    life = Life(task_queue="orders", priority=2)
    life.work(start_child(1, ""), start_child(2, ""))
    first, second = life.children
    assert (first.task_queue, first.priority) == ("orders", 2)
    assert (first.workflow_id, second.workflow_id) == ("run-1-1", "run-1-2")
    started = life.draft.next_runs[0].started()
    assert not started.HasField("memo")
    assert not started.HasField("search_attributes")


def test_a_number_starts_one_child() -> None:
    life = Life()
    life.work(start_child(), start_child())
    assert life.kinds[1:] == ["child_workflow_started"]
    with pytest.raises(InvalidCommand, match="without a gap"):
        Life().work(start_child(2))


def test_without_a_number_a_workflow_id_starts_one_child() -> None:
    life = Life()
    life.work(start_child(0), start_child(0), start_child(0, "c-2"))
    assert [child.workflow_id for child in life.children] == ["c-1", "c-2"]
    with pytest.raises(InvalidCommand, match="workflow_id"):
        Life().work(start_child(0, ""))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("workflow_type", ""),
        ("workflow_id", "x" * 256),
        ("task_queue", "x" * 256),
        ("priority", 6),
        ("run_timeout", seconds(-1)),
        ("execution_timeout", seconds(-1)),
        ("input", Payload(data=b"x" * (2 * 1024 * 1024 + 1))),
        ("retry_policy", attempts(-1)),
        ("headers", [Header()]),
        ("memo", Payload(data=b"x" * (2 * 1024 * 1024 + 1))),
        ("search_attributes", SearchAttributes(values={"": SearchAttribute(bool=True)})),
        ("summary", "x" * 1025),
        ("details", "x" * 20_481),
    ],
)
def test_a_malformed_child_is_refused(field: str, value: object) -> None:
    fields = {"workflow_id": "c-1", field: value}
    with pytest.raises(InvalidCommand, match=field):
        Life().work(start_child(1, **fields))  # type: ignore[arg-type]


def test_an_id_in_use_is_told_to_the_code() -> None:
    life = Life()
    life.known = {"c-1": a_run(status=RunStatus.RUNNING)}
    life.work(start_child(), start_child(2, "c-2"), start_child(3, "c-2"))
    assert life.kinds[1:] == [
        "child_workflow_failed",
        "child_workflow_started",
        "child_workflow_failed",
    ]
    failed = life.events[1].child_workflow_failed
    assert (failed.failure.type, failed.status, failed.child_run_id) == ("ID_IN_USE", 0, "")
    assert life.state.tasks, "the code is to hear of it"
    assert len(life.children) == 1


@pytest.mark.parametrize(
    ("status", "policy", "started"),
    [
        (RunStatus.COMPLETED, 0, False),
        (RunStatus.COMPLETED, AGAIN, True),
        (RunStatus.COMPLETED, AFTER_FAILURE, False),
        (RunStatus.FAILED, AFTER_FAILURE, True),
        (RunStatus.RUNNING, AGAIN, False),
    ],
)
def test_a_closed_workflow_may_be_followed(
    status: RunStatus, policy: int, *, started: bool
) -> None:
    life = Life()
    life.known = {"c-1": a_run(status=status, generation=3)}
    life.work(start_child(reuse_policy=policy))
    assert [child.generation for child in life.children] == ([4] if started else [])


def test_a_parent_cannot_have_itself_as_a_child() -> None:
    life = Life()
    life.work(start_child(1, "o-1"))
    assert life.last.failure.type == "ID_IN_USE"


@pytest.mark.parametrize("how", ["failed", "cancelled", "terminated", "timed out"])
def test_the_parent_learns_of_every_end(how: str) -> None:
    life = Life()
    life.work(start_child(run_timeout=seconds(5)))
    child = child_of(life)
    if how == "failed":
        child.work(fail(Failure(message="no", kind=FailureKind.FAILURE_KIND_APPLICATION)))
    elif how == "cancelled":
        child.work(cancelled())
    elif how == "terminated":
        child.terminate("enough")
    else:
        child.wait(5)
        child.ring(TimerKind.RUN_TIMEOUT)
    (message,) = child.sent
    assert (message.kind, message.run_id) == (MessageKind.CHILD_CLOSED, "run-1")
    life.hear(message)
    assert isinstance(life.last, ChildWorkflowFailed)
    assert life.last.child_workflow_id == "c-1"
    assert life.last.failure.kind != FailureKind.FAILURE_KIND_UNSPECIFIED
    assert life.state.children[1].closed
    assert life.state.tasks


def test_the_result_of_a_child_is_delivered_once() -> None:
    life = Life()
    life.work(start_child(1, "c-1"), start_child(2, "c-2"))
    ends = [child_of(life, number=number) for number in (0, 1)]
    ends[0].work(complete(b"5"))
    ends[1].work(complete(None))
    for message in (ends[0].sent[0], ends[0].sent[0], ends[1].sent[0]):
        life.hear(message)
    assert life.kinds.count("child_workflow_completed") == 2
    first, second = (event.child_workflow_completed for event in life.events[-2:])
    assert first.result.data == b"5"
    assert not second.HasField("result")


def test_an_end_that_nobody_waits_for_is_dropped() -> None:
    life = Life()
    life.work(start_child())
    child = child_of(life)
    child.work(complete())
    stranger = Life()
    stranger.hear(child.sent[0])
    assert stranger.kinds == ["workflow_started"]
    life.terminate()
    before = list(life.kinds)
    life.hear(child.sent[0])
    assert life.kinds == before


def test_a_child_that_is_tried_again_is_one_child() -> None:
    life = Life()
    life.work(start_child(retry_policy=attempts(2)))
    child = child_of(life)
    child.work(fail())
    assert child.sent == []
    again = child.draft.next_runs[0].run
    assert (again.parent_run_id, again.parent_seq) == ("run-1", 1)
    assert again.parent_workflow_id == life.run.workflow_id


def test_children_end_with_their_parent_as_their_policies_say() -> None:
    life = Life()
    life.work(
        start_child(1, "c-1"),
        start_child(2, "c-2", parent_close_policy=ABANDON),
        start_child(3, "c-3", parent_close_policy=REQUEST_CANCEL),
        start_child(4, "c-4"),
    )
    ended, *lives = (child_of(life, number=number) for number in (3, 0, 2))
    ended.work(complete())
    life.hear(ended.sent[0])
    life.work(complete())
    assert [(message.kind, message.workflow_id) for message in life.sent] == [
        (MessageKind.TERMINATE, "c-1"),
        (MessageKind.CANCEL, "c-3"),
    ]
    lives[0].hear(life.sent[0])
    assert lives[0].run.status is RunStatus.TERMINATED
    assert "parent" in lives[0].last.reason
    lives[1].work(schedule())
    lives[1].hear(life.sent[1])
    assert lives[1].run.cancel_requested


@pytest.mark.parametrize("policy", [0, REQUEST_CANCEL])
def test_only_its_own_parent_ends_a_child(policy: int) -> None:
    life = Life()
    life.work(start_child(parent_close_policy=policy))
    life.terminate()
    stranger = Life()
    stranger.hear(life.sent[0])
    assert stranger.kinds == ["workflow_started"]
