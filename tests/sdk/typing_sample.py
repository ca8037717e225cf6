"""A user's file, as mypy --strict must read it; nothing of it runs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import assert_type

from perdure import Client, RetryPolicy, Worker, WorkflowHandle, activity, signal, workflow


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
