"""Owns how the log is written: one JSON object per line on standard error.

Lines are made and written by a thread of their own, so that a full pipe never holds up the event
loop. When too many wait, lines are dropped, and the next one that is written tells how many.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from queue import SimpleQueue
from typing import Final

LINES_WAITING_MAX: Final = 10_000
"""Lines that wait to be written: room for a burst of calls, not for a reader that has gone."""
LAST_LINES_SECONDS: Final = 1.0
"""How long the end of the process waits for the last lines."""
STANDARD_ERROR: Final = 2


@contextmanager
def logging_to(descriptor: int, level: str) -> Iterator[None]:
    """Writes what is logged at `level` or above to a file descriptor, until the block ends."""
    handler = _ThreadHandler(descriptor)
    root = logging.getLogger()
    level_before = root.level
    root.setLevel(level.upper())
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level_before)
        handler.close()


class JsonFormatter(logging.Formatter):
    """Writes a record as one line of JSON; `extra={"fields": {...}}` adds fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= getattr(record, "fields", {})
        if dropped := getattr(record, "dropped", 0):
            line["lines_dropped_before"] = dropped
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class _ThreadHandler(logging.Handler):
    """Hands records to a thread that formats and writes them."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self.setFormatter(JsonFormatter())
        self._descriptor = descriptor
        self._records: SimpleQueue[logging.LogRecord | None] = SimpleQueue()
        self._dropped = 0
        # A daemon, because a reader that never reads must not keep the process from ending.
        self._thread = threading.Thread(target=self._write_all, name="log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        if self._records.qsize() >= LINES_WAITING_MAX:
            self._dropped += 1
            return
        if self._dropped:
            record.dropped = self._dropped
            self._dropped = 0
        self._records.put(record)

    def close(self) -> None:
        self._records.put(None)
        self._thread.join(LAST_LINES_SECONDS)
        super().close()

    def _write_all(self) -> None:
        while (record := self._records.get()) is not None:
            # Nobody is left to tell when standard error itself is gone.
            with suppress(OSError):
                os.write(self._descriptor, f"{self.format(record)}\n".encode())
