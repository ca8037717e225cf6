"""Owns the audit. It believes the histories, not what the code says about itself."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from shop import Order, Outcome, Payment, is_broken, is_refused

from perdure import Converter
from perdure.v1.history_pb2 import History

_ENDS = ("activity_completed", "activity_failed", "activity_timed_out", "activity_cancelled")
_SHIPPED = {"reserve_stock": 1, "charge": 1, "ship": 1}
_NEVER_PACKED = {"reserve_stock": 1, "charge": 1, "refund": 1, "release_stock": 1}
_REFUSED = {"reserve_stock": 1, "refund": 1, "release_stock": 1}


@dataclass(frozen=True)
class Finding:
    """What one history shows.

    Attributes:
        state: `shipped` or `compensated`.
        attempts: How often activities were tried.
        results: How many ends of activities were recorded.
        charges: How many of them were charges that succeeded.
        taken_cents: What the customer was charged.
        returned_cents: What the customer got back.
        shipped_cents: What was shipped.
        faults: What is wrong; empty when nothing is.
    """

    state: str
    attempts: int
    results: int
    charges: int
    taken_cents: int
    returned_cents: int
    shipped_cents: int
    faults: list[str]


def examine(order: Order, outcome: Outcome, history: History) -> Finding:
    """Reads the history of an order and compares it with what should have happened."""
    scheduled = [event.activity_seq for event in _events(history, "activity_scheduled")]
    ends = [event for kind in _ENDS for event in _events(history, kind)]
    completed = _events(history, "activity_completed")
    done = Counter(event.name for event in completed)
    taken, returned = _cents(completed, "charge"), _cents(completed, "refund")
    shipped = order.cents if done["ship"] else 0
    state, steps = _expected(order)
    checks = {
        f"is {outcome.state}, not {state}": outcome.state == state,
        f"did {dict(done)}, not {steps}": done == steps,
        f"is paid {taken} - {returned}, not {shipped} cents": taken - returned == shipped,
        "has a gap in its history": _is_dense([event.seq for event in history.events]),
        "has an activity without exactly one end": (
            sorted(event.activity_seq for event in ends) == scheduled and _is_dense(scheduled)
        ),
    }
    return Finding(
        state=outcome.state,
        attempts=sum(event.attempt for event in ends),
        results=len(ends),
        charges=done["charge"],
        taken_cents=taken,
        returned_cents=returned,
        shipped_cents=shipped,
        faults=[f"{order.id} {fault}" for fault, is_right in checks.items() if not is_right],
    )


def _expected(order: Order) -> tuple[str, dict[str, int]]:
    if is_refused(order):
        return "compensated", _REFUSED
    if is_broken(order):
        return "compensated", _NEVER_PACKED
    return "shipped", _SHIPPED


def _events(history: History, kind: str) -> list[Any]:
    return [getattr(event, kind) for event in history.events if event.WhichOneof("event") == kind]


def _cents(completed: list[Any], activity: str) -> int:
    read = Converter().decode
    return sum(read(event.result, Payment).cents for event in completed if event.name == activity)


def _is_dense(numbers: list[int]) -> bool:
    return numbers == list(range(1, len(numbers) + 1))
