"""Owns what the engine needs from outside besides the store: time and new ids."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Alarm(Protocol):
    """A call that a clock will make."""

    def cancel(self) -> None:
        """Prevents the call; does nothing after it was made."""


class Clock(Protocol):
    """Tells time in microseconds and calls back at an instant."""

    def now_us(self) -> int:
        """Returns wall time since the Unix epoch."""

    def monotonic_us(self) -> int:
        """Returns time that never steps; its zero means nothing."""

    def call_at(self, when_us: int, callback: Callable[[], None]) -> Alarm:
        """Calls back on the event loop at wall time `when_us`, at once when it has passed.

        May be early.
        """


class Ids(Protocol):
    """Makes new identities."""

    def run_id(self, above: str = "") -> str:
        """Returns a new run id; ids made later compare greater, and so it does than one `above`."""

    def workflow_id(self) -> str:
        """Returns a new workflow id for a start that names none."""

    def worker_id(self) -> str:
        """Returns a new worker id."""

    def seed(self) -> int:
        """Returns an unsigned 64-bit seed for the randomness of a run."""

    def api_key_secret(self) -> bytes:
        """Returns 32 random bytes that nobody can guess."""
