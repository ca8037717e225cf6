"""What applications can do with a client, against a real server."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from perdure import (
    ApplicationError,
    PayloadError,
    RetryPolicy,
    SearchAttributeKey,
    Worker,
    WorkerOptions,
    WorkflowAlreadyExistsError,
    WorkflowCancelledError,
    WorkflowFailedError,
    WorkflowHandle,
    WorkflowNotFoundError,
    WorkflowStatus,
    WorkflowTerminatedError,
    activity,
    signal,
    workflow,
)
from perdure.client import Client
from perdure.errors import InvalidFilterError, RpcError, UnavailableError
from perdure.v1 import workflow_service_pb2 as pb
from tests.sdk.fakes import FakeTransport


@dataclass
class Order:
    id: str
    amount: int


approvals = signal("approvals", bool)


@activity
async def charge(order: Order) -> str:
    return f"charged {order.amount} for {order.id}"


@workflow(task_queue="shop")
async def checkout(order: Order) -> str:
    if not await approvals.wait(timeout=timedelta(hours=1)):
        raise ApplicationError("refused", type="Refused", details={"order": order.id})
    return await charge(order)


@workflow(task_queue="shop")
async def nothing() -> None:
    return None


@workflow(task_queue="idle")
async def never_run(order: Order) -> str:
    return order.id


@pytest.fixture
async def worker(client):
    async with Worker(client, "shop", [checkout, nothing], [charge]) as worker:
        yield worker


@pytest.fixture(params=["session", "unary"])
async def either(address, request):
    async with Client.connect(address, use_session=request.param == "session") as client:
        yield client


async def test_a_workflow_from_start_to_result(either, worker):
    handle = await either.start(checkout, Order("a", 7), id="o-1")
    await handle.signal(approvals, True)

    assert await handle.result() == "charged 7 for a"
    assert (await handle.describe()).status is WorkflowStatus.COMPLETED


async def test_execute(either, worker):
    assert await either.execute(nothing) is None


async def test_a_failed_workflow_raises_what_it_failed_with(either, worker):
    handle = await either.start(checkout, Order("a", 7))
    await handle.signal("approvals", False)

    with pytest.raises(WorkflowFailedError) as caught:
        await handle.result()
    assert caught.value.type == "Refused"
    assert caught.value.__cause__.details == {"order": "a"}


async def test_a_workflow_that_never_ran_is_cancelled_at_once(either):
    handle = await either.start(never_run, Order("a", 1))

    assert await handle.cancel("not wanted") is WorkflowStatus.CANCELLED
    with pytest.raises(WorkflowCancelledError):
        await handle.result()


async def test_terminate(either):
    handle = await either.start(never_run, Order("a", 1))

    await handle.terminate("enough")
    with pytest.raises(WorkflowTerminatedError, match="enough"):
        await handle.result()


async def test_a_second_start_is_refused_or_joins(either):
    first = await either.start(never_run, Order("a", 1), id="o-1")

    with pytest.raises(WorkflowAlreadyExistsError):
        await either.start(never_run, Order("a", 1), id="o-1")
    second = await either.start(never_run, Order("a", 1), id="o-1", conflict_policy="use_existing")
    assert second.run_id == first.run_id


async def test_a_start_with_the_same_request_id_counts_once(either):
    first = await either.start(never_run, Order("a", 1), id="o-1", request_id="r")
    second = await either.start(never_run, Order("a", 1), id="o-1", request_id="r")

    assert second.run_id == first.run_id


async def test_every_option_of_a_start_travels(client):
    handle = await client.start(
        never_run,
        Order("a", 1),
        task_queue="other",
        reuse_policy="allow_duplicate",
        retry=RetryPolicy(max_attempts=5),
        execution_timeout=timedelta(hours=3),
        run_timeout=timedelta(hours=2),
        priority=1,
    )

    started = (await handle.history()).events[0].workflow_started
    assert started.task_queue == "other"
    assert started.retry_policy.max_attempts == 5
    assert started.execution_timeout.seconds == 3 * 3600
    assert started.run_timeout.seconds == 2 * 3600
    assert started.priority == 1


async def test_a_result_can_time_out_and_be_asked_for_again(either, worker):
    handle = await either.start(checkout, Order("a", 7))

    with pytest.raises(TimeoutError):
        await handle.result(timeout=timedelta(milliseconds=10))
    await handle.signal(approvals, True)
    assert await handle.result() == "charged 7 for a"


async def test_unknown_workflows_are_not_found(either):
    handle = either.get_handle("nobody")

    for call in (handle.describe, handle.result, handle.history, handle.cancel):
        with pytest.raises(WorkflowNotFoundError):
            await call()


async def test_list_pages_through_all_runs(client):
    for number in range(120):
        await client.start(never_run, Order("a", number), id=f"o-{number}")

    ids = [run.workflow_id async for run in client.list(status=WorkflowStatus.PENDING)]
    assert ids == [f"o-{number}" for number in reversed(range(120))]
    assert [run async for run in client.list(workflow_type="other")] == []


async def test_watch_follows_a_run_to_its_end(client, worker):
    handle = await client.start(checkout, Order("a", 7))
    kinds = []
    async for event in handle.watch():
        kinds.append(event.WhichOneof("event"))
        if kinds[-1] == "workflow_awaiting_signal":
            await handle.signal(approvals, True)

    assert kinds[0] == "workflow_started"
    assert kinds[-1] == "workflow_completed"
    assert len(kinds) == len((await handle.history()).events)


async def test_a_handle_needs_only_the_id(client, worker):
    await client.start(checkout, Order("a", 7), id="o-1")
    handle = client.get_handle("o-1", result_type=str)

    await handle.signal(approvals, True)
    assert await handle.result() == "charged 7 for a"


async def test_a_payload_over_the_limit_is_refused_before_it_is_sent(client):
    with pytest.raises(PayloadError, match="2,097,152"):
        await client.start(never_run, Order("x" * (3 << 20), 1))


async def test_a_server_that_is_away_is_an_error_once_patience_ends(unused_tcp_port):
    target = f"127.0.0.1:{unused_tcp_port}"
    for use_session in (True, False):
        async with Client.connect(target, use_session=use_session, patience=timedelta(0)) as client:
            with pytest.raises(UnavailableError):
                await client.start(never_run, Order("a", 1))


async def test_calls_that_wait_learn_that_the_client_was_closed(address):
    async with Client.connect(address) as client:
        handle = await client.start(never_run, Order("a", 1))
        waiting = asyncio.ensure_future(handle.result())
        # The call is in the session once a later one was answered.
        await handle.signal("any")
    with pytest.raises(RpcError, match="closed"):
        await waiting


async def test_a_client_must_be_entered(address):
    client = Client.connect(address)

    with pytest.raises(RuntimeError, match="async with"):
        await client.start(never_run, Order("a", 1))
    with pytest.raises(RuntimeError, match="async with"):
        await client.get_handle("a").describe()


async def test_a_client_belongs_to_its_loop(client):
    def elsewhere():
        asyncio.run(client.execute(nothing))

    with pytest.raises(RuntimeError, match="belongs to the event loop"):
        await asyncio.to_thread(elsewhere)


async def test_a_mistyped_option_is_an_error(client):
    with pytest.raises(TypeError, match="ident"):
        await client.start(never_run, Order("a", 1), ident="o-1")
    with pytest.raises(TypeError, match="one value"):
        await client.start("never_run", 1, 2)


async def test_the_whole_engine_in_the_process_goes_on_where_it_stopped(tmp_path):
    path = tmp_path / "app.db"
    workers = [WorkerOptions("shop", [checkout, nothing], [charge])]
    async with Client.embedded(path, workers=workers) as client:
        handle = await client.start(checkout, Order("a", 7), id="o-1")
        assert [run.workflow_id async for run in client.list()] == ["o-1"]
        with pytest.raises(WorkflowNotFoundError):
            await client.get_handle("nobody").describe()
    async with Client.embedded(path, workers=workers) as client:
        handle = client.get_handle("o-1", result_type=str)
        await handle.signal(approvals, True)
        assert await handle.result() == "charged 7 for a"


async def test_an_embedded_engine_that_cannot_start_says_why(tmp_path):
    async with Client.embedded(tmp_path / "app.db"):
        with pytest.raises(Exception, match="cannot start"):
            async with Client.embedded(tmp_path / "app.db"):
                pass


async def test_a_client_that_was_left_says_so(address):
    client = Client.connect(address)
    async with client:
        handle = client.get_handle("w")
    for call in (client.start("w"), handle.result(), handle.describe()):
        with pytest.raises(RuntimeError, match="the client is not open"):
            await call
    with pytest.raises(RuntimeError, match="entered once"):
        await client.__aenter__()


async def has_event(handle: WorkflowHandle[Any], kind: str) -> None:
    """Waits until the history has an event."""
    async with aclosing(handle.watch()) as events:
        async for event in events:
            if event.WhichOneof("event") == kind:
                return


STAGE = SearchAttributeKey.keyword("stage")


@workflow(task_queue="shop")
async def staged(order: Order) -> dict[str, Any]:
    workflow.upsert_search_attributes({STAGE: "waiting", "amount": order.amount})
    await approvals.wait()
    workflow.upsert_search_attributes({STAGE: None, "done": True})
    return workflow.search_attributes()


async def test_runs_are_found_by_what_start_and_code_say(client):
    order = Order("o-1", 5)
    found_by = {SearchAttributeKey.keyword("team"): "a", "share": 0.5}
    async with Worker(client, "shop", [staged], [charge]):
        handle = await client.start(
            staged, order, id="o-1", search_attributes=found_by, memo={"by": 1}, summary="first"
        )
        other = await client.start(staged, Order("o-2", 7), id="o-2")
        text = "stage = 'waiting' AND amount > 4"
        for each in (handle, other):
            await has_event(each, "workflow_awaiting_signal")
        runs = [run async for run in client.list(filter=text, order_by="amount DESC")]
        assert [run.workflow_id for run in runs] == ["o-2", "o-1"]
        assert runs[1].search_attributes == {
            "amount": 5,
            "share": 0.5,
            "stage": "waiting",
            "team": "a",
        }
        assert runs[1].summary == "first"
        assert runs[1].message.memo.data == b'{"by":1}'
        assert await client.count_by("team") == {"a": 1, None: 1}
        await handle.signal(approvals, True)
        assert await handle.result() == {"amount": 5, "done": True, "share": 0.5, "team": "a"}
        await other.terminate()
    assert await client.count_by("done", filter="status = 'COMPLETED'") == {True: 1}
    with pytest.raises(InvalidFilterError, match="column 5"):
        await client.count(filter="a = ")
    with pytest.raises(TypeError, match="stage"):
        await client.start(staged, order, search_attributes={STAGE: 1})


async def test_what_is_held_says_in_short_what_it_is(client):
    handle = await client.start("nobody", id="w")
    assert repr(client) == "<client of namespace 'main'>"
    assert repr(client.get_handle("w")) == "WorkflowHandle('w')"
    assert repr(handle) == f"WorkflowHandle('w', run_id='{handle.run_id}')"
    assert repr(client.get_handle("w", run_id="r").activity(2)) == (
        "PendingActivity('w', run_id='r', seq=2)"
    )
    assert repr(Worker(client, "q", [nothing])) == "<worker of task queue 'q'>"
    said = repr(await handle.describe())
    assert said.startswith("WorkflowDescription(workflow_id='w', run_id=")
    assert "\n" not in said
    assert "message" not in said


@pytest.mark.parametrize("run_id", ["", "r1"])
async def test_a_long_poll_goes_on_with_the_run_that_it_waits_for(run_id):
    """The runs before it may be deleted meanwhile, and a new one of the id is another matter."""
    asked: list[str] = []

    def answer(request):
        asked.append(request.run_id)
        if len(asked) < 3:
            return pb.GetWorkflowResultResponse(
                run_id=f"r{1 + len(asked)}", status="WORKFLOW_STATUS_RUNNING"
            )
        return pb.GetWorkflowResultResponse(
            run_id="r3", status="WORKFLOW_STATUS_COMPLETED", closed=True, result={"data": b"7"}
        )

    transport = FakeTransport()
    transport.answers["WorkflowService/GetWorkflowResult"] = answer
    async with Client(transport, use_session=False) as client:
        assert await client.get_handle("w", run_id=run_id).result() == 7
    assert asked == [run_id, "r2", "r3"]
