"""Small activities and a signal that the tests' workflows use, and two ways to run a workflow."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from perdure import activity, signal
from tests.replay.rig import Rig


@dataclass
class Order:
    id: str
    amount: int = 1


@activity
async def charge(order: Order) -> str:
    """Charges."""
    return f"charged {order.id}"


@activity(name="store.pack", start_to_close=timedelta(seconds=9), task_queue="store")
def pack(order: Order) -> int:
    return order.amount


@activity
async def tick() -> None: ...


paid = signal("paid", Order)


def played(definition, value=None):
    """A rig whose first task has run, and the commands of that task."""
    rig = Rig(definition, value)
    return rig, rig.run()


def ended(definition, value=None):
    """How a workflow without waits ends."""
    _, said = played(definition, value)
    return said[-1]
