from __future__ import annotations

from dataclasses import replace

import pytest

from perdure.v1.payload_pb2 import Payload
from perdure_server.core.errors import InvalidCommand, WorkflowClosed
from perdure_server.core.messages import wants_answer
from perdure_server.core.model import MessageKind
from tests.core.life import Life, schedule, send_cancel, send_signal, start_child


def test_a_signal_travels_and_its_delivery_comes_back() -> None:
    life, other = Life(), Life()
    life.work(send_signal(payload=Payload(data=b"7"), run_id="run-9"))
    (message,) = life.sent
    assert (message.kind, message.workflow_id, message.run_id) == (
        MessageKind.SIGNAL,
        "other",
        "run-9",
    )
    other.hear(message)
    assert other.events[1].signal_received.payload.data == b"7"
    assert other.state.tasks
    (answer,) = other.sent
    assert (answer.kind, answer.run_id) == (MessageKind.ANSWER, "run-1")
    life.hear(answer)
    assert life.kinds[1:] == ["signal_workflow_initiated", "signal_workflow_delivered"]
    assert life.last.signal_seq == 1


def test_a_signal_without_a_value_stays_one() -> None:
    life, other = Life(), Life()
    life.work(send_signal())
    other.hear(life.sent[0])
    assert not other.events[1].signal_received.HasField("payload")


def test_a_cancellation_travels_and_its_delivery_comes_back() -> None:
    life, other = Life(), Life()
    other.work(schedule())
    life.work(send_cancel(reason="enough"))
    other.hear(life.sent[0])
    assert other.last.reason == "enough"
    life.hear(other.sent[0])
    assert life.kinds[1:] == ["cancel_workflow_initiated", "cancel_workflow_delivered"]


def test_a_closed_run_gives_back_what_wants_an_answer() -> None:
    life, other = Life(), Life()
    other.terminate()
    life.work(send_signal(), send_cancel())
    for message in life.sent:
        assert wants_answer(message)
        with pytest.raises(WorkflowClosed, match=r"is closed \(TERMINATED\)"):
            other.hear(message)
        life.take_back(message, "it is closed")
    assert life.kinds[-2:] == ["signal_workflow_failed", "cancel_workflow_failed"]
    assert (life.last.failure.type, life.last.failure.message) == (
        "WORKFLOW_NOT_FOUND",
        "it is closed",
    )
    assert life.state.tasks


def test_a_run_that_has_closed_hears_no_answer() -> None:
    life, other = Life(), Life()
    life.work(send_signal())
    other.hear(life.sent[0])
    life.terminate()
    before = list(life.kinds)
    life.hear(other.sent[0])
    life.take_back(life.sent[0])
    assert life.kinds == before


def test_numbers_make_repetitions_known() -> None:
    life = Life()
    life.work(send_signal(), send_signal(), send_cancel(), send_cancel())
    assert len(life.sent) == 2
    with pytest.raises(InvalidCommand, match="without a gap"):
        Life().work(send_signal(2))


def test_without_numbers_signals_are_sent_and_cancellations_once_each() -> None:
    life = Life()
    life.work(send_signal(0), send_signal(0), send_cancel(0), send_cancel(0), send_cancel(0, "x"))
    assert [message.kind for message in life.sent] == [
        MessageKind.SIGNAL,
        MessageKind.SIGNAL,
        MessageKind.CANCEL,
        MessageKind.CANCEL,
    ]


@pytest.mark.parametrize(
    "command",
    [
        send_signal(1, ""),
        send_signal(1, signal_name=""),
        send_signal(1, run_id="x" * 256),
        send_signal(1, payload=Payload(data=b"x" * (2 * 1024 * 1024 + 1))),
        send_cancel(1, ""),
        send_cancel(1, run_id="x" * 256),
        send_cancel(1, reason="x" * 5000),
    ],
)
def test_a_malformed_message_is_refused(command: object) -> None:
    with pytest.raises(InvalidCommand):
        Life().work(command)  # type: ignore[arg-type]


def test_the_end_of_a_parent_wants_no_answer() -> None:
    life = Life()
    life.work(start_child())
    life.terminate()
    assert not any(wants_answer(message) for message in life.sent)


@pytest.mark.parametrize("run_id", ["", "run-1"])
def test_the_latest_run_is_another_one_when_a_run_goes_on(run_id: str) -> None:
    parent = Life()
    parent.work(start_child())
    parent.terminate()
    (message,) = parent.sent
    other = Life()
    other.work(schedule())
    other.continue_as_new()
    before = list(other.kinds)
    message = replace(message, run_id=run_id)
    if run_id:
        other.hear(message)
    else:
        with pytest.raises(WorkflowClosed, match=r"is closed \(CONTINUED_AS_NEW\)"):
            other.hear(message)
    assert other.kinds == before
