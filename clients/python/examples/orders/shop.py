"""Owns the words of the shop: what an order is, what becomes of it, and where orders come from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import msgspec

from perdure import signal

TASK_QUEUE: Final = "orders"

packed = signal("packed", str)
"""The warehouse sends it when an order is in its box, with the name of the packer."""


@dataclass(frozen=True)
class Line:
    sku: str
    name: str
    quantity: int
    unit_cents: int


@dataclass(frozen=True)
class Order:
    id: str
    customer: str
    city: str
    card: str
    delivery: Literal["standard", "express"]
    lines: list[Line]

    @property
    def cents(self) -> int:
        """What the order costs."""
        return sum(line.quantity * line.unit_cents for line in self.lines)


@dataclass(frozen=True)
class Payment:
    """Money that moved: to the shop by a charge, back to the customer by a refund."""

    reference: str
    cents: int


@dataclass(frozen=True)
class Outcome:
    """What became of an order."""

    state: Literal["shipped", "compensated"]
    text: str


def load_orders() -> list[Order]:
    """Reads the orders that lie beside this file."""
    data = Path(__file__).with_name("orders.json").read_bytes()
    return msgspec.json.decode(data, type=list[Order])


def is_refused(order: Order) -> bool:
    """Whether the bank refuses the card; made up, as is all that lies outside of the workflow."""
    return order.card.endswith("0002")


def is_broken(order: Order) -> bool:
    """Whether the warehouse finds a broken vase and never packs the order."""
    return any(line.sku == "vase-glass" for line in order.lines)
