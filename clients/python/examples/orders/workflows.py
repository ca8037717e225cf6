"""Owns what happens to an order, from its arrival to its end.

Plain asyncio. Each `await` is durable: when the process dies there, another one goes on from there,
and what was awaited before is not done again.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

from activities import charge, refund, release_stock, reserve_stock, ship
from shop import TASK_QUEUE, Order, Outcome, packed

from perdure import ActivityError, workflow

# A real shop would give a day and a week; a demonstration has less time.
PACKING_TIME = {"express": timedelta(seconds=8), "standard": timedelta(minutes=2)}
COURIER_COMES_AFTER = timedelta(seconds=1)


@workflow(task_queue=TASK_QUEUE)
async def fulfil(order: Order) -> Outcome:
    """Ships an order, or undoes what was done for it."""
    try:
        await reserve_stock(order)
        await charge(order)
        packer = await packed.wait(timeout=PACKING_TIME[order.delivery])
    except ActivityError as refusal:
        return await compensate(order, str(refusal))
    except TimeoutError:
        return await compensate(order, "nobody packed it in time")
    await asyncio.sleep(COURIER_COMES_AFTER.total_seconds())
    tracking_number = await ship(order)
    return Outcome("shipped", f"{tracking_number}, packed by {packer}")


async def compensate(order: Order, reason: str) -> Outcome:
    """Undoes the steps, last one first; what never happened is undone by doing nothing."""
    await refund(order)
    await release_stock(order)
    return Outcome("compensated", reason)
