"""Side effects: recorded once, and the code goes on."""

from __future__ import annotations

import pytest

from perdure.v1.command_pb2 import Command
from perdure.v1.payload_pb2 import Payload
from perdure_server.core.errors import InvalidCommand
from tests.core.life import (
    Life,
    await_signal,
    begun_again,
    complete,
    schedule,
    send_signal,
    side_effect,
    start_child,
    timer,
)

WAKING = [schedule(1), timer(1), await_signal(1), start_child(), send_signal(1)]


def test_a_side_effect_is_recorded_and_the_code_runs_again() -> None:
    life = Life()
    life.work(side_effect(1, value=Payload(data=b"7")), side_effect(2, "none"))
    first, second = (event.side_effect_recorded for event in life.events[1:])
    assert (first.side_effect_seq, first.name, first.value.data) == (1, "dice", b"7")
    assert (second.side_effect_seq, second.HasField("value")) == (2, False)
    assert life.run.side_effect_seq_max == 2
    assert life.state.tasks


def test_a_repetition_neither_writes_nor_dispatches() -> None:
    life = Life()
    life.work(side_effect(1))
    life.work(side_effect(1, value=Payload(data=b"9")))
    assert life.kinds[1:] == ["side_effect_recorded"]
    assert not life.state.tasks


@pytest.mark.parametrize("other", WAKING, ids=lambda command: command.WhichOneof("command"))
def test_beside_what_can_wake_the_run_it_does_not(other: Command) -> None:
    life = Life()
    life.work(side_effect(1), other)
    assert "side_effect_recorded" in life.kinds
    assert ("workflow", 0) not in life.state.tasks


def test_a_run_that_begins_again_goes_on_counting() -> None:
    life = Life()
    life.work(side_effect(1), side_effect(2))
    again = begun_again(life, life.run.history_length)
    assert again.run.side_effect_seq_max == 2


def test_a_run_that_closes_keeps_it() -> None:
    life = Life()
    life.work(side_effect(1), complete())
    assert life.kinds[1:] == ["side_effect_recorded", "workflow_completed"]


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"seq": 2}, "without a gap"),
        ({"seq": 0}, "without a gap"),
        ({"name": "x" * 256}, "name"),
        ({"value": Payload(data=b"x" * (2 * 1024 * 1024 + 1))}, "value"),
    ],
)
def test_a_malformed_one_is_refused(fields: dict[str, object], text: str) -> None:
    with pytest.raises(InvalidCommand, match=text):
        Life().work(side_effect(**fields))  # type: ignore[arg-type]
