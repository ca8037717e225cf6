from __future__ import annotations

import pytest

from perdure.v1.payload_pb2 import Payload
from perdure_server.core.errors import InvalidCommand, WorkflowClosed
from perdure_server.core.frames import parse_frame
from perdure_server.core.limits import SECOND_US
from perdure_server.core.model import MessageKind, RunStatus, TaskKind, TimerKind
from tests.core.life import (
    Life,
    await_signal,
    cancelled,
    child_of,
    go_on,
    schedule,
    seconds,
    start_child,
)


def names_in(life: Life) -> list[str]:
    """The signals at the beginning of the run that goes on."""
    events = [parse_frame(row.frame) for row in life.draft.next_runs[0].events[1:]]
    return [event.signal_received.signal_name for event in events]


def test_the_run_closes_and_another_goes_on() -> None:
    life = Life(task_queue="orders", priority=2, start_delay=seconds(3), input=Payload(data=b"1"))
    life.wait(3)
    life.work(go_on(input=Payload(data=b"2")))
    assert life.run.status is RunStatus.CONTINUED_AS_NEW
    (following,) = life.children
    assert (following.generation, following.attempt, following.priority) == (2, 1, 2)
    assert (following.previous_run_id, life.run.next_run_id) == ("run-1", following.run_id)
    assert (life.last.new_run_id, life.last.input.data) == (following.run_id, b"2")
    started = life.draft.next_runs[0].started()
    assert (started.input.data, started.first_run_id, started.previous_run_id) == (
        b"2",
        "run-1",
        "run-1",
    )
    assert not started.HasField("start_delay")
    assert started.seed == 22
    assert life.draft.next_runs[0].task(TaskKind.WORKFLOW, 0) is not None


def test_type_queue_and_no_input_may_be_wanted() -> None:
    life = Life(input=Payload(data=b"1"))
    life.work(go_on(workflow_type="refund", task_queue="other"))
    (following,) = life.children
    assert (following.workflow_type, following.task_queue) == ("refund", "other")
    assert not life.draft.next_runs[0].started().HasField("input")
    assert not life.last.HasField("input")


def test_signals_go_on_in_their_order() -> None:
    life = Life()
    life.signal("a")
    life.signal("b")
    life.work(await_signal(1))
    life.signal("c")
    token = life.lease(TaskKind.WORKFLOW)
    life.signal("d")
    life.report(token, go_on(((3, "b"),)))
    assert names_in(life) == ["b", "d"]
    assert [signal.event_seq for signal in life.last.carried_signals] == [3, 6]
    follower = life.draft.next_runs[0]
    assert follower.run.history_length == 3
    assert follower.run.stimulus_seq == 3


@pytest.mark.parametrize("seq", [1, 2, 99])
def test_what_is_no_signal_does_not_go_on(seq: int) -> None:
    life = Life()
    life.work(await_signal(1))
    life.signal()
    with pytest.raises(InvalidCommand, match=r"unconsumed_signals"):
        life.work(go_on(((seq, "go"),)))


@pytest.mark.parametrize(
    "fields",
    [
        {"workflow_type": "x" * 256},
        {"task_queue": "x" * 256},
        {"input": Payload(data=b"x" * (2 * 1024 * 1024 + 1))},
    ],
)
def test_a_malformed_continuation_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(InvalidCommand):
        Life().work(go_on(**fields))


def test_a_caller_may_want_it_too() -> None:
    life = Life()
    life.work(schedule())
    life.signal("late")
    following = life.continue_as_new(input=Payload(data=b"3"))
    assert life.last.external
    assert following.run_id == life.run.next_run_id
    assert names_in(life) == ["late"]
    with pytest.raises(WorkflowClosed, match="start the workflow again"):
        life.continue_as_new()


def test_a_child_that_goes_on_is_one_child() -> None:
    life = Life()
    life.work(start_child())
    child = child_of(life)
    child.work(go_on())
    assert child.sent == []
    assert child.children[0].parent_run_id == "run-1"


def test_children_end_with_the_run_that_is_left() -> None:
    life = Life()
    life.work(start_child())
    life.signal()
    life.work(go_on())
    assert [message.kind for message in life.sent] == [MessageKind.TERMINATE]


def test_a_cancellation_that_the_code_has_not_seen_goes_on() -> None:
    life = Life()
    life.work(await_signal(1))
    life.signal()
    token = life.lease(TaskKind.WORKFLOW)
    life.cancel("enough", deadline_s=60)
    life.report(token, go_on())
    following = child_of(life)
    assert following.kinds == ["workflow_started", "workflow_cancel_requested"]
    assert following.run.status is RunStatus.PENDING
    assert (following.run.cancel_requested, following.run.cancel_reason) == (True, "enough")
    assert following.state.timers[TimerKind.CANCEL_DEADLINE, 0].due_at_us == (
        life.now_us + 60 * SECOND_US
    )
    following.work(cancelled())
    assert following.last.reason == "enough"


def test_one_that_the_code_has_seen_does_not() -> None:
    life = Life()
    life.work(await_signal(1))
    life.cancel("enough")
    life.work(go_on())
    following = child_of(life)
    assert (following.kinds, following.run.cancel_requested) == (["workflow_started"], False)


def test_one_that_a_caller_may_not_have_seen_goes_on() -> None:
    life = Life()
    life.work(await_signal(1))
    life.cancel("enough")
    life.work(await_signal(2))
    life.continue_as_new()
    following = child_of(life)
    assert following.kinds == ["workflow_started", "workflow_cancel_requested"]
    assert not following.state.timers


def test_one_that_comes_before_the_code_goes_on_is_for_the_code() -> None:
    life = Life()
    life.work(go_on())
    following = child_of(life)
    following.cancel("enough")
    assert following.kinds == ["workflow_started", "workflow_cancel_requested"]
    following.work(cancelled())
    assert following.run.status is RunStatus.CANCELLED
