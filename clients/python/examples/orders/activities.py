"""Owns the steps that touch the outside world: warehouse, payment provider, courier.

A step that fails is tried again, and a step whose worker died is run again by another one. So each
must bear being run twice: a real one would give the order's id to the other side, as the key under
which a repetition is known.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from random import Random

from shop import Order, Payment, is_refused

from perdure import RetryPolicy, activity


class CardRefusedError(Exception):
    """The bank says no, and would say so again."""


class ProviderSilentError(Exception):
    """The payment provider did not answer; it may the next time."""


# Never gives up, except on what no repetition can change.
STUBBORN = RetryPolicy(
    initial_interval=timedelta(milliseconds=200),
    max_interval=timedelta(seconds=2),
    max_attempts=0,
    non_retryable_types=(CardRefusedError,),
)


@activity(retry=STUBBORN)
async def reserve_stock(order: Order) -> int:
    """Puts the goods aside; returns how many pieces."""
    await outside_world()
    return sum(line.quantity for line in order.lines)


@activity(retry=STUBBORN)
async def charge(order: Order) -> Payment:
    """Takes the money, from a provider that fails to answer every fourth time."""
    luck = await outside_world()
    if luck.random() < 0.25:
        raise ProviderSilentError("the payment provider did not answer")
    if is_refused(order):
        raise CardRefusedError(f"the bank refused {order.card}")
    return Payment(f"charge of {order.id}", order.cents)


@activity(retry=STUBBORN)
async def ship(order: Order) -> str:
    """Hands the box to the courier; returns the tracking number."""
    luck = await outside_world()
    return f"PX{luck.randrange(10**8):08d}-{order.city.upper()}"


@activity(retry=STUBBORN)
async def refund(order: Order) -> Payment:
    """Gives back what was taken: nothing, if the card was refused."""
    await outside_world()
    return Payment(f"refund of {order.id}", 0 if is_refused(order) else order.cents)


@activity(retry=STUBBORN)
async def release_stock(order: Order) -> int:
    """Puts the goods back on the shelf; returns how many pieces."""
    await outside_world()
    return sum(line.quantity for line in order.lines)


async def outside_world() -> Random:
    """Takes as long as a call over the network; returns the luck of this attempt."""
    attempt = activity.info()
    luck = Random(f"{attempt.workflow_id} {attempt.name} {attempt.attempt}")
    await asyncio.sleep(luck.uniform(0.1, 0.5))
    return luck
