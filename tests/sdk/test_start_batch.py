"""Many starts in one call, by a client."""

from __future__ import annotations

from contextvars import ContextVar
from datetime import timedelta

import pytest
from google.rpc.code_pb2 import UNAVAILABLE
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from perdure import CarryContext, Client, PayloadError, Start, Worker, workflow
from perdure.converter import PAYLOAD_BYTES_MAX
from perdure.errors import (
    InvalidRequestError,
    RpcError,
    StoreBusyError,
    WorkflowAlreadyExistsError,
)
from perdure.v1 import workflow_service_pb2 as pb
from tests.sdk.fakes import FakeTransport

tenant: ContextVar[str] = ContextVar("tenant")


@workflow(task_queue="shop")
async def double(number: int) -> int:
    return 2 * number


@workflow(task_queue="shop")
async def whose(thing: str) -> str:
    return f"{thing} of {tenant.get('nobody')}"


async def test_each_start_has_its_handle(client):
    async with Worker(client, "shop", workflows=[double]):
        handles = await client.start_batch([Start(double, n, id=f"d-{n}") for n in range(20)])
        assert [handle.workflow_id for handle in handles] == [f"d-{n}" for n in range(20)]
        assert [await handle.result() for handle in handles] == [2 * n for n in range(20)]


async def test_a_refusal_stands_in_its_place(client):
    await client.start(double, 1, id="taken")
    first, taken, bad, last = await client.start_batch(
        [
            Start(double, 1, id="a"),
            Start(double, 2, id="taken"),
            Start("", 3, id="b", task_queue="shop"),
            Start("double", 4, task_queue="shop"),
        ]
    )
    assert first.workflow_id == "a"
    assert isinstance(taken, WorkflowAlreadyExistsError)
    assert isinstance(bad, InvalidRequestError)
    assert last.workflow_id


async def test_none_at_all(client):
    assert await client.start_batch([]) == []


async def test_context_travels_with_each(address):
    tenant.set("ada")
    async with (
        Client.connect(address, interceptors=[CarryContext(tenant=tenant)]) as client,
        Worker(client, "shop", workflows=[whose]),
    ):
        handles = await client.start_batch([Start(whose, thing) for thing in ("book", "pen")])
        assert [await handle.result() for handle in handles] == ["book of ada", "pen of ada"]


async def test_what_cannot_be_sent_is_raised_before_anything_is(client):
    with pytest.raises(PayloadError):
        await client.start_batch([Start(double, 1, id="a"), Start(double, object(), id="b")])
    assert await client.count() == 0
    with pytest.raises(TypeError, match="nonsense"):
        Start(double, 1, nonsense=True)


class Server:
    """Answers batches; `busy` says for which ids, how often."""

    def __init__(self, **busy: int) -> None:
        self.busy = busy
        self.batches: list[list[str]] = []
        self.request_ids: dict[str, set[str]] = {}

    def answer(self, request: pb.StartWorkflowBatchRequest) -> pb.StartWorkflowBatchResponse:
        self.batches.append([start.workflow_id for start in request.starts])
        return pb.StartWorkflowBatchResponse(
            outcomes=[self._outcome(start) for start in request.starts]
        )

    def _outcome(self, start: pb.StartWorkflowRequest) -> pb.BatchOutcome:
        name = start.workflow_id
        self.request_ids.setdefault(name, set()).add(start.request_id)
        if self.busy.get(name, 0):
            self.busy[name] -= 1
            status = Status(code=UNAVAILABLE, message="too busy")
            status.details.add().Pack(ErrorInfo(reason="STORE_BUSY", domain="perdure"))
            return pb.BatchOutcome(error=status)
        return pb.BatchOutcome(started={"workflow_id": name, "run_id": f"run of {name}"})


def client_of(server: Server, **options) -> Client:
    transport = FakeTransport()
    transport.answers["WorkflowService/StartWorkflowBatch"] = server.answer
    return Client(transport, **options)


async def test_what_a_busy_server_refused_is_sent_again():
    server = Server(b=2, c=1)
    async with client_of(server) as client:
        handles = await client.start_batch([Start(double, 1, id=name) for name in "abcd"])
    assert [handle.run_id for handle in handles] == [f"run of {name}" for name in "abcd"]
    assert server.batches == [["a", "b", "c", "d"], ["b", "c"], ["b"]]
    assert all(len(ids) == 1 for ids in server.request_ids.values())


async def test_patience_ends():
    server = Server(b=1_000)
    async with client_of(server, patience=timedelta()) as client:
        first, second = await client.start_batch([Start(double, 1, id=name) for name in "ab"])
    assert first.run_id == "run of a"
    assert isinstance(second, StoreBusyError)


async def test_more_than_one_call_takes_are_several():
    server = Server()
    async with client_of(server) as client:
        handles = await client.start_batch([Start(double, 1, id=f"{n}") for n in range(1_001)])
    assert [handle.workflow_id for handle in handles] == [f"{n}" for n in range(1_001)]
    assert [len(batch) for batch in server.batches] == [1_000, 1]


async def test_large_starts_go_in_few():
    server, text = Server(), "x" * (PAYLOAD_BYTES_MAX - 100)
    async with client_of(server) as client:
        await client.start_batch([Start("t", text, id=name, memo=text) for name in "abc"])
        await client.start_batch([Start("t", text, id=name) for name in "abc"])
    assert server.batches == [["a"], ["b"], ["c"], ["a", "b"], ["c"]]


async def test_a_call_that_is_refused_raises():
    def refuse(_request):
        raise RpcError("no", code="INTERNAL")

    transport = FakeTransport()
    transport.answers["WorkflowService/StartWorkflowBatch"] = refuse
    async with Client(transport) as client:
        with pytest.raises(RpcError, match="no"):
            await client.start_batch([Start(double, 1)])
