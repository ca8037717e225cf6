"""Owns the workers of the reference model of the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from perdure_server.core.model import Worker
from perdure_server.store.contract import Heard


class WorkerTable:
    """The rows of workers by their keys. `Store` says what each method promises."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], Worker] = {}

    def all(self) -> list[Worker]:
        """Every row."""
        return list(self._rows.values())

    def known(self, namespace: str, *, queue: str | None, now_us: int) -> list[Worker]:
        """The rows of a namespace or queue that are not silent."""
        return [
            row
            for row in self.all()
            if row.namespace == namespace and queue in {None, row.queue} and row.until_us > now_us
        ]

    def put(self, workers: Sequence[Worker]) -> None:
        """Inserts or replaces rows."""
        for worker in workers:
            key = (worker.worker_id, worker.server_id)
            self._rows[key] = _moved_on(worker, self._rows.get(key, worker))

    def hear(self, words: Sequence[Heard]) -> None:
        """Moves every row of these workers on."""
        heard = {word.worker_id: word for word in words}
        for key, row in self._rows.items():
            self._rows[key] = _moved_on(row, heard.get(row.worker_id, row))

    def delete(self, keys: Sequence[tuple[str, str]], *, silent_us: int) -> None:
        """Deletes rows, and those that are silent."""
        silent = [key for key, row in self._rows.items() if row.until_us <= silent_us]
        for key in [*keys, *silent]:
            self._rows.pop(key, None)

    def disconnect(self, server_id: str) -> None:
        """Deletes the rows of a server."""
        self.delete([key for key in self._rows if server_id and key[1] == server_id], silent_us=0)


def _moved_on(worker: Worker, other: Worker | Heard) -> Worker:
    """The worker with the later instants of both."""
    return replace(
        worker,
        heard_at_us=max(worker.heard_at_us, other.heard_at_us),
        until_us=max(worker.until_us, other.until_us),
    )
