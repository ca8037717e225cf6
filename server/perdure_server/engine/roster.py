"""Owns who the workers are: those that registered, and those that are connected to any server.

A registration is durable, so that a worker is known to whichever server it talks to next, and
after a restart. Silence counts anew when a server starts: nobody could be heard meanwhile.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from perdure.v1.worker_service_pb2 import WorkerInfo
from perdure_server.core import limits
from perdure_server.core.errors import StoreError
from perdure_server.core.model import Task, Worker
from perdure_server.engine.background import Background
from perdure_server.engine.lanes import Lanes
from perdure_server.engine.peers import Peers
from perdure_server.engine.ports import Alarm, Clock
from perdure_server.engine.reasons import Service, reason
from perdure_server.engine.records import WaitingReason
from perdure_server.engine.session import Session
from perdure_server.engine.sessions import POLL_PREFIX, Sessions, SessionSpec
from perdure_server.engine.words import Words
from perdure_server.engine.worker_rows import has_type, info_of, row_of, spec_of
from perdure_server.store.contract import ListedWorker, Store

T = TypeVar("T")

_log = logging.getLogger(__name__)

_TIDY_US: Final = 30 * limits.SECOND_US
_HERE: Final = "here"
"""Stands for this server in the rows of its own sessions, which are never stored."""


@dataclass(slots=True)
class _Registration:
    """A worker that registered, here or elsewhere. `heard_us` is monotonic."""

    row: Worker
    spec: SessionSpec
    heard_us: int


class Roster:
    """The workers. In memory are the sessions of this server, and registered workers it heard."""

    def __init__(
        self,
        store: Store,
        sessions: Sessions,
        lanes: Lanes,
        *,
        words: Words,
        peers: Peers,
        clock: Clock,
        background: Background,
    ) -> None:
        self._store = store
        self._sessions = sessions
        self._lanes = lanes
        self._words = words
        self._peers = peers
        self._clock = clock
        self._background = background
        self._registered: dict[str, _Registration] = {}
        self._strangers: dict[str, None] = {}
        self._alarm: Alarm | None = None
        self._is_untidy = False

    async def start(self, *, workers_return: bool) -> None:
        """Takes up who registered before, or forgets them if they cannot come back.

        Raises StoreUnavailable.
        """
        rows = await self._store.registered_workers()
        if rows and not workers_return:
            keys = [(row.worker_id, row.server_id) for row in rows]
            await self._store.delete_workers(keys, silent_us=self._clock.now_us())
        elif rows:
            until_us = self._clock.now_us() + limits.WORKER_FORGOTTEN_US
            await self._store.put_workers([replace(row, until_us=until_us) for row in rows])
            for row in rows:
                self._take_up(row)
        self._arm()

    def close(self) -> None:
        """Writes nothing more."""
        self._words.close()
        if self._alarm is not None:
            self._alarm.cancel()

    async def register(self, spec: SessionSpec) -> None:
        """Remembers a worker, durably, until it is silent for 90 seconds."""
        now_us = self._clock.now_us()
        row = row_of(spec, "", since_us=now_us, heard_at_us=now_us)
        await self._store.put_workers([row])
        self._take_up(row)

    async def find(self, worker_id: str) -> SessionSpec | None:
        """Returns what a registered worker said of itself, and notes that it was heard."""
        if worker_id in self._strangers:
            return None
        known, rows = await self._look_up(worker_id)
        if known is None:
            if not rows:
                self._note_stranger(worker_id)
            return None
        self._hear(known)
        return known.spec

    async def hear(self, worker_id: str) -> bool:
        """Notes a word of a worker that registered or is connected to another server.

        Returns whether it is known.
        """
        known, rows = await self._look_up(worker_id)
        if known is not None:
            self._hear(known)
        elif rows:
            self._words.note(worker_id, self._clock.now_us())
        return bool(known or rows)

    def heard(self, worker_id: str) -> None:
        """Notes a word of a worker whose session is here, in case that it registered."""
        known = self._known(worker_id)
        if known is not None:
            self._hear(known)

    def heard_elsewhere(self, session_id: str) -> None:
        """Notes a word of a worker that is connected to another server, for that to hear."""
        if not session_id.startswith(POLL_PREFIX):
            self._words.note(session_id, self._clock.now_us())

    async def infos(self, namespace: str) -> list[WorkerInfo]:
        """Returns the workers of a namespace by id, whatever server they are connected to."""
        found = await self._all(namespace, None)
        return [info_of(found[key]) for key in sorted(found)]

    async def by_queue(self, namespace: str) -> Counter[str]:
        """Counts the workers of a namespace by task queue."""
        found = await self._all(namespace, None)
        return Counter(listed.worker.queue for listed in found.values())

    async def explain(self, show: Callable[[WaitingReason], Awaitable[T]]) -> T:
        """Shows something with reasons; asks for the workers of the queues it needs them of."""

        def with_reasons(service: Callable[[Task], Service]) -> Awaitable[T]:
            return show(lambda task: reason(task, service(task)))

        return await self.serve(with_reasons)

    async def serve(self, show: Callable[[Callable[[Task], Service]], Awaitable[T]]) -> T:
        """Shows something with what the workers of all servers are to its tasks."""
        asked: dict[tuple[str, str], None] = {}

        def note(task: Task) -> Service:
            asked[task.namespace, task.queue] = None
            return Service.NOBODY

        shown = await show(note)
        if not asked:
            return shown
        workers = {key: (await self._all(*key)).values() for key in asked}

        def service(task: Task) -> Service:
            known = workers.get((task.namespace, task.queue), ())
            best = max((_service(each.worker, task) for each in known), default=Service.NOBODY)
            return max(best, self._lanes.service(task))

        return await show(service)

    async def _look_up(self, worker_id: str) -> tuple[_Registration | None, list[Worker]]:
        """Returns a registered worker, and what other servers know of one that is not known here.

        Raises StoreUnavailable.
        """
        known = self._known(worker_id)
        if known is not None:
            return known, []
        rows = await self._peers.rows_of(worker_id)
        return next((self._take_up(row) for row in rows if not row.server_id), None), rows

    async def _all(self, namespace: str, queue: str | None) -> dict[str, ListedWorker]:
        """Returns the workers of a namespace, or of one of its queues, by id.

        A worker that is connected is shown as such, by the server that heard it last.
        """
        found: dict[str, ListedWorker] = {}
        registered = [each.row for each in self._registered.values() if not self._is_silent(each)]
        rows = [ListedWorker(row, 0) for row in registered if _is_in(row, namespace, queue)]
        for each in [*rows, *await self._peers.workers(namespace, queue)]:
            known = found.get(each.worker.worker_id, each)
            found[each.worker.worker_id] = max(known, each, key=_rank)
        for session in self._sessions.all():
            found.pop(session.session_id, None)
            if _is_in(session, namespace, queue):
                found[session.session_id] = self._connected(session)
        return found

    def _connected(self, session: Session) -> ListedWorker:
        silence_us = self._clock.monotonic_us() - session.heard_us
        heard_at_us = self._clock.now_us() - silence_us
        row = row_of(session, _HERE, since_us=session.since_us, heard_at_us=heard_at_us)
        return ListedWorker(row, len(session.held))

    def _take_up(self, row: Worker) -> _Registration:
        known = _Registration(row, spec_of(row), self._clock.monotonic_us())
        self._registered[row.worker_id] = known
        self._strangers.pop(row.worker_id, None)
        return known

    def _known(self, worker_id: str) -> _Registration | None:
        known = self._registered.get(worker_id)
        return None if known is None or self._is_silent(known) else known

    def _is_silent(self, known: _Registration) -> bool:
        return self._clock.monotonic_us() - known.heard_us > limits.WORKER_FORGOTTEN_US

    def _hear(self, known: _Registration) -> None:
        now_us = self._clock.now_us()
        known.heard_us = self._clock.monotonic_us()
        known.row = replace(known.row, heard_at_us=max(now_us, known.row.heard_at_us))
        self._words.note(known.row.worker_id, now_us)

    def _note_stranger(self, worker_id: str) -> None:
        if len(self._strangers) >= limits.WORKER_STRANGERS_MAX:
            self._strangers.pop(next(iter(self._strangers)))
        self._strangers[worker_id] = None

    def _arm(self) -> None:
        self._alarm = self._clock.call_at(self._clock.now_us() + _TIDY_US, self._tidy)

    def _tidy(self) -> None:
        self._arm()
        for worker_id in [key for key, each in self._registered.items() if self._is_silent(each)]:
            del self._registered[worker_id]
            self._is_untidy = True
        if self._is_untidy:
            self._background.spawn(self._delete_silent(), "delete silent workers")

    async def _delete_silent(self) -> None:
        try:
            await self._store.delete_workers([], silent_us=self._clock.now_us())
            self._is_untidy = False
        except StoreError as error:
            _log.warning("silent workers could not be deleted, again later: %s", error)


def _is_in(worker: Worker | Session, namespace: str, queue: str | None) -> bool:
    return worker.namespace == namespace and queue in {None, worker.queue}


def _rank(each: ListedWorker) -> tuple[bool, int]:
    return bool(each.worker.server_id), each.worker.heard_at_us


def _service(worker: Worker, task: Task) -> Service:
    """What a worker is to a task, as far as its row tells; of sessions here the lanes know more."""
    if worker.server_id == _HERE:
        return Service.NOBODY
    if not has_type(worker, task):
        return Service.OTHER_TYPES
    return Service.BUSY if worker.server_id else Service.NOT_ASKING
