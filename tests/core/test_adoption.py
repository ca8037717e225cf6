"""Children of a run that begins again: the new run takes the place of their parent."""

from __future__ import annotations

from dataclasses import replace

import pytest

from perdure_server.core import decide
from perdure_server.core.errors import WorkflowClosed
from perdure_server.core.messages import wants_answer
from perdure_server.core.model import Message, MessageKind, RunStatus, TaskKind
from tests.core.life import (
    Life,
    attempts,
    begun_again,
    child_of,
    complete,
    fail,
    go_on,
    options,
    schedule,
    start_child,
)


def a_family() -> tuple[Life, Life]:
    """A run with a child that waits for an activity, and the child."""
    life = Life()
    life.work(start_child(1))
    child = child_of(life)
    child.work(schedule())
    return life, child


def called(again: Life) -> Message:
    """The one message in which a run that has begun again calls for a child."""
    (message,) = again.draft.messages
    assert (message.kind, message.sender_run_id, message.run_id) == (
        MessageKind.ADOPT,
        again.run.run_id,
        "",
    )
    assert wants_answer(message)
    return message


def tell_end(again: Life, child: Life) -> None:
    """Has a child that has ended refuse the call, and its end told to the run that called."""
    message = called(again)
    with pytest.raises(WorkflowClosed) as refused:
        child.hear(message)
    again.decide(
        lambda draft: decide.decide_message_returned(
            draft, message, str(refused.value), again.now_us, ending=refused.value.ending
        )
    )


def test_an_open_child_goes_on_for_the_run_that_takes_over() -> None:
    life, child = a_family()
    again = begun_again(life, 2)
    assert life.sent == []
    version = child.run.version
    child.hear(called(again))
    assert child.kinds[-1] == "activity_scheduled"
    assert (child.run.parent_run_id, child.run.parent_seq) == (again.run.run_id, 1)
    assert child.run.version == version + 1
    child.complete(child.lease(TaskKind.ACTIVITY, 1))
    child.work(complete())
    (told,) = child.sent
    assert (told.kind, told.run_id) == (MessageKind.CHILD_CLOSED, again.run.run_id)
    again.hear(told)
    assert again.kinds[2:] == ["workflow_reset", "child_workflow_completed"]
    assert again.last.child_run_id == child.run.run_id


def test_it_stays_with_the_last_of_two_runs_that_took_over() -> None:
    life, child = a_family()
    calls = [replace(called(begun_again(life, 2)), sender_run_id=f"run-{seq}") for seq in (8, 9)]
    child.hear(calls[1])
    version = child.run.version
    child.hear(calls[0])
    assert (child.run.parent_run_id, child.run.version) == ("run-9", version)


def test_it_ends_with_the_run_that_took_over() -> None:
    life, child = a_family()
    again = begun_again(life, 2)
    child.hear(called(again))
    again.terminate()
    child.hear(again.sent[-1])
    assert child.run.status is RunStatus.TERMINATED


def test_the_run_that_was_left_ends_it_no_more() -> None:
    life = Life()
    life.work(start_child(1), schedule(options=options(retry=attempts(1))))
    child = child_of(life)
    child.work(schedule())
    life.fail(life.lease(TaskKind.ACTIVITY, 1))
    life.work(fail())
    again = begun_again(life, 4)
    child.hear(called(again))
    child.hear(life.sent[0])
    assert child.run.status is RunStatus.RUNNING


def test_children_of_later_are_not_called_for() -> None:
    life, child = a_family()
    life.signal()
    life.work(start_child(2, "c-2"))
    again = begun_again(life, 2)
    assert called(again).workflow_id == "c-1"
    assert [message.workflow_id for message in life.sent] == ["c-2"]
    assert child.run.status is RunStatus.RUNNING


@pytest.mark.parametrize("ends", [complete, fail])
def test_the_end_that_came_before_the_call_is_told(ends) -> None:
    life, child = a_family()
    life.signal()
    life.work(complete())
    child.complete(child.lease(TaskKind.ACTIVITY, 1))
    child.work(ends())
    again = begun_again(life, 2)
    tell_end(again, child)
    kind = "child_workflow_completed" if ends is complete else "child_workflow_failed"
    assert again.kinds[-1] == kind
    assert (again.last.child_seq, again.last.child_run_id) == (1, child.run.run_id)
    assert again.state.children[1].closed
    assert (child.run.parent_run_id, child.kinds[-1]) == ("run-1", f"workflow_{_past(ends)}")


def test_a_child_that_goes_on_in_another_run_is_looked_for() -> None:
    life, child = a_family()
    child.complete(child.lease(TaskKind.ACTIVITY, 1))
    child.work(go_on())
    follower = child_of(child)
    again = begun_again(life, 2)
    with pytest.raises(WorkflowClosed) as refused:
        child.hear(called(again))
    assert refused.value.ending is None
    follower.hear(called(again))
    assert follower.run.parent_run_id == again.run.run_id


def test_another_workflow_of_the_same_id_is_left_alone() -> None:
    life, _ = a_family()
    again, other = begun_again(life, 2), Life()
    tell_end(again, other)
    assert other.run.parent_run_id == ""
    assert (again.kinds[-1], again.last.failure.type) == (
        "child_workflow_failed",
        "WORKFLOW_NOT_FOUND",
    )


def test_a_child_that_was_deleted_has_ended() -> None:
    life, child = a_family()
    again = begun_again(life, 2)
    again.take_back(called(again))
    assert again.kinds[-1] == "child_workflow_failed"
    assert (again.last.child_run_id, again.last.status) == (child.run.run_id, 0)


def test_a_closed_run_hears_nothing_of_a_child_it_called_for() -> None:
    life, _ = a_family()
    again = begun_again(life, 2)
    message = called(again)
    again.terminate()
    again.take_back(message)
    assert again.kinds[-1] == "workflow_terminated"


def test_what_one_of_several_decisions_took_over_is_committed() -> None:
    life, child = a_family()
    again = begun_again(life, 2)
    message = called(again)

    def two(draft):
        trial = draft.fork()
        decide.decide_message(trial, message, child.now_us)
        draft.absorb(trial)

    child.decide(two)
    assert child.run.parent_run_id == again.run.run_id
    assert child.state.run.parent_run_id == again.run.run_id


def _past(ends: object) -> str:
    return "completed" if ends is complete else "failed"
