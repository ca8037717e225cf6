"""Owns identities that are the same in every repetition of a test; it keeps `engine.ports.Ids`."""

from __future__ import annotations

from itertools import count


class SequentialIds:
    """Counts. The width of the numbers makes the order of the text the order of their making."""

    def __init__(self) -> None:
        self._numbers = count(1)

    def run_id(self, above: str = "") -> str:
        """Returns a new run id; ids made later compare greater."""
        return f"run-{next(self._numbers):08}"

    def workflow_id(self) -> str:
        """Returns a new workflow id."""
        return f"workflow-{next(self._numbers):08}"

    def worker_id(self) -> str:
        """Returns a new worker id."""
        return f"worker-{next(self._numbers):08}"

    def seed(self) -> int:
        """Returns a seed that is different for every run."""
        return next(self._numbers)

    def api_key_secret(self) -> bytes:
        """Returns 32 bytes; keys made of them have prefixes of their own."""
        return next(self._numbers).to_bytes(4) * 8
