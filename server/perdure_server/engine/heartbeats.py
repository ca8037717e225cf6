"""Owns heartbeats of activities.

Kept in memory and written at most once a second for each activity.

That is the one place where an answer may precede the disk: details of the last second can be lost
with the server.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from perdure.v1.payload_pb2 import Payload
from perdure_server.core import decide, limits
from perdure_server.core.errors import StaleTask
from perdure_server.core.model import TaskKind
from perdure_server.core.state import RunState
from perdure_server.core.token import TaskToken
from perdure_server.engine.alarms import Alarms
from perdure_server.engine.ports import Clock
from perdure_server.engine.runs import Runs, Stimulus

_LEASE_MARGIN_US = 500 * limits.MILLISECOND_US
"""A heartbeat that waits in memory is written this long before its lease would end."""

Resolve = Callable[[Any], None]
Reject = Callable[[Exception], None]


@dataclass(slots=True)
class _Beat:
    """The heartbeats of one lease: when one was last written, and the details that wait."""

    token: TaskToken
    written_us: int
    waiting: bool = False
    details: Payload | None = None


class Heartbeats:
    """Takes heartbeats in and writes them in time."""

    def __init__(self, runs: Runs, clock: Clock) -> None:
        self._runs = runs
        self._clock = clock
        self._beats: dict[TaskToken, _Beat] = {}
        self._flush = Alarms[TaskToken](clock, lambda token, _due: self._write_waiting(token))

    def close(self) -> None:
        """Writes nothing more."""
        self._flush.close()

    def beat(
        self, token: TaskToken, details: Payload | None, resolve: Resolve, reject: Reject
    ) -> None:
        """Answers whether cancellation is requested, or rejects with StaleTask."""
        beat = self._beats.get(token)
        now_us = self._clock.now_us()
        if beat is None or now_us - beat.written_us >= limits.HEARTBEAT_FLUSH_US:
            self._beats[token] = _Beat(token, now_us)
            self._write(token, details, resolve, reject)
            self._flush.set(token, now_us + limits.HEARTBEAT_FLUSH_US)
            return
        beat.waiting = True
        if details is not None:
            beat.details = details
        self._runs.visit(token.run_id, lambda state: self._peek(state, token, resolve, reject))

    def _peek(
        self, state: RunState | None, token: TaskToken, resolve: Resolve, reject: Reject
    ) -> None:
        """Answers from memory.

        Writes early when the lease would not last until the next write.
        """
        task = state.tasks.get((TaskKind.ACTIVITY, token.seq)) if state is not None else None
        activity = state.activities.get(token.seq) if state is not None else None
        if task is None or activity is None or task.lease != token.lease:
            self._forget(token)
            reject(StaleTask("the activity is no longer this worker's; stop it"))
            return
        resolve(activity.cancel_requested)
        beat = self._beats.get(token)
        if beat is not None and task.lease_until_us is not None:
            latest_us = task.lease_until_us - _LEASE_MARGIN_US
            self._flush.set(token, min(beat.written_us + limits.HEARTBEAT_FLUSH_US, latest_us))

    def _write_waiting(self, token: TaskToken) -> None:
        beat = self._beats.get(token)
        if beat is None:
            return
        if not beat.waiting:
            self._forget(token)
            return
        details = beat.details
        now_us = self._clock.now_us()
        self._beats[token] = _Beat(token, now_us)
        self._flush.set(token, now_us + limits.HEARTBEAT_FLUSH_US)
        self._write(token, details, lambda _answer: None, lambda _error: self._forget(token))

    def _write(
        self, token: TaskToken, details: Payload | None, resolve: Resolve, reject: Reject
    ) -> None:
        self._runs.stimulate(
            token.run_id,
            Stimulus(
                lambda draft, now_us: decide.decide_heartbeat(draft, token, details, now_us),
                resolve,
                reject,
            ),
        )

    def _forget(self, token: TaskToken) -> None:
        self._beats.pop(token, None)
        self._flush.clear(token)
