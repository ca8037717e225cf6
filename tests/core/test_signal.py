from __future__ import annotations

import pytest

from perdure.v1.payload_pb2 import Payload
from perdure_server.core.errors import InvalidCommand, WorkflowClosed
from perdure_server.core.model import TaskKind
from tests.core.life import Life, await_signal, complete, schedule


def test_a_signal_is_recorded_in_order() -> None:
    life = Life()
    assert life.signal("a", Payload(data=b"null")) == 2
    assert life.last.payload.data == b"null"
    assert life.signal("b") == 3
    assert not life.last.HasField("payload")
    assert len(life.state.tasks) == 1


def test_a_signal_makes_a_task_for_a_waiting_run() -> None:
    life = Life()
    life.work(await_signal(1))
    assert not life.state.tasks
    life.signal()
    assert (TaskKind.WORKFLOW, 0) in life.state.tasks


def test_a_signal_during_a_task_makes_another() -> None:
    life = Life()
    token = life.lease(TaskKind.WORKFLOW)
    life.signal()
    life.report(token, await_signal(1))
    task = life.task()
    assert (task.lease, task.session_id) == (1, None)
    assert [row.kind for row in life.state.tail] == ["signal_received", "workflow_awaiting_signal"]


def test_a_closed_run_takes_no_signal() -> None:
    life = Life()
    life.work(complete())
    with pytest.raises(WorkflowClosed, match=r"run run-1 of workflow o-1 is closed \(COMPLETED\)"):
        life.signal()


def test_numbered_waits_are_recorded_once_each() -> None:
    life = Life()
    life.work(await_signal(1), await_signal(1), await_signal(2, timer_seq=4))
    assert life.kinds[1:] == ["workflow_awaiting_signal"] * 2
    assert (life.last.wait_seq, life.last.signal_name, life.last.timer_seq) == (2, "go", 4)


def test_a_wait_without_number_is_recorded_unless_an_equal_one_is_open() -> None:
    life = Life()
    life.work(await_signal(), await_signal(), await_signal(name="other"))
    assert [event.workflow_awaiting_signal.wait_seq for event in life.events[1:]] == [1, 2]
    life.signal("other")
    life.work(await_signal(), await_signal(name="other"))
    assert life.kinds[1:] == [
        "workflow_awaiting_signal",
        "workflow_awaiting_signal",
        "signal_received",
        "workflow_awaiting_signal",
    ]
    assert life.last.signal_name == "other"


def test_a_signal_that_nobody_waits_for_opens_no_wait() -> None:
    life = Life()
    life.signal()
    life.work(schedule(), await_signal())
    assert life.kinds[-1] == "workflow_awaiting_signal"


@pytest.mark.parametrize(
    ("command", "field"),
    [
        (await_signal(2), "seq"),
        (await_signal(-1), "seq"),
        (await_signal(1, name=""), "signal_name"),
        (await_signal(1, timer_seq=-1), "timer_seq"),
    ],
)
def test_a_malformed_wait_names_its_field(command: object, field: str) -> None:
    with pytest.raises(InvalidCommand, match=rf"command 0: wait_for_signal\.{field}: "):
        Life().work(command)
