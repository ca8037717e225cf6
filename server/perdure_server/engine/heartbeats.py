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
from perdure_server.core import decide, fields, limits
from perdure_server.core.errors import RunContended, StaleTask, StoreError
from perdure_server.core.model import TaskKind
from perdure_server.core.state import RunState
from perdure_server.core.token import TaskToken
from perdure_server.engine.alarms import Alarms
from perdure_server.engine.ports import Clock
from perdure_server.engine.runs import Runs
from perdure_server.engine.session import TaskKey
from perdure_server.engine.stimuli import Stimulus

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
        self._beats: dict[TaskKey, _Beat] = {}
        self._flush = Alarms[TaskKey](clock, lambda key, _due: self._write_waiting(key))

    def __len__(self) -> int:
        return len(self._beats)

    def close(self) -> None:
        """Writes nothing more."""
        self._flush.close()

    def beat(
        self, token: TaskToken, details: Payload | None, resolve: Resolve, reject: Reject
    ) -> None:
        """Answers whether cancellation is requested, or rejects with StaleTask.

        Raises PayloadTooLarge.
        """
        if details is not None:
            fields.check_payload("details", details)
        key = _key(token)
        beat = self._beats.get(key)
        if beat is not None and beat.token.lease > token.lease:
            self._write(token, details, resolve, reject)
        elif beat is None or beat.token != token or self._is_due(beat):
            self._write_now(token, details, resolve, reject)
        else:
            beat.waiting = True
            if details is not None:
                beat.details = details
            self._runs.visit(token.run_id, lambda state: self._peek(state, token, resolve, reject))

    def flush(self, key: TaskKey) -> None:
        """Writes what waits for a task, before something else is decided about it."""
        beat = self._beats.get(key)
        if beat is not None and beat.waiting:
            self._write_waiting(key)

    def _is_due(self, beat: _Beat) -> bool:
        """Whether the next heartbeat is written at once; also when the clock was set back."""
        return not 0 <= self._clock.now_us() - beat.written_us < limits.HEARTBEAT_FLUSH_US

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
        beat = self._beats.get(_key(token))
        if beat is not None and beat.token == token and task.lease_until_us is not None:
            latest_us = task.lease_until_us - _LEASE_MARGIN_US
            due_us = min(beat.written_us + limits.HEARTBEAT_FLUSH_US, latest_us)
            self._flush.set(_key(token), due_us)

    def _write_waiting(self, key: TaskKey) -> None:
        beat = self._beats.get(key)
        if beat is None:
            return
        if not beat.waiting:
            del self._beats[key]
            return
        token, details = beat.token, beat.details

        def refused(error: Exception) -> None:
            beat = self._beats.get(key)
            if not isinstance(error, StoreError | RunContended):
                self._forget(token)
            elif beat is not None and beat.token == token:
                # Its worker was told that it counts, so it is written when the store is back.
                beat.waiting = True
                beat.details = details if beat.details is None else beat.details

        self._write_now(token, details, lambda _answer: None, refused)

    def _write_now(
        self, token: TaskToken, details: Payload | None, resolve: Resolve, reject: Reject
    ) -> None:
        now_us = self._clock.now_us()
        self._beats[_key(token)] = _Beat(token, now_us)
        self._flush.set(_key(token), now_us + limits.HEARTBEAT_FLUSH_US)
        self._write(token, details, resolve, reject)

    def _write(
        self, token: TaskToken, details: Payload | None, resolve: Resolve, reject: Reject
    ) -> None:
        self._runs.stimulate(
            token.run_id,
            Stimulus(
                lambda draft, now_us: decide.decide_heartbeat(draft, token, details, now_us),
                resolve,
                reject,
                may_lag=True,
            ),
        )

    def _forget(self, token: TaskToken) -> None:
        beat = self._beats.get(_key(token))
        if beat is not None and beat.token == token:
            del self._beats[_key(token)]
            self._flush.clear(_key(token))


def _key(token: TaskToken) -> TaskKey:
    return (token.run_id, token.kind, token.seq)
