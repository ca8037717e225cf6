"""Of several servers one may answer and yet be unable to serve: then any other will do."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from perdure._transport import GrpcTransport, one
from perdure.errors import ShuttingDownError, StoreUnavailableError, WorkflowNotFoundError
from perdure.v1 import workflow_service_pb2 as pb
from perdure_server.core.errors import ShuttingDown, StoreUnavailable, WorkflowNotFound
from tests.api.test_interceptors import serving, workflow_service

TRIES = 100
"""Each meets one server of two, by chance."""
GET = ("WorkflowService/GetWorkflow", pb.GetWorkflowRequest())
SESSION = ("WorkflowService/Session", pb.SessionRequest(ping=1))


async def answer(_request):
    return pb.GetWorkflowResponse()


async def pong(requests):
    async for request in requests:
        yield pb.SessionResponse(pong=request.ping)


def refusing(error):
    async def refuse(_request):
        raise error

    return refuse


@pytest.fixture
async def between():
    """Makes a transport to two servers, whose first is met first."""
    async with AsyncExitStack() as stack:

        async def make(first, second):
            callers = [await stack.enter_async_context(serving(each)) for each in (first, second)]
            addresses = [f"127.0.0.1:{caller.port}" for caller in callers]
            transport = GrpcTransport(f"ipv4:{','.join(addresses)}")
            stack.push_async_callback(transport.close)
            return transport

        yield make


@pytest.mark.parametrize(
    ("error", "heard"),
    [(ShuttingDown("no"), ShuttingDownError), (StoreUnavailable("no"), StoreUnavailableError)],
)
async def test_a_call_that_is_repeated_meets_another(between, error, heard):
    first = workflow_service(GetWorkflow=refusing(error))
    transport = await between(first, workflow_service(GetWorkflow=answer))
    for _ in range(TRIES):
        try:
            await transport.call(*GET)
        except heard:
            continue
        break
    else:
        pytest.fail("no call has met the other server")
    await transport.call(*GET)  # The server that serves is kept.


async def test_a_stream_that_is_opened_again_meets_another(between):
    async def refuse(_requests):
        raise ShuttingDown("no")
        yield

    transport = await between(workflow_service(Session=refuse), workflow_service(Session=pong))
    for _ in range(TRIES):
        try:
            method, request = SESSION
            assert [reply.pong async for reply in transport.stream(method, one(request))] == [1]
        except ShuttingDownError:
            continue
        return
    pytest.fail("no stream has met the other server")


async def test_what_is_under_way_there_goes_on(between):
    waits, ends = asyncio.Event(), asyncio.Event()

    async def wait(_request):
        waits.set()
        await ends.wait()
        return pb.GetWorkflowResultResponse()

    first = workflow_service(GetWorkflow=refusing(ShuttingDown("no")), GetWorkflowResult=wait)
    transport = await between(first, workflow_service(GetWorkflow=answer))
    waiting = asyncio.create_task(
        transport.call("WorkflowService/GetWorkflowResult", pb.GetWorkflowResultRequest())
    )
    await waits.wait()
    with pytest.raises(ShuttingDownError):
        await transport.call(*GET)
    assert len(transport._channels) == 1
    ends.set()
    assert await waiting == pb.GetWorkflowResultResponse()
    assert transport._channels == []


async def test_any_other_refusal_is_no_reason_to_go(between):
    first = workflow_service(GetWorkflow=refusing(WorkflowNotFound("no")))
    transport = await between(first, workflow_service(GetWorkflow=answer))
    for _ in range(10):
        with pytest.raises(WorkflowNotFoundError):
            await transport.call(*GET)
