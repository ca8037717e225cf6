"""A user's file, as mypy --strict must read it; nothing of it runs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import assert_type

from perdure import (
    ChildHandle,
    Client,
    QueryMode,
    RetryPolicy,
    RpcError,
    Start,
    Worker,
    WorkflowHandle,
    activity,
    inject,
    query,
    run,
    signal,
    workflow,
)
from perdure.testing import Mock


@dataclass
class Order:
    id: str


@dataclass
class Receipt:
    cents: int


approvals = signal("approvals", str)


@activity
async def charge(order: Order) -> Receipt:
    return Receipt(len(order.id))


@activity(retry=RetryPolicy(max_attempts=5))
def print_label(order: Order) -> str:
    return order.id


@workflow
async def checkout(order: Order) -> Receipt:
    assert_type(await approvals.wait(timeout=timedelta(hours=1)), str)
    assert_type(await print_label(order), str)
    await charge("no order")  # type: ignore[arg-type]
    return await charge.options(start_to_close=timedelta(seconds=30))(order)


class Shelf: ...


@activity
async def store(things: int, *, shelf: Shelf = inject()) -> int:
    return things


@workflow
async def bundle(order: Order) -> Receipt:
    child = workflow.start_child(checkout, order, id="c-1")
    assert_type(child, ChildHandle[Receipt])
    assert_type(await child.result(), Receipt)
    await child.signal(approvals, "ada")
    await child.signal(approvals, 7)  # type: ignore[misc]
    await workflow.external("o-2").signal(approvals, "ada")
    workflow.start_child(checkout, "no order")  # type: ignore[arg-type]
    assert_type(await workflow.execute_child(Basket, order), Receipt)
    assert_type(await workflow.execute_child(Empty), int)
    await checkout.options(id="c-2")("no order")  # type: ignore[arg-type]
    return await checkout.options(id="c-3", parent_close_policy="abandon")(order)


@workflow(task_queue="shop")
class Basket:
    def __init__(self, order: Order) -> None:
        self.things: list[str] = []

    async def run(self, order: Order) -> Receipt:
        await workflow.wait_condition(lambda: self.things, timeout=timedelta(hours=1))
        return Receipt(len(self.things))

    @signal
    def put(self, thing: str) -> None:
        self.things.append(thing)

    @signal(name="pay-now")
    async def pay(self) -> None: ...

    @query
    def holds(self, thing: str) -> bool:
        return thing in self.things

    @query(name="how-many")
    def size(self) -> int:
        return len(self.things)


@workflow
class Empty:
    async def run(self) -> int:
        return 1


async def main() -> None:
    async with (
        Client.connect("localhost:7766") as client,
        Worker(client, "shop", [checkout], [charge, print_label]),
    ):
        handle = await client.start(checkout, Order("o-1"), id="o-1")
        assert_type(handle, WorkflowHandle[Receipt])
        await handle.signal(approvals, "ada")
        assert_type(await handle.result(), Receipt)
        assert_type(await client.execute(checkout, Order("o-2")), Receipt)
        await client.start(checkout, "no order")  # type: ignore[arg-type]
        basket = await client.start(Basket, Order("o-3"), id="o-3")
        assert_type(basket, WorkflowHandle[Receipt])
        await basket.signal(Basket.put, "book")
        begun = await client.start_batch([Start(checkout, Order(name)) for name in "ab"])
        assert_type(begun, list[WorkflowHandle[Receipt] | RpcError])
        Start(checkout, "no order")  # type: ignore[arg-type]
        assert_type(client.get_handle("o-3", workflow=Basket), WorkflowHandle[Receipt])
        assert_type(client.get_handle("o-1", workflow=checkout), WorkflowHandle[Receipt])
        assert_type(run(checkout, Order("o-6"), activities=[charge], path="app.db"), Receipt)
        assert_type(run(Basket, Order("o-6"), target="localhost:7766"), Receipt)
        assert_type(run(Empty), int)
        run(checkout, "no order")  # type: ignore[arg-type]
        assert_type(await store(3), int)
        await basket.signal(Basket.put, 7)  # type: ignore[misc]
        await basket.signal(Basket.pay)
        assert_type(await basket.query(Basket.holds, "book"), bool)
        assert_type(await basket.query(Basket.size), int)
        assert_type(await basket.query(Basket.size, mode=QueryMode.SNAPSHOT), int)
        await basket.query(Basket.holds, 7)  # type: ignore[misc]
        await client.start(Basket, "no order")  # type: ignore[misc]
        assert_type(await client.execute(Basket, Order("o-4")), Receipt)
        assert_type(await client.execute(Empty), int)
        Basket(Order("o-5")).put("book")
        assert_type(await Mock(charge, lambda _: Receipt(1))(Order("o-7")), Receipt)
        Mock(charge, lambda _: "no receipt")  # type: ignore[arg-type]
