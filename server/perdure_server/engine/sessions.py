"""Owns the worker sessions of this process.

Attach, detach, liveness, and what happens to the leases of the lost.

A session outlives its stream. Silence is measured on the monotonic clock from the last word of the
worker; after a restart of the server it is measured from the start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from perdure_server.core import limits
from perdure_server.core.draft import CancelNotice
from perdure_server.core.errors import DomainError, InvalidTaskToken, SessionReplaced, ShuttingDown
from perdure_server.core.model import Task, TaskKind
from perdure_server.core.token import TaskToken
from perdure_server.engine.dispatch import Dispatcher
from perdure_server.engine.ports import Alarm, Clock
from perdure_server.engine.session import Held, Session, Sink, TaskKey

POLL_PREFIX = limits.POLL_SESSION_PREFIX
_TICK_US = limits.SECOND_US
_TICK_MIN_US = limits.MILLISECOND_US
_TICK_LATE_US = 2 * limits.SECOND_US
"""A tick that is this late means that the process was stopped.

The workers could not be heard meanwhile.
"""

Lose = Callable[[Held], None]
Release = Callable[[str, Callable[[bool], None]], None]
"""Gives a session up among the servers, then says whether it was still this server's."""


@dataclass(slots=True, frozen=True)
class SessionSpec:
    """Who a worker is and what it takes; types None mean all. `sticky`: it caches runs."""

    session_id: str
    identity: str
    namespace: str
    queue: str
    workflow_types: frozenset[str] | None
    activity_types: frozenset[str] | None
    slots: Mapping[TaskKind, int]
    by_time: bool = False
    sticky: bool = True


class Sessions:
    """All sessions, also those whose stream is gone but whose leases still stand."""

    def __init__(
        self, dispatcher: Dispatcher, *, clock: Clock, lose: Lose, release: Release
    ) -> None:
        self._dispatcher = dispatcher
        self._clock = clock
        self._lose = lose
        self._release = release
        self._sessions: dict[str, Session] = {}
        self._tick: Alarm | None = None
        self._ticked_us = 0

    def start(self) -> None:
        """Begins to watch over the sessions."""
        self._ticked_us = self._clock.monotonic_us()
        self._arm()

    def close(self, error: ShuttingDown) -> None:
        """Ends every stream; the leases stand in the store."""
        if self._tick is not None:
            self._tick.cancel()
        for session in self._sessions.values():
            if session.sink is not None:
                session.sink.end(error)

    def all(self) -> Iterable[Session]:
        """Returns the sessions by id."""
        return [self._sessions[key] for key in sorted(self._sessions)]

    def get(self, session_id: str) -> Session | None:
        """Returns a session."""
        return self._sessions.get(session_id)

    def adopt(self, tasks: Iterable[Task]) -> None:
        """Takes in leases of an earlier process: their sessions have 10 seconds to come back."""
        for task in tasks:
            if not task.session_id or task.session_id.startswith(POLL_PREFIX):
                continue
            session = self._sessions.get(task.session_id)
            if session is None:
                session = self._new(_unknown(task))
            key = (task.run_id, task.kind, task.seq)
            held = Held(key=key, lease=task.lease, token="", delivered=True)
            session.used[task.kind] += 1
            self._dispatcher.hold(session, held)

    def replace(self, session_id: str, tasks: Iterable[Task]) -> None:
        """Takes a session in from another server, with what it holds there."""
        session = self._sessions.get(session_id)
        if session is not None:
            self._let_go(session)
        self.adopt(tasks)

    def inherit(self, tasks: Iterable[Task], silence_us: int) -> None:
        """Takes in the leases of a server that was found dead so long after its last beat."""
        tasks = list(tasks)
        known = set(self._sessions)
        self.adopt(tasks)
        for session_id in dict.fromkeys(task.session_id or "" for task in tasks):
            session = self._sessions.get(session_id)
            if session is not None and session_id not in known:
                session.heard_us -= silence_us

    def lost(self, session_id: str) -> None:
        """Forgets a session that another server has taken; its leases stand."""
        session = self._sessions.get(session_id)
        if session is not None:
            self._end(session, SessionReplaced("the worker has connected to another server"))

    def reset(self, error: DomainError) -> None:
        """Forgets every session; the leases stand in the store for others to end."""
        for session in list(self._sessions.values()):
            self._end(session, error)

    def forsake(self) -> None:
        """Gives up every session without a stream at once: its worker cannot come back."""
        for session in list(self._sessions.values()):
            if session.sink is None:
                self._remove(session)
                for held in list(session.held.values()):
                    self._drop(held)

    def take_up(self, spec: SessionSpec) -> Session:
        """Returns the session of a worker, a new one if it has none; `attach` follows at once."""
        return self._sessions.get(spec.session_id) or self._new(spec)

    def attach(
        self, spec: SessionSpec, sink: Sink, *, held: Sequence[str] = (), cached: Mapping[str, int]
    ) -> tuple[Session, list[str]]:
        """Opens a session or takes it up again.

        Returns it with the tokens of `held` whose leases are gone.

        What the worker does not name was never received and is ready at once. Serving begins with
        `Dispatcher.serve`, so that the caller can answer first.
        """
        session = self.take_up(spec)
        if session.sink is not None:
            session.sink.end(SessionReplaced("the worker has connected again"))
        self._dispatcher.withdraw(session)
        _update(session, spec)
        session.sink = sink
        session.unacknowledged.clear()
        session.heard_us = self._clock.monotonic_us()
        lost = self._reconcile(session, held)
        self._dispatcher.forget(session)
        # The worker forgets a run whose workflow task it hears it has lost.
        forgotten = {_workflow_task_of(text) for text in lost}
        for run_id, last_seq in cached.items():
            if run_id not in forgotten:
                self._dispatcher.stick(session, run_id, last_seq)
        return session, lost

    def detach(self, session: Session, sink: Sink) -> None:
        """Notes that a stream has ended.

        The session goes on while it holds leases and is not silent for too long.
        """
        if session.sink is not sink:
            return
        session.sink = None
        self._dispatcher.withdraw(session)
        if not session.held:
            self._remove(session)
            self._release(session.session_id, lambda _ours: None)

    def heard(self, session: Session) -> None:
        """Notes a word of the worker."""
        session.heard_us = self._clock.monotonic_us()

    def notify(self, run_id: str, notice: CancelNotice) -> None:
        """Tells the worker that holds a task to stop it."""
        key = (run_id, notice.kind, notice.seq)
        session = self._dispatcher.holder(key)
        held = session.held.get(key) if session is not None else None
        if session is None or held is None or held.lease != notice.lease:
            return
        if session.sink is not None and (notice.kind is TaskKind.ACTIVITY or held.told_seq):
            session.sink.cancel(held.token, notice.reason)
        if notice.reason != "CANCEL_REQUESTED":
            self._dispatcher.finished(key, notice.lease)

    def _new(self, spec: SessionSpec) -> Session:
        now_us = self._clock.monotonic_us()
        session = Session(
            session_id=spec.session_id,
            identity=spec.identity,
            namespace=spec.namespace,
            queue=spec.queue,
            workflow_types=spec.workflow_types,
            activity_types=spec.activity_types,
            slots=dict(spec.slots),
            heard_us=now_us,
            since_us=self._clock.now_us(),
            by_time=spec.by_time,
            sticky=spec.sticky,
        )
        self._sessions[spec.session_id] = session
        return session

    def _reconcile(self, session: Session, tokens: Sequence[str]) -> list[str]:
        lost: list[str] = []
        kept: set[TaskKey] = set()
        for text in tokens:
            held = _held(session, text)
            if held is None:
                lost.append(text)
                continue
            held.token, held.delivered = text, True
            kept.add(held.key)
        for held in list(session.held.values()):
            if held.key not in kept:
                held.delivered = False
                self._drop(held)
        return lost

    def _end(self, session: Session, error: DomainError | None) -> None:
        """Ends a session and its stream; who gets its leases is not decided here."""
        sink, session.sink = session.sink, None
        if sink is not None:
            sink.end(error)
        self._remove(session)
        self._let_go(session)

    def _let_go(self, session: Session) -> None:
        for held in list(session.held.values()):
            self._dispatcher.finished(held.key, held.lease)

    def _released(self, session: Session, ours: bool) -> None:
        """Ends the leases of a session that was this server's to the last."""
        for held in list(session.held.values()):
            if self._dispatcher.holder(held.key) is session:
                self._dispatcher.finished(held.key, held.lease)
                if ours:
                    self._lose(held)

    def _drop(self, held: Held) -> None:
        self._dispatcher.finished(held.key, held.lease)
        self._lose(held)

    def _remove(self, session: Session) -> None:
        self._sessions.pop(session.session_id, None)
        self._dispatcher.withdraw(session)
        self._dispatcher.forget(session)

    def _arm(self) -> None:
        """Looks again after a second, or when the first will have been silent for too long."""
        now_us = self._clock.monotonic_us()
        dues_us = (
            each.heard_us + _patience_us(each) for each in self._sessions.values() if _owes(each)
        )
        wait_us = min(_TICK_US, min(dues_us, default=now_us + _TICK_US) - now_us + 1)
        due_us = self._clock.now_us() + max(wait_us, _TICK_MIN_US)
        self._tick = self._clock.call_at(due_us, self._watch_over)

    def _watch_over(self) -> None:
        now_us = self._clock.monotonic_us()
        gap_us = now_us - self._ticked_us
        self._ticked_us = now_us
        try:
            for session in list(self._sessions.values()):
                if gap_us > _TICK_LATE_US:
                    session.heard_us += gap_us
                self._check(session, now_us - session.heard_us)
        finally:
            self._arm()

    def _check(self, session: Session, silence_us: int) -> None:
        if not _owes(session):
            self.heard(session)
        elif silence_us > limits.SESSION_LEASE_US:
            sink, session.sink = session.sink, None
            if sink is not None:
                sink.end(None)
            self._remove(session)
            self._release(session.session_id, partial(self._released, session))
        elif silence_us > _patience_us(session) and session.sink is not None:
            session.sink.end(SessionReplaced("nothing was heard from the worker for 8 seconds"))
            self.detach(session, session.sink)


def _owes(session: Session) -> bool:
    """Whether a word is due: who can only report owes none while it has no task."""
    return session.sticky or bool(session.held) or session.sink is None


def _patience_us(session: Session) -> int:
    """For how long a session may be silent before something of it ends.

    A stream that goes one way has nothing to be silent on: only the lease counts.
    """
    is_heard_on_it = session.sticky and session.sink is not None
    return limits.STREAM_SILENCE_US if is_heard_on_it else limits.SESSION_LEASE_US


def _held(session: Session, text: str) -> Held | None:
    try:
        token = TaskToken.decode(text)
    except InvalidTaskToken:
        return None
    held = session.held.get((token.run_id, token.kind, token.seq))
    return held if held is not None and held.lease == token.lease else None


def _workflow_task_of(text: str) -> str | None:
    """Returns the run whose workflow task a token is of; None for any other text."""
    try:
        token = TaskToken.decode(text)
    except InvalidTaskToken:
        return None
    return token.run_id if token.kind is TaskKind.WORKFLOW else None


def _update(session: Session, spec: SessionSpec) -> None:
    session.identity = spec.identity
    session.namespace = spec.namespace
    session.queue = spec.queue
    session.workflow_types = spec.workflow_types
    session.activity_types = spec.activity_types
    session.slots = dict(spec.slots)
    session.sticky = spec.sticky
    session.draining = False


def _unknown(task: Task) -> SessionSpec:
    return SessionSpec(
        session_id=task.session_id or "",
        identity=task.worker_identity,
        namespace=task.namespace,
        queue=task.queue,
        workflow_types=frozenset(),
        activity_types=frozenset(),
        slots={TaskKind.WORKFLOW: 0, TaskKind.ACTIVITY: 0},
    )
