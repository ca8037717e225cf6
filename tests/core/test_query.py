"""What a worker is asked, and what its answer means."""

from __future__ import annotations

import pytest

from perdure.v1.interaction_pb2 import QueryOutcome, QueryWorkflowRequest
from perdure_server.core import query
from perdure_server.core.errors import QueryFailed
from perdure_server.core.limits import PAYLOAD_BYTES_MAX
from tests.core.life import Life, await_signal


def asked(life: Life, **fields: object) -> int:
    request = QueryWorkflowRequest(query_name="listed", **fields)  # type: ignore[arg-type]
    task = query.question(request, life.run)
    assert (task.run_id, task.workflow_id) == (life.run.run_id, life.run.workflow_id)
    assert (task.query_name, task.HasField("input")) == ("listed", "input" in fields)
    return task.current_seq


def test_what_the_code_must_have_been_shown() -> None:
    life = Life()
    assert asked(life) == 1
    life.work(await_signal(1))
    assert asked(life, input={"data": b"1"}) == 1
    life.pause()
    assert asked(life) == 1
    life.signal()
    assert asked(life) == len(life.rows) == 4
    life.terminate()
    assert asked(life) == 5


def test_an_answer_is_told_as_what_it_is() -> None:
    assert query.value_of(QueryOutcome(value={"data": b"7"})).data == b"7"
    with pytest.raises(QueryFailed, match="no room") as refusal:
        query.value_of(QueryOutcome(failure={"message": "no room", "type": "Full"}))
    assert refusal.value.failure_type == "Full"
    with pytest.raises(QueryFailed, match=r"^Full$"):
        query.value_of(QueryOutcome(failure={"type": "Full"}))
    with pytest.raises(QueryFailed, match="the bound is 2097152"):
        query.value_of(QueryOutcome(value={"data": b"x" * (PAYLOAD_BYTES_MAX + 1)}))
