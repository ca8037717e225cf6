"""Owns what the other servers are told of the sessions of this one, and what they heard of them.

The store keeps a row for each session. It is written when something of it changes that lists show,
which is looked for at every beat, and goes with the session or with its server.
"""

from __future__ import annotations

from collections.abc import Hashable

from perdure_server.core import limits
from perdure_server.core.model import Worker
from perdure_server.engine.ports import Clock
from perdure_server.engine.session import Session
from perdure_server.engine.sessions import Sessions
from perdure_server.engine.words import Words
from perdure_server.engine.worker_rows import row_of
from perdure_server.store.contract import Store

_WORDS_LOOKS = 5
"""Every so many looks it is noted when each worker was heard."""
_TIDY_LOOKS = 60
_LONG_US = limits.WORKER_WORDS_US
"""Who was silent for less may have said it to nobody else."""


class Presence:
    """Shares the sessions of this server with the others."""

    def __init__(self, store: Store, sessions: Sessions, words: Words, *, clock: Clock) -> None:
        self._store = store
        self._sessions = sessions
        self._words = words
        self._clock = clock
        self._server_id = ""
        self._shared: dict[str, Hashable] = {}
        self._looks = 0

    async def share(self, server_id: str) -> None:
        """Tells what has changed since the last time. Raises StoreUnavailable."""
        if server_id != self._server_id:
            self._server_id = server_id
            self._shared = {}
        sessions = {session.session_id: session for session in self._sessions.all()}
        shown = {key: _shown(session) for key, session in sessions.items()}
        changed = [sessions[key] for key in shown if self._shared.get(key) != shown[key]]
        gone = [(key, server_id) for key in self._shared if key not in shown]
        self._looks += 1
        if changed:
            await self._store.put_workers([self._row(session) for session in changed])
        if gone or self._looks % _TIDY_LOOKS == 0:
            await self._store.delete_workers(gone, silent_us=self._clock.now_us())
        self._shared = shown
        if self._looks % _WORDS_LOOKS == 0:
            for session in sessions.values():
                self._words.note(session.session_id, self._heard_at_us(session))

    async def listen(self) -> None:
        """Hears of workers whose streams go one way what they said to other servers.

        Raises StoreUnavailable.
        """
        silent = {
            session.session_id: session
            for session in self._sessions.all()
            if session.held and not session.sticky and self._silence_us(session) > _LONG_US
        }
        if not silent:
            return
        for row in await self._store.find_workers(list(silent)):
            session = silent[row.worker_id]
            since_us = self._clock.now_us() - row.heard_at_us
            session.heard_us = max(session.heard_us, self._clock.monotonic_us() - since_us)

    def _row(self, session: Session) -> Worker:
        heard_at_us = self._heard_at_us(session)
        return row_of(session, self._server_id, since_us=session.since_us, heard_at_us=heard_at_us)

    def _heard_at_us(self, session: Session) -> int:
        return self._clock.now_us() - self._silence_us(session)

    def _silence_us(self, session: Session) -> int:
        return self._clock.monotonic_us() - session.heard_us


def _shown(session: Session) -> Hashable:
    """What of a session others are told when it changes."""
    return (
        session.identity,
        session.namespace,
        session.queue,
        session.workflow_types,
        session.activity_types,
        tuple(session.slots.items()),
        session.draining,
        session.since_us,
    )
