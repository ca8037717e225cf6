"""The server without sockets: the same answers and errors, by name."""

from __future__ import annotations

from contextlib import aclosing

import pytest

from perdure.v1 import watch_service_pb2 as watching
from perdure.v1 import workflow_service_pb2 as pb
from perdure_server.app import SystemClock, SystemIds
from perdure_server.core.errors import DomainError, StoreInUse, WorkflowNotFound
from perdure_server.embedded import EmbeddedServer, open_embedded, open_on_store
from tests.api.flows import QUEUE
from tests.support.model_store import ModelStore

START = pb.StartWorkflowRequest(workflow_id="w", workflow_type="checkout", task_queue=QUEUE)


async def requests(*messages):
    for message in messages:
        yield message


@pytest.fixture
async def server():
    async with open_on_store(ModelStore(), SystemClock(), SystemIds()) as server:
        yield server


async def test_calls_answer_with_messages(server):
    started = await server.call("WorkflowService/StartWorkflow", START)
    assert started.started
    request = pb.GetWorkflowHistoryRequest(workflow_id="w")
    history = await server.call("WorkflowService/GetWorkflowHistory", request)
    assert isinstance(history, pb.GetWorkflowHistoryResponse)
    assert len(history.history.events) == 1


async def test_refusals_are_domain_errors(server):
    with pytest.raises(WorkflowNotFound):
        await server.call("WorkflowService/GetWorkflow", pb.GetWorkflowRequest(workflow_id="w"))


async def test_a_stream_of_answers_to_one_request(server):
    await server.call("WorkflowService/StartWorkflow", START)
    request = watching.WatchWorkflowRequest(workflow_id="w")
    answers = server.stream("WatchService/WatchWorkflow", requests(request))
    async with aclosing(answers):
        assert (await anext(answers)).cursor
        assert (await anext(answers)).event.seq == 1


async def test_a_stream_both_ways(server):
    call = pb.SessionCall(call_id=1, start=START)
    answers = server.stream("WorkflowService/Session", requests(pb.SessionRequest(calls=[call])))
    seen = [answer async for answer in answers]
    assert [reply.start.started for answer in seen for reply in answer.replies] == [True]


async def test_refusals_of_streams_are_domain_errors(server):
    request = watching.WatchWorkflowRequest(workflow_id="w")
    with pytest.raises(WorkflowNotFound):
        await anext(server.stream("WatchService/WatchWorkflow", requests(request)))


async def test_unexpected_errors_tell_an_id_and_nothing_else(caplog):
    class Broken:
        name = "GetWorkflow"
        service = "perdure.v1.WorkflowService"
        takes_stream = True

        def behaviour(self, request):
            raise ZeroDivisionError("secret")

    server = EmbeddedServer({"WorkflowService/GetWorkflow": Broken()})
    request = pb.GetWorkflowRequest()
    with pytest.raises(DomainError) as refusal:
        await server.call("WorkflowService/GetWorkflow", request)
    assert refusal.value.reason == "INTERNAL"
    assert "secret" not in str(refusal.value)
    with pytest.raises(DomainError):
        await anext(server.stream("WorkflowService/GetWorkflow", requests(request)))
    assert "secret" in caplog.text


async def test_what_was_answered_is_there_after_the_next_start(tmp_path):
    path = tmp_path / "app.db"
    async with open_embedded(path) as server:
        first = await server.call("WorkflowService/StartWorkflow", START)
    async with open_embedded(path) as server:
        request = pb.GetWorkflowRequest(workflow_id="w")
        answer = await server.call("WorkflowService/GetWorkflow", request)
    assert answer.workflow.run_id == first.run_id


async def test_one_process_at_a_time(tmp_path):
    path = tmp_path / "app.db"
    async with open_embedded(path):
        with pytest.raises(StoreInUse, match="app"):
            async with open_embedded(path):
                pass
