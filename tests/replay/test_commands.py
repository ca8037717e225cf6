"""Each command's automaton: every row of its table, and every step without a row."""

from __future__ import annotations

from itertools import product

import pytest

from perdure._replay import commands
from perdure._replay.children import CancelOtherRequest, ChildRequest, SignalRequest
from perdure._replay.commands import NOTE, WAIT, WORK, State, Step
from perdure.errors import HistoryError
from perdure.v1.command_pb2 import StartChildWorkflow
from perdure.v1.failure_pb2 import Failure
from perdure.v1.history_pb2 import HistoryEvent, UnhandledSignal
from perdure.v1.payload_pb2 import Payload


def activity():
    return commands.ActivityRequest("charge", Payload(data=b"1"), "shop.py:3")


def timer():
    return commands.TimerRequest(1_500_000, "shop.py:4")


def made(name):
    """One command of each kind."""
    request = MAKERS[name]()
    if isinstance(request, commands.CloseRequest):
        request.unconsumed = lambda: [UnhandledSignal(event_seq=7, signal_name="paid")]
    return request


def child():
    return ChildRequest(StartChildWorkflow(workflow_type="refund", workflow_id="c-1"), "shop.py:1")


def signal_request():
    request = SignalRequest("w-2", "shop.py:2", run_id="r-2")
    request.signal_name = "go"
    return request


MAKERS = {
    "child": child,
    "signal": signal_request,
    "cancel_other": lambda: CancelOtherRequest(child(), "shop.py:2"),
    "activity": activity,
    "timer": timer,
    "wait": lambda: commands.WaitRequest("paid", timer(), "shop.py:5"),
    "cancel_activity": lambda: commands.CancelActivityRequest(activity(), "shop.py:6"),
    "cancel_timer": lambda: commands.CancelTimerRequest(timer(), "shop.py:7"),
    "complete": lambda: commands.CompleteRequest(Payload(data=b"2"), "shop.py:8"),
    "fail": lambda: commands.FailRequest(Failure(type="E", message="m"), "shop.py:9"),
    "cancel": lambda: commands.CancelRequest("shop.py:10"),
}


KINDS = {
    "child": WORK,
    "signal": WORK,
    "cancel_other": WORK,
    "activity": WORK,
    "timer": WORK,
    "wait": WAIT,
    "cancel_activity": NOTE,
    "cancel_timer": NOTE,
    "complete": NOTE,
    "fail": NOTE,
    "cancel": NOTE,
}


@pytest.mark.parametrize(("kind", "state", "step"), list(product(KINDS, State, Step)))
def test_a_step_follows_the_table_and_is_refused_without_a_row(kind, state, step):
    request = made(kind)
    assert request.state is State.CREATED
    request.state = state
    after = KINDS[kind].get((state, step))
    if after is None:
        with pytest.raises(HistoryError, match=f"is {state}, not to {step}"):
            request.advance(step)
        assert request.state is state
    else:
        request.advance(step)
        assert request.state is after


@pytest.mark.parametrize("kind", KINDS)
def test_the_message_carries_kind_and_source(kind):
    request = made(kind)
    message = request.to_proto()
    assert message.WhichOneof("command") == request.KIND
    assert message.source == request.source
    assert request.EVENT in HistoryEvent.DESCRIPTOR.fields_by_name
    assert request.describe()


@pytest.mark.parametrize(
    ("kind", "event", "fits"),
    [
        ("activity", {"activity_seq": 1, "name": "charge"}, True),
        ("activity", {"activity_seq": 2, "name": "charge"}, False),
        ("activity", {"activity_seq": 1, "name": "refund"}, False),
        ("timer", {"timer_seq": 1}, True),
        ("timer", {"timer_seq": 2}, False),
        ("wait", {"wait_seq": 1, "signal_name": "paid"}, True),
        ("wait", {"wait_seq": 1, "signal_name": "sent"}, False),
        ("cancel_activity", {"activity_seq": 1}, True),
        ("cancel_activity", {"activity_seq": 2}, False),
        ("cancel_timer", {"timer_seq": 1}, True),
        ("cancel_timer", {"timer_seq": 3}, False),
        ("child", {"child_seq": 1, "workflow_type": "refund", "child_workflow_id": "c-1"}, True),
        ("child", {"child_seq": 2, "workflow_type": "refund", "child_workflow_id": "c-1"}, False),
        ("child", {"child_seq": 1, "workflow_type": "return", "child_workflow_id": "c-1"}, False),
        ("child", {"child_seq": 1, "workflow_type": "refund", "child_workflow_id": "c-2"}, False),
        ("signal", {"signal_seq": 1, "signal_name": "go", "workflow_id": "w-2"}, True),
        ("signal", {"signal_seq": 2, "signal_name": "go", "workflow_id": "w-2"}, False),
        ("signal", {"signal_seq": 1, "signal_name": "no", "workflow_id": "w-2"}, False),
        ("signal", {"signal_seq": 1, "signal_name": "go", "workflow_id": "w-3"}, False),
        ("cancel_other", {"cancel_seq": 1, "workflow_id": "c-1"}, True),
        ("cancel_other", {"cancel_seq": 2, "workflow_id": "c-1"}, False),
        ("cancel_other", {"cancel_seq": 1, "workflow_id": "c-2"}, False),
        ("complete", {}, True),
        ("fail", {}, True),
        ("cancel", {}, True),
    ],
)
def test_kind_number_and_name_decide_whether_an_event_fits(kind, event, fits):
    request = made(kind)
    request.seq = 1
    recorded = getattr(HistoryEvent(**{request.EVENT: event}), request.EVENT)
    assert request.fits(recorded) is fits


def test_a_timer_in_the_same_activation_bounds_the_wait():
    wait = made("wait")
    wait.timer.seq = 4
    assert wait.to_proto().wait_for_signal.timer_seq == 4
    assert commands.WaitRequest("paid", None, "").to_proto().wait_for_signal.timer_seq == 0


def test_a_duration_is_exact_to_the_microsecond():
    duration = commands.TimerRequest(3_000_001, "").to_proto().schedule_timer.duration
    assert (duration.seconds, duration.nanos) == (3, 1000)


def test_a_base_request_says_nothing_by_itself():
    for base in (commands.Request, commands.CloseRequest):
        with pytest.raises(TypeError, match="abstract"):
            base("")
