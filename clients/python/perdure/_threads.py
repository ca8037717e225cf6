"""Owns the threads of sync activities.

Unlike those of `concurrent.futures` they are daemons: an activity that hangs does not keep the
process from ending once its worker has left.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue


class Threads:
    """Runs callables that never raise, each on one of at most `threads_max` threads.

    Threads are made when they are first needed.
    """

    def __init__(self, threads_max: int, *, name: str) -> None:
        self._threads_max = threads_max
        self._name = name
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._threads: list[threading.Thread] = []
        self._making = threading.Lock()
        self._stopped = False

    def submit(self, work: Callable[[], None]) -> None:
        """Runs `work` as soon as a thread is free; from any thread."""
        self._work.put(work)
        if self._idle.acquire(blocking=False):
            return
        with self._making:
            if self._stopped or len(self._threads) >= self._threads_max:
                return
            name = f"{self._name}-{len(self._threads) + 1}"
            thread = threading.Thread(target=self._run, name=name, daemon=True)
            self._threads.append(thread)
        thread.start()

    def stop(self) -> None:
        """Ends each thread once it is free; what is submitted later may never run."""
        with self._making:
            self._stopped = True
        for _ in self._threads:
            self._work.put(None)

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            work()
            self._idle.release()
