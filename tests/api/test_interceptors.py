"""What surrounds every call: statuses, deadlines, the log."""

from __future__ import annotations

import asyncio
import itertools
import logging
from contextlib import asynccontextmanager

import grpc
import pytest

from perdure.v1 import watch_service_pb2 as watching
from perdure.v1 import workflow_service_pb2 as pb
from perdure_server.api.interceptors import Interceptors, end_before_deadline
from perdure_server.api.rpcs import rpcs_of
from perdure_server.core.errors import ShuttingDown, Unauthenticated, WorkflowNotFound
from tests.api.calls import Caller, Refused
from tests.support.quiet import until_quiet

ERROR_ID = "e-1"


class Fake:
    """Answers every RPC of a service as the test says."""

    def __init__(self, descriptor, **behaviours):
        self.DESCRIPTOR = descriptor
        for method in descriptor.methods:
            setattr(self, method.name, behaviours.get(method.name))


def workflow_service(**behaviours):
    return Fake(pb.DESCRIPTOR.services_by_name["WorkflowService"], **behaviours)


@asynccontextmanager
async def serving(*services):
    interceptors = Interceptors(monotonic_us=lambda: 0, error_id=lambda: ERROR_ID)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(tuple(interceptors.handlers(rpcs_of(services))))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    caller = Caller(f"127.0.0.1:{port}")
    caller.interceptors, caller.port = interceptors, port
    try:
        yield caller
    finally:
        await caller.close()
        await server.stop(0)


async def test_an_answer_may_be_a_message_or_its_bytes():
    async def message(request):
        return pb.GetWorkflowResponse()

    async def encoded(request):
        return pb.ListWorkflowsResponse(next_page_token="more").SerializeToString()

    async with serving(workflow_service(GetWorkflow=message, ListWorkflows=encoded)) as caller:
        assert await caller.call("WorkflowService/GetWorkflow", pb.GetWorkflowRequest())
        page = await caller.call("WorkflowService/ListWorkflows", pb.ListWorkflowsRequest())
        assert page.next_page_token == "more"


async def test_a_domain_error_reaches_the_caller_with_code_reason_and_text():
    async def refuse(request):
        raise WorkflowNotFound("no workflow 'a'")

    async with serving(workflow_service(GetWorkflow=refuse)) as caller:
        with pytest.raises(Refused) as refusal:
            await caller.call("WorkflowService/GetWorkflow", pb.GetWorkflowRequest())
    assert refusal.value == Refused("NOT_FOUND", "WORKFLOW_NOT_FOUND", "no workflow 'a'")


async def test_an_unexpected_error_tells_an_id_of_the_log_and_nothing_else(caplog):
    async def fail(request):
        raise ZeroDivisionError("secret")

    with caplog.at_level(logging.INFO):
        async with serving(workflow_service(GetWorkflow=fail)) as caller:
            with pytest.raises(Refused) as refusal:
                await caller.call("WorkflowService/GetWorkflow", pb.GetWorkflowRequest())
    assert (refusal.value.code, refusal.value.reason) == ("INTERNAL", "INTERNAL")
    assert ERROR_ID in refusal.value.text
    assert "secret" not in refusal.value.text
    (line,) = [record for record in caplog.records if record.name.endswith("failures")]
    assert line.fields == {"method": "perdure.v1.WorkflowService/GetWorkflow", "error_id": ERROR_ID}
    assert "secret" in str(line.exc_info[1])


async def test_bytes_that_are_no_message_are_an_invalid_request():
    async with serving(workflow_service(), watch_service()) as caller:
        for method in ("WorkflowService/GetWorkflow", "WatchService/Watch"):
            with pytest.raises(Refused) as refusal:
                await caller.raw(method, b"\xff\xff\xff")
            assert (refusal.value.code, refusal.value.reason) == (
                "INVALID_ARGUMENT",
                "INVALID_REQUEST",
            )


async def test_bytes_that_are_no_message_end_a_session():
    async def session(requests):
        async for _ in requests:
            yield pb.SessionResponse(pong=1)

    async with serving(workflow_service(Session=session)) as caller:
        with pytest.raises(Refused) as refusal:
            await caller.raw("WorkflowService/Session", b"\xff\xff\xff")
    assert refusal.value.reason == "INVALID_REQUEST"


def watch_service(**behaviours):
    return Fake(watching.DESCRIPTOR.services_by_name["WatchService"], **behaviours)


async def test_a_stream_may_fail_after_its_first_answers():
    async def watch(request):
        yield watching.WatchResponse(cursor="c1")
        yield watching.WatchResponse(cursor="c2").SerializeToString()
        raise ShuttingDown("the server is stopping")

    async with serving(watch_service(Watch=watch)) as caller:
        answers = caller.stream("WatchService/Watch", watching.WatchRequest())
        seen = [(await anext(answers)).cursor, (await anext(answers)).cursor]
        with pytest.raises(Refused) as refusal:
            await anext(answers)
    assert seen == ["c1", "c2"]
    assert (refusal.value.code, refusal.value.reason) == ("UNAVAILABLE", "SHUTTING_DOWN")


def slow_watch(made):
    """Gives more than a caller can take who does not read; notes its task first, then each answer.

    The task is the one that serves the stream.
    """

    async def watch(request):
        made.append(asyncio.current_task())
        for number in itertools.count():
            made.append(number)
            answer = watching.WatchResponse(cursor=f"c{number}")
            answer.event.signal_received.payload.data = b"x" * 1_000_000
            yield answer

    return watch


@pytest.mark.parametrize("ends", [1, 2])
async def test_a_slow_reader_gets_all_that_was_written_and_the_reason(caplog, ends):
    made, read = [], []
    with caplog.at_level(logging.INFO):
        async with serving(watch_service(Watch=slow_watch(made))) as caller:
            answers = caller.stream("WatchService/Watch", watching.WatchRequest())
            read.append((await anext(answers)).cursor)
            await until_quiet(made)
            caller.interceptors.end_stream(made[0], Unauthenticated("the key was revoked"))
            for _ in range(1, ends):
                caller.interceptors.end_streams()
            with pytest.raises(Refused) as refusal:
                await read_all(answers, read)
    assert refusal.value == Refused("UNAUTHENTICATED", "UNAUTHENTICATED", "the key was revoked")
    assert read == [f"c{number}" for number in made[1:]]
    assert [line["reason"] for line in access_lines(caplog)] == ["UNAUTHENTICATED"]


async def test_what_comes_after_the_streams_were_ended_is_refused_and_not_begun():
    begun = []

    async def poll(request):
        begun.append(request)
        await asyncio.Event().wait()

    async def watch(request):
        begun.append(request)
        await asyncio.Event().wait()
        yield

    services = workflow_service(GetWorkflowResult=poll), watch_service(Watch=watch)
    async with serving(*services) as caller:
        caller.interceptors.end_streams()
        request = pb.GetWorkflowResultRequest(workflow_id="w", wait={"seconds": 60})
        calls = [
            caller.call("WorkflowService/GetWorkflowResult", request),
            anext(caller.stream("WatchService/Watch", watching.WatchRequest())),
        ]
        for call in calls:
            with pytest.raises(Refused) as refusal:
                await call
            assert (refusal.value.code, refusal.value.reason) == ("UNAVAILABLE", "SHUTTING_DOWN")
    assert begun == []


async def read_all(answers, read):
    async for answer in answers:
        read.append(answer.cursor)


async def test_a_stream_may_end_when_grpc_has_let_go_of_its_call(caplog):
    made = []
    with caplog.at_level(logging.INFO):
        async with serving(watch_service(Watch=slow_watch(made))) as caller:
            answers = caller.stream("WatchService/Watch", watching.WatchRequest())
            await anext(answers)
            await until_quiet(made)
            caller.interceptors.end_streams()
            await answers.aclose()
            await asyncio.gather(made[0], return_exceptions=True)
        await until_quiet(made)
    (line,) = access_lines(caplog)
    assert line["peer"].startswith("ipv4:")


async def test_a_caller_that_leaves_ends_the_stream_at_the_server(caplog):
    ended = asyncio.Event()

    async def watch(request):
        try:
            yield watching.WatchResponse(cursor="c1")
            await asyncio.Event().wait()
        finally:
            ended.set()

    with caplog.at_level(logging.INFO):
        async with serving(watch_service(Watch=watch)) as caller:
            answers = caller.stream("WatchService/Watch", watching.WatchRequest())
            assert (await anext(answers)).cursor == "c1"
            await answers.aclose()
            await ended.wait()
    assert access_lines(caplog)[0]["code"] == "CANCELLED"


def access_lines(caplog):
    return [record.fields for record in caplog.records if record.name.endswith("access")]


async def test_every_call_leaves_one_line_without_content(caplog):
    async def answer(request):
        return pb.GetWorkflowResponse()

    with caplog.at_level(logging.INFO):
        async with serving(workflow_service(GetWorkflow=answer)) as caller:
            request = pb.GetWorkflowRequest(workflow_id="secret")
            await caller.call("WorkflowService/GetWorkflow", request)
    (line,) = access_lines(caplog)
    peer = line.pop("peer")
    assert peer.startswith("ipv4:127.0.0.1")
    assert line == {
        "method": "perdure.v1.WorkflowService/GetWorkflow",
        "code": "OK",
        "reason": "",
        "ms": 0.0,
    }


async def test_a_quiet_log_has_no_lines_of_calls(caplog):
    async def answer(request):
        return pb.GetWorkflowResponse()

    with caplog.at_level(logging.WARNING):
        async with serving(workflow_service(GetWorkflow=answer)) as caller:
            await caller.call("WorkflowService/GetWorkflow", pb.GetWorkflowRequest())
    assert not access_lines(caplog)


async def test_a_long_poll_is_told_to_end_before_its_deadline():
    waits = []

    async def remember(request):
        waits.append(request.wait.ToSeconds())
        return pb.GetWorkflowResultResponse()

    async with serving(workflow_service(GetWorkflowResult=remember)) as caller:
        request = pb.GetWorkflowResultRequest(wait={"seconds": 60})
        await caller.call("WorkflowService/GetWorkflowResult", request, timeout=10)
        await caller.call("WorkflowService/GetWorkflowResult", request)
    assert 5 < waits[0] < 10
    assert waits[1] == 60


@pytest.mark.parametrize(
    ("wait_seconds", "remaining_seconds", "expected_ms"),
    [(5, 10, 5_000), (20, 10, 9_750), (20, 0.1, 0), (20, None, 20_000)],
)
def test_only_a_wait_beyond_the_deadline_is_shortened(wait_seconds, remaining_seconds, expected_ms):
    request = pb.GetWorkflowResultRequest(wait={"seconds": wait_seconds})
    end_before_deadline(request, remaining_seconds)
    assert request.wait.ToMilliseconds() == expected_ms


def test_a_request_without_a_wait_gets_none():
    request = pb.GetWorkflowResultRequest()
    end_before_deadline(request, 0.1)
    assert not request.HasField("wait")
