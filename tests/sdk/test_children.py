"""Workflows that start, signal and cancel others, against the engine."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from importlib import import_module
from pathlib import Path

import pytest

from perdure import (
    CarryContext,
    ChildAlreadyExistsError,
    ChildWorkflowError,
    ExternalWorkflowError,
    WorkflowNotFoundError,
    WorkflowStatus,
    signal,
    workflow,
)
from perdure.testing import Environment

EXAMPLE = Path(__file__).parents[2] / "clients/python/examples/children.py"
go = signal("go", int)
tenant: ContextVar[str] = ContextVar("tenant")


@workflow
async def waits(name: str) -> str:
    try:
        return f"{name} {await go.wait()}"
    except asyncio.CancelledError:
        await asyncio.sleep(1)
        raise


@workflow
async def calls(name: str) -> str:
    try:
        return await asyncio.wait_for(waits.options(id=name)(name), 60)
    except ChildAlreadyExistsError:
        return "in use"
    except ChildWorkflowError as error:
        return error.status
    except TimeoutError:
        await asyncio.sleep(60)
        return "left"


@workflow
async def tells(name: str) -> str:
    other = workflow.external(name)
    assert repr(other) == f"ExternalHandle({name!r})"
    try:
        await other.signal(go, 1)
        await other.cancel("enough")
    except ExternalWorkflowError as error:
        return error.type
    return "told"


@workflow
async def fans_out(count: int) -> list[str]:
    children = [workflow.start_child(waits, str(number)) for number in range(count)]
    assert repr(children[0]) == f"ChildHandle({children[0].workflow_id!r})"
    await asyncio.gather(*(child.signal(go, 7) for child in children))
    return [await child.result() for child in children]


@workflow
async def reads_tenant() -> str:
    return tenant.get("nobody")


@workflow
async def asks_tenant() -> str:
    return await reads_tenant()


@workflow
async def leaves() -> str:
    workflow.start_child(waits, "a", id="stays", parent_close_policy="abandon")
    workflow.start_child(waits, "b", id="goes")
    return "left"


def world(**options):
    flows = [waits, calls, tells, fans_out, reads_tenant, asks_tenant, leaves]
    return Environment(flows, **options)


@pytest.mark.parametrize("max_cached_runs", [0, 1_000])
async def test_children_end_in_their_parent(max_cached_runs):
    async with world(max_cached_runs=max_cached_runs) as env:
        assert await env.client.execute(fans_out, 20) == [f"{n} 7" for n in range(20)]


async def test_a_child_is_found_by_what_its_parent_says():
    @workflow
    async def labels() -> str:
        options = {"search_attributes": {"team": "a"}, "memo": [1], "summary": "a child"}
        return await workflow.execute_child(reads_tenant, **options)

    async with Environment([labels, reads_tenant]) as env:
        await env.client.execute(labels)
        (child,) = [run async for run in env.client.list(filter="team = 'a'")]
        assert (child.workflow_type, child.summary) == ("reads_tenant", "a child")
        assert child.message.memo.data == b"[1]"


async def test_an_id_in_use_can_be_caught():
    async with world() as env:
        await env.client.start(waits, "a", id="a")
        assert await env.client.execute(calls, "a") == "in use"


async def test_a_child_that_is_left_is_cancelled():
    async with world() as env:
        assert await env.client.execute(calls, "a") == "left"
        description = await env.client.get_handle("a").describe()
        assert description.status is WorkflowStatus.CANCELLED


async def test_a_terminated_child_is_told():
    async with world() as env:
        handle = await env.client.start(calls, "a")
        while True:
            try:
                await env.client.get_handle("a").terminate()
                break
            except WorkflowNotFoundError:
                await asyncio.sleep(0)
        assert await handle.result() == "TERMINATED"


async def test_others_are_told_or_not_there():
    async with world() as env:
        await env.client.start(waits, "a", id="a")
        assert await env.client.execute(tells, "a") in {"told", "WORKFLOW_NOT_FOUND"}
        assert await env.client.execute(tells, "nobody") == "WORKFLOW_NOT_FOUND"


async def test_a_policy_says_what_becomes_of_a_child():
    async with world() as env:
        handle = await env.client.start(leaves)
        assert await handle.result() == "left"
        statuses = {
            child.workflow_id: child.status
            async for child in env.client.get_handle(handle.workflow_id).children()
        }
        assert set(statuses) == {"stays", "goes"}
        await env.client.get_handle("stays").signal(go, 1)
        assert await env.client.get_handle("stays").result() == "a 1"


async def test_headers_reach_children():
    async with world(interceptors=[CarryContext(tenant=tenant)]) as env:
        tenant.set("acme")
        assert await env.client.execute(asks_tenant) == "acme"


async def test_the_example_runs(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLE.parent)
    example = import_module(EXAMPLE.stem)
    assert await example.main(tmp_path / "parcels.db") == [
        "o-1/1 is on its way",
        "o-1-2: ValueError: parcel 2 was refused",
        "o-1/3 is on its way",
        "children: o-1-1, o-1-2, o-1-3",
    ]
