"""Owns unary long polls: each is a session for one task, whose lease ends by time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from perdure_server.core.errors import DomainError
from perdure_server.core.model import TaskKind
from perdure_server.engine.dispatch import Dispatcher
from perdure_server.engine.peers import Peers
from perdure_server.engine.ports import Clock
from perdure_server.engine.session import Held, Session, TaskKey
from perdure_server.engine.sessions import SessionSpec

_CLAIM_WAIT_S = 0.25
"""How long a poll that does not wait stays for a task that is known to be ready in the store."""
_TOKENS_MAX = 10_000

Lose = Callable[[Held], None]


class _PollSink:
    """Takes the one task of a poll. A task that comes too late is given back."""

    def __init__(self, future: asyncio.Future[bytes | None], lose: Lose) -> None:
        self._future = future
        self._lose = lose
        self.held: Held | None = None

    def push(self, kind: TaskKind, task: bytes, held: Held) -> None:  # noqa: ARG002
        """Answers the poll with a task."""
        if self._future.done():
            self._lose(held)
            return
        held.delivered = True
        self.held = held
        self._future.set_result(task)

    def cancel(self, token: str, reason: str) -> None:
        """Does nothing: the answer to the next heartbeat tells."""

    def go_on(self, kept: bytes) -> None:
        """Does nothing: the answer to the next report tells."""

    def end(self, error: DomainError | None) -> None:
        """Answers the poll with nothing."""
        if self._future.done():
            return
        if error is None:
            self._future.set_result(None)
        else:
            self._future.set_exception(error)


class Polls:
    """The unary polls under way, and the tokens they handed out."""

    def __init__(self, dispatcher: Dispatcher, *, clock: Clock, lose: Lose, peers: Peers) -> None:
        self._peers = peers
        self._dispatcher = dispatcher
        self._clock = clock
        self._lose = lose
        self._waiting: dict[_PollSink, None] = {}
        """In the order in which they came, which is that in which they are told of an end."""
        self._tokens: dict[TaskKey, tuple[int, str]] = {}
        self._leaving: DomainError | None = None

    def turn_away(self, error: DomainError) -> None:
        """Refuses the polls that wait."""
        for sink in list(self._waiting):
            sink.end(error)

    def close(self, error: DomainError) -> None:
        """Refuses the polls that wait, and those that begin to: they were read for meanwhile."""
        self._leaving = error
        self.turn_away(error)

    def token(self, key: TaskKey, lease: int) -> str | None:
        """Returns the token that was handed out for a lease."""
        found = self._tokens.get(key)
        return found[1] if found is not None and found[0] == lease else None

    async def poll(self, spec: SessionSpec, wait_us: int) -> bytes | None:
        """Waits for one encoded task; None when there was none in time."""
        if self._leaving is not None:
            raise self._leaving
        future: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        sink = _PollSink(future, self._give_back)
        session = self._session(spec, sink)
        future.add_done_callback(lambda _done: self._answered(session))
        self._waiting[sink] = None
        try:
            self._dispatcher.serve(session)
            await self._peers.discover(session)
            if not wait_us and not future.done() and not self._dispatcher.has_backlog(session):
                return None
            timeout = max(wait_us / 1e6, _CLAIM_WAIT_S)
            await asyncio.wait([future], timeout=timeout)
            return future.result() if future.done() else None
        except BaseException:
            if sink.held is not None:
                # Its caller has left, or hears that the store is away, and never sees the task.
                sink.held.delivered = False
                self._give_back(sink.held)
                sink.held = None
            raise
        finally:
            future.cancel()
            self._waiting.pop(sink, None)
            self._dispatcher.withdraw(session)
            self._remember(sink)

    def _answered(self, session: Session) -> None:
        """From its answer on, while the store is still asked for more, a poll takes nothing."""
        self._dispatcher.withdraw(session)

    def _session(self, spec: SessionSpec, sink: _PollSink) -> Session:
        return Session(
            session_id=spec.session_id,
            identity=spec.identity,
            namespace=spec.namespace,
            queue=spec.queue,
            workflow_types=spec.workflow_types,
            activity_types=spec.activity_types,
            slots=dict(spec.slots),
            heard_us=self._clock.monotonic_us(),
            since_us=self._clock.now_us(),
            sink=sink,
            by_time=True,
            sticky=False,
        )

    def _remember(self, sink: _PollSink) -> None:
        if sink.held is None:
            return
        if len(self._tokens) >= _TOKENS_MAX:
            self._tokens.pop(next(iter(self._tokens)))
        self._tokens[sink.held.key] = (sink.held.lease, sink.held.token)

    def _give_back(self, held: Held) -> None:
        session = self._dispatcher.holder(held.key)
        if session is not None:
            # At once: the next step of the run would give the task to the same poll again.
            self._dispatcher.withdraw(session)
        self._dispatcher.finished(held.key, held.lease)
        self._lose(held)
