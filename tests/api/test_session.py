"""The stream of a client process: many calls, each served on its own."""

from __future__ import annotations

import pytest
from google.rpc.error_details_pb2 import ErrorInfo

from perdure.v1 import workflow_service_pb2 as pb
from perdure.v1.workflow_pb2 import WorkflowStatus
from tests.api.calls import Refused
from tests.api.flows import QUEUE, complete_workflow
from tests.api.streams import Session

START = {"workflow_id": "w", "workflow_type": "checkout", "task_queue": QUEUE}


@pytest.fixture
async def session(caller):
    session = Session(caller)
    yield session
    await session.close()


async def test_starts_signals_and_cancels(session, flows):
    session.ask(1, start=START)
    started = (await session.reply(1)).start
    assert started.started
    session.ask(2, signal={"workflow_id": "w", "signal_name": "go"})
    assert (await session.reply(2)).signal.event_seq == 2
    session.ask(3, cancel={"workflow_id": "w", "run_id": started.run_id})
    assert (await session.reply(3)).cancel.status == WorkflowStatus.WORKFLOW_STATUS_CANCELLED


async def test_a_result_is_awaited_without_a_bound(session, flows):
    session.ask(1, start=START)
    await session.reply(1)
    session.ask(2, result={"workflow_id": "w"})
    await flows.complete_workflow_task(await flows.poll_workflow_task(), complete_workflow("42"))
    assert (await session.reply(2)).result.result.data == b"42"


async def test_an_execution_is_answered_when_it_has_closed(session, flows):
    session.ask(1, execute={"start": START})
    await flows.complete_workflow_task(await flows.poll_workflow_task(), complete_workflow("42"))
    assert (await session.reply(1)).execute.result.data == b"42"


async def test_a_result_of_a_closed_workflow_comes_at_once(session, flows):
    await flows.start()
    await flows.terminate()
    session.ask(1, result={"workflow_id": "w"})
    answer = (await session.reply(1)).result
    assert answer.status == WorkflowStatus.WORKFLOW_STATUS_TERMINATED


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        ({"start": {"workflow_id": "w"}}, "INVALID_REQUEST"),
        ({"start": START | {"workflow_id": "taken"}}, "WORKFLOW_ALREADY_EXISTS"),
        ({"execute": {"start": START | {"workflow_id": "taken"}}}, "WORKFLOW_ALREADY_EXISTS"),
        ({"signal": {"workflow_id": "none", "signal_name": "go"}}, "WORKFLOW_NOT_FOUND"),
        ({"signal": {"workflow_id": "closed", "signal_name": "go"}}, "WORKFLOW_CLOSED"),
        ({"result": {"workflow_id": "none"}}, "WORKFLOW_NOT_FOUND"),
        ({"cancel": {"workflow_id": "closed"}}, "WORKFLOW_NOT_FOUND"),
        ({}, "INVALID_REQUEST"),
    ],
)
async def test_an_error_is_told_to_its_call_alone(session, flows, call, reason):
    await flows.start("taken")
    await flows.start("closed")
    await flows.terminate("closed")
    session.ask(1, **call)
    session.ask(2, start=START)
    error = (await session.reply(1)).error
    info = ErrorInfo()
    assert error.details[0].Unpack(info)
    assert (info.reason, info.domain) == (reason, "perdure")
    assert (await session.reply(2)).start.started


async def test_a_ping_is_answered(session):
    session.send(pb.SessionRequest(ping=7))
    assert (await session.read()).pong == 7


async def test_a_session_ends_when_all_calls_are_answered(session):
    session.ask(1, start=START)
    session.finish()
    assert (await session.reply(1)).start.started
    assert await session.rest() == []


async def test_repeating_an_unanswered_call_with_its_request_id_is_safe(session, caller):
    session.ask(1, start=START | {"request_id": "r"})
    first = (await session.reply(1)).start
    await session.close()
    again = Session(caller)
    again.ask(1, start=START | {"request_id": "r"})
    assert (await again.reply(1)).start == first
    await again.close()


async def test_bytes_that_are_no_message_end_the_session(caller):
    with pytest.raises(Refused) as refusal:
        await caller.raw("WorkflowService/Session", b"\xff\xff\xff")
    assert refusal.value.reason == "INVALID_REQUEST"
