"""StartWorkflowBatch."""

from __future__ import annotations

import asyncio

from google.rpc.error_details_pb2 import ErrorInfo

from perdure.v1 import workflow_service_pb2 as pb
from perdure.v1.workflow_pb2 import ConflictPolicy, WorkflowStatus
from tests.api.flows import QUEUE, json_payload, refused

USE = ConflictPolicy.CONFLICT_POLICY_USE_EXISTING
TERMINATE = ConflictPolicy.CONFLICT_POLICY_TERMINATE_EXISTING


def begin(workflow_id, **fields):
    defaults = {"workflow_type": "checkout", "task_queue": QUEUE}
    return pb.StartWorkflowRequest(workflow_id=workflow_id, **(defaults | fields))


async def start(flows, *starts):
    request = pb.StartWorkflowBatchRequest(starts=starts)
    answer = await flows.call("WorkflowService/StartWorkflowBatch", request)
    assert len(answer.outcomes) == len(starts)
    return answer.outcomes


def reason(outcome):
    assert outcome.WhichOneof("outcome") == "error"
    info = ErrorInfo()
    assert outcome.error.details[0].Unpack(info)
    return info.reason


async def test_each_start_is_answered_in_its_place(flows):
    outcomes = await start(flows, *[begin(f"w{n}", input=json_payload(str(n))) for n in range(30)])
    assert [outcome.started.workflow_id for outcome in outcomes] == [f"w{n}" for n in range(30)]
    assert all(outcome.started.started for outcome in outcomes)
    for number, outcome in enumerate(outcomes):
        found = await flows.get(f"w{number}")
        assert found.workflow.run_id == outcome.started.run_id
        assert found.workflow.input.data == str(number).encode()


async def test_none_at_all(flows):
    assert not await start(flows)


async def test_each_stands_or_falls_alone(flows):
    await flows.start("taken")
    outcomes = await start(
        flows,
        begin("taken"),
        begin("a"),
        begin("b", workflow_type=""),
        begin("c", priority=9),
        begin("taken", conflict_policy=USE),
        begin("d"),
    )
    kinds = [outcome.WhichOneof("outcome") for outcome in outcomes]
    assert kinds == ["error", "started", "error", "error", "started", "started"]
    assert [reason(outcomes[n]) for n in (0, 2, 3)] == [
        "WORKFLOW_ALREADY_EXISTS",
        "INVALID_REQUEST",
        "INVALID_REQUEST",
    ]
    assert "workflow_type" in outcomes[2].error.message
    assert not outcomes[4].started.started
    async with refused("NOT_FOUND", "WORKFLOW_NOT_FOUND"):
        await flows.get("b")


async def test_one_id_twice(flows):
    first, second, third = await start(
        flows, begin("w"), begin("w"), begin("w", conflict_policy=USE)
    )
    assert first.started.started
    assert reason(second) == "WORKFLOW_ALREADY_EXISTS"
    assert (third.started.started, third.started.run_id) == (False, first.started.run_id)


async def test_replacing_an_open_run(flows):
    await flows.start("w")
    (outcome,) = await start(flows, begin("w", conflict_policy=TERMINATE))
    assert outcome.started.started
    found = await flows.get("w")
    assert found.workflow.run_id == outcome.started.run_id
    assert found.workflow.status == WorkflowStatus.WORKFLOW_STATUS_PENDING


async def test_repeated_each_has_its_first_answer(flows):
    starts = [begin(f"w{n}", request_id="r") for n in range(5)]
    first = await start(flows, *starts)
    again = await start(flows, *starts)
    assert list(again) == list(first)
    assert await flows.start("w3", request_id="r", workflow_type="checkout") == first[3].started
    (other,) = await start(flows, begin("w3", request_id="r", workflow_type="other"))
    assert reason(other) == "REQUEST_ID_REUSED"


async def test_one_request_twice_in_a_batch(flows):
    outcomes = await start(flows, *[begin("", request_id="r")] * 3)
    assert len({outcome.started.run_id for outcome in outcomes}) == 1
    assert all(outcome.started.started for outcome in outcomes)


async def test_many_batches_at_once(flows):
    starts = [begin(f"w{n}", request_id="r") for n in range(20)]
    answers = await asyncio.gather(*[start(flows, *starts) for _ in range(4)])
    assert all(list(answer) == list(answers[0]) for answer in answers)


async def test_too_many(flows):
    async with refused("INVALID_ARGUMENT", "LIMIT_EXCEEDED", "starts"):
        await start(flows, *[begin("w")] * 1_001)


async def test_too_much(flows):
    large = begin("w", input=json_payload("x" * 2_000_000))
    async with refused("INVALID_ARGUMENT", "LIMIT_EXCEEDED", "starts"):
        await start(flows, *[large] * 9)
