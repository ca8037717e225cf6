from __future__ import annotations

import pytest

from perdure.v1.command_pb2 import Command
from perdure.v1.failure_pb2 import Failure
from perdure.v1.interaction_pb2 import UpdateOutcome
from perdure.v1.payload_pb2 import Payload
from perdure_server.core import update
from perdure_server.core.errors import (
    InvalidCommand,
    LimitExceeded,
    RunClosed,
    UpdateRejected,
    WorkflowClosed,
)
from tests.core.life import (
    Life,
    await_signal,
    complete,
    complete_update,
    nested_failure,
    reject_update,
)


def outcome(life: Life, seq: int) -> UpdateOutcome:
    """What the last commit wrote of an update."""
    return UpdateOutcome.FromString(life.draft.change().put_updates[seq].outcome)


def waiting() -> Life:
    life = Life()
    life.work(await_signal(1))
    return life


def test_an_update_is_recorded_and_makes_a_task() -> None:
    life = waiting()
    seq = life.update("add", input=Payload(data=b"[1]"), request_id="r-1")
    assert (life.last.update_name, life.last.input.data) == ("add", b"[1]")
    row = life.state.updates[seq]
    assert (row.run_id, row.name, row.update_id, row.outcome) == ("run-1", "add", "r-1", b"")
    assert life.task()


def test_an_update_without_a_value_stays_one() -> None:
    life = Life()
    life.update()
    assert not life.last.HasField("input")


def test_a_result_is_an_event_and_the_outcome() -> None:
    life = waiting()
    seq = life.update()
    life.work(complete_update(seq, b"7"))
    assert (life.last.requested_seq, life.last.result.data) == (seq, b"7")
    assert outcome(life, seq).result.data == b"7"
    assert life.state.updates == {}
    assert not life.state.tasks


def test_a_failure_is_an_event_and_the_outcome() -> None:
    life = waiting()
    seq = life.update()
    life.work(reject_update(seq))
    assert life.kinds[-1] == "update_rejected"
    assert life.last.failure.type == "ValueError"
    assert outcome(life, seq).failure.message == "no"


def test_an_outcome_is_told_as_what_it_is() -> None:
    def told(**held: object) -> Payload:
        return update.answer_of("run-1", UpdateOutcome(**held).SerializeToString())  # type: ignore[arg-type]

    assert told(result=Payload(data=b"7")).data == b"7"
    with pytest.raises(UpdateRejected, match="no") as refusal:
        told(failure=Failure(message="no", type="Full"))
    assert refusal.value.failure_type == "Full"
    with pytest.raises(RunClosed, match=r"run-1 closed \(FAILED\)"):
        told(closed="FAILED")


def test_the_first_answer_counts() -> None:
    life = waiting()
    seq = life.update()
    life.work(complete_update(seq), complete_update(seq), reject_update(seq))
    assert life.kinds.count("update_completed") == 1
    life.signal()
    life.work(complete_update(seq), reject_update(seq))
    assert "update_rejected" not in life.kinds


@pytest.mark.parametrize(
    "command",
    [
        complete_update(0),
        complete_update(99),
        reject_update(-1),
        complete_update(1, b"x" * (2 * 1024 * 1024 + 1)),
        reject_update(1, nested_failure(51)),
    ],
)
def test_a_malformed_answer_is_refused(command: Command) -> None:
    with pytest.raises(InvalidCommand):
        Life().work(command)


def test_a_closed_run_takes_none() -> None:
    life = Life()
    life.terminate()
    with pytest.raises(WorkflowClosed, match="no more updates"):
        life.update()


def test_the_end_of_a_run_ends_the_open_ones_and_lists_them() -> None:
    life = waiting()
    first, second, third = life.update("a"), life.update("b"), life.update("c")
    life.work(complete_update(second), complete())
    listed = [(each.event_seq, each.update_name) for each in life.last.unhandled_updates]
    assert listed == [(first, "a"), (third, "c")]
    assert outcome(life, first).closed == "COMPLETED"
    assert outcome(life, second).result.data == b"1"
    assert life.state.updates == {}


def test_a_termination_ends_them_too() -> None:
    life = Life()
    seq = life.update()
    life.terminate()
    assert outcome(life, seq).closed == "TERMINATED"
    assert life.last.unhandled_updates[0].event_seq == seq


def test_a_run_has_a_bound_of_open_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(update, "UPDATES_OPEN_MAX", 1)
    life = waiting()
    seq = life.update()
    with pytest.raises(LimitExceeded, match="updates without an answer"):
        life.update()
    life.work(reject_update(seq, Failure(message="later")))
    assert life.update() > seq
