"""Owns this server's place among the servers that share its database.

It shows that it lives, hears what the others commit, ends what a dead one left, and does what
somebody should have done by now. None of it is needed for safety: whoever acts on a stale view is
refused by the store. It is what makes the others' work known here in milliseconds, and a death in
seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from perdure_server.core import limits
from perdure_server.core.changeset import Changeset
from perdure_server.core.errors import DomainError, SchemaTooNew, SessionReplaced, StoreError
from perdure_server.core.model import Message, Task, TaskKind, Worker
from perdure_server.core.state import RunState
from perdure_server.engine.alarms import Alarms
from perdure_server.engine.background import Background
from perdure_server.engine.dispatch import Dispatcher
from perdure_server.engine.feeder import Feeder
from perdure_server.engine.inbox import Inbox
from perdure_server.engine.kept import kept_runs, tell
from perdure_server.engine.keys import Keys
from perdure_server.engine.outcomes import Outcomes
from perdure_server.engine.peers import Peers
from perdure_server.engine.ports import Clock, Ids
from perdure_server.engine.presence import Presence
from perdure_server.engine.results import Results
from perdure_server.engine.runs import Runs
from perdure_server.engine.scheduler import Scheduler
from perdure_server.engine.session import Held, Session, TaskKey
from perdure_server.engine.sessions import POLL_PREFIX, Sessions
from perdure_server.engine.standing import Standing
from perdure_server.engine.timers import Timers
from perdure_server.store.contract import ListedWorker
from perdure_server.store.shared import Beat, Hint, SharedStore

_log = logging.getLogger(__name__)

_BEAT_US = limits.SECOND_US
_LATE_US = limits.SECOND_US
"""What is due for so long is nobody's any more: whoever should have done it is dead or stuck."""
_STILL_US = 3 * limits.SECOND_US
"""After so long without a change of its receiver, a message stands in nobody's line: a busy server
commits less often than once a second, and what it says is heard late."""
_LEFT_US = 10 * limits.SECOND_US
"""After so long a message is taken over even while its receiver changes all the time."""
_SILENT_MAX_US = limits.SERVER_SILENCE_US + _BEAT_US
"""How long ago a server that has just been found silent was heard, at most."""
_RETURN_US = 3 * limits.SECOND_US
"""When the database was away from here, the others may need so long to come back to it as well."""
_SWEEP_MAX = 1_000
_AUDIT_BEATS = 5
_AUDITS_AFTER_GAP = 2
"""After a gap an answer may be missing that a task was leased; two audits end a lease."""
_LOOKS_AT_ONCE = 16
_DOUBT_LOOKS = 10
"""A commit whose answer was lost may still be under way in the database for some seconds."""

SetTime = Callable[[int], None]


@dataclass(slots=True, frozen=True)
class Parts:
    """What of the engine the other servers' doings concern."""

    sessions: Sessions
    dispatcher: Dispatcher
    runs: Runs
    results: Results
    outcomes: Outcomes
    timers: Timers
    scheduler: Scheduler
    leases: Alarms[TaskKey]
    keys: Keys
    feeder: Feeder
    presence: Presence
    inbox: Inbox
    take_note: Callable[[bytes], None]
    lose: Callable[[Held], None]


class Cluster(Peers):
    """This server among the others. `set_time` is told the database's time at every beat."""

    def __init__(
        self,
        store: SharedStore,
        *,
        clock: Clock,
        ids: Ids,
        background: Background,
        set_time: SetTime,
        standing: Standing,
        parts: Callable[[], Parts],
    ) -> None:
        self._store = store
        self._clock = clock
        self._ids = ids
        self._background = background
        self._set_time = set_time
        self._standing = standing
        self._parts_of = parts
        self.server_id = ""
        self._looks = 0
        self._audits_due = 0
        self._beat: Beat | None = None
        self._answered = asyncio.Event()
        self._beaten_us = 0
        self._bury_from_us = 0
        self._suspects: set[tuple[TaskKey, int]] = set()
        self._doubts: dict[str, int] = {}
        self._stirred: dict[str, int] = {}
        self._ordering = asyncio.Lock()
        self._looking = asyncio.Semaphore(_LOOKS_AT_ONCE)

    @property
    def _parts(self) -> Parts:
        return self._parts_of()

    async def start(self) -> None:
        """Enters this server among the others. Raises StoreUnavailable."""
        await self._join()
        self._background.spawn(self._listen(), "hear other servers")
        self._background.spawn(self._live(), "beat")
        self._background.spawn(self._tend(), "tend what others left")

    async def stop(self) -> None:
        """Leaves the others, unless the store is away: then they find out."""
        with contextlib.suppress(DomainError):
            await self._store.leave()

    async def take(self, session_id: str) -> None:
        """Takes a worker's session over from the server that had it. Raises StoreUnavailable."""
        async with self._ordering:
            taken = await self._store.take_session(session_id)
        if not taken.was_ours or self._parts.sessions.get(session_id) is None:
            self._parts.sessions.replace(session_id, taken.tasks)

    def release(self, session_id: str, then: Callable[[bool], None]) -> None:
        """Gives a session up; `then` hears whether it was still this server's."""
        self._background.spawn(self._release(session_id, then), f"release {session_id}")

    async def discover(self, session: Session) -> None:
        """Finds tasks of others that a session takes. Raises StoreUnavailable."""
        lanes = await self._store.ready_lanes(self._clock.now_us())
        self._parts.dispatcher.arrived(lane for lane in lanes if session.takes(lane))

    def seek(self, session: Session) -> None:
        """Like `discover`, at some time soon; what is not found then is found by the sweep."""
        self._background.spawn(self._try(lambda: self.discover(session)), "seek tasks")

    def doubt(self, changeset: Changeset) -> None:
        """Has those who wait for what a changeset does told of it, should it be on disk.

        Nobody else would: the other servers hear of it, this one hears only of theirs.
        """
        self._doubts.update((change.run.run_id, _DOUBT_LOOKS) for change in changeset.changes)

    async def workers(self, namespace: str, queue: str | None) -> list[ListedWorker]:
        """Returns the workers of every other server, and those that registered.

        Raises StoreUnavailable.
        """
        now_us = self._clock.now_us()
        found = await self._store.list_workers(namespace, queue=queue, now_us=now_us)
        return [each for each in found if each.worker.server_id != self.server_id]

    async def rows_of(self, worker_id: str) -> list[Worker]:
        """Returns what all servers know of a worker that is not forgotten.

        Raises StoreUnavailable.
        """
        now_us = self._clock.now_us()
        found = await self._store.find_workers([worker_id])
        return [row for row in found if row.until_us > now_us]

    async def follow(self) -> None:
        """Returns when everything that is committed from now on, by whomever, is published."""
        await self._parts.feeder.follow()

    async def _join(self) -> None:
        server_id = f"server-{self._ids.run_id()}"
        self._set_time(await self._store.join(server_id))
        self.server_id = server_id
        self._beaten_us = self._clock.monotonic_us()

    async def _release(self, session_id: str, then: Callable[[bool], None]) -> None:
        tried = False
        while True:
            try:
                async with self._ordering:
                    if self._parts.sessions.get(session_id) is not None:
                        return
                    if tried:
                        # What was tried may have been done: then nobody has the session.
                        await self._store.take_orphan(session_id)
                    tried = True
                    ours = await self._store.release_session(session_id)
            except StoreError as error:
                _log.warning("a session could not be given up, trying again: %s", error)
                await self._pause(_BEAT_US)
            else:
                then(ours)
                return

    async def _listen(self) -> None:
        async for hint in self._store.hints():
            try:
                self._hear(hint)
            except Exception:  # noqa: BLE001 - a server that hears no more serves what was long ago
                _log.exception("what another server told could not be taken in")

    def _hear(self, hint: Hint) -> None:
        parts, runs = self._parts, None if hint.everything else hint.runs
        parts.runs.foreign(runs, hint.closed)
        self._stirred.update(dict.fromkeys(hint.runs, self._clock.monotonic_us()))
        parts.runs.contend(hint.wanted)
        for run_id in hint.closed:
            parts.dispatcher.unstick_all(run_id)
        concerned = None if hint.everything else sorted(hint.closed | hint.stopped)
        held = [key[0] for key in parts.dispatcher.held_keys(concerned)]
        # What is under way may end with a task being pushed whose lease has ended already.
        for run_id in dict.fromkeys([*held, *parts.runs.under_way(concerned)]):
            parts.runs.visit(run_id, partial(self._recheck, run_id))
        for run_id in kept_runs(parts.dispatcher, runs):
            parts.runs.visit(run_id, partial(tell, parts.dispatcher))
        for run_id in parts.results.awaited(None if hint.everything else hint.closed):
            self._look_for_end(run_id)
        # Who starts a run, or follows one to the next, waits for it once that is known to stand.
        for run_id in parts.runs.under_way(None if hint.everything else hint.closed):
            parts.runs.visit(run_id, partial(self._look_if_awaited, run_id))
        parts.scheduler.foreign(None if hint.everything else hint.closed)
        for run_id, seq in parts.outcomes.awaited(runs):
            self._look_for_outcome(run_id, seq)
        for session_id in hint.sessions:
            parts.sessions.lost(session_id)
        if hint.api_keys or hint.everything:
            self._background.spawn(self._insist(parts.keys.reload), "read API keys")
        if hint.everything:
            self._audits_due = _AUDITS_AFTER_GAP
            self._background.spawn(self._try(self._sweep), "sweep")
        for note in hint.notes:
            parts.take_note(note)
        parts.dispatcher.arrived(hint.lanes)
        parts.feeder.wake()

    def _recheck(self, run_id: str, state: RunState | None) -> None:
        """Tells the workers that hold tasks of a run what another server did to these."""
        dispatcher = self._parts.dispatcher
        for key in dispatcher.held_keys([run_id]):
            session = dispatcher.holder(key)
            if session is None:
                continue
            held = session.held[key]
            row = state.tasks.get(key[1:]) if state is not None else None
            if row is None or row.lease != held.lease or row.session_id != session.session_id:
                closed = state is None or state.run.status.is_closed
                _tell(session, held, "WORKFLOW_CLOSED" if closed else "LEASE_LOST")
                dispatcher.finished(key, held.lease)
            elif key[1] is TaskKind.ACTIVITY and state is not None:
                activity = state.activities.get(key[2])
                if activity is not None and activity.cancel_requested:
                    _tell(session, held, "CANCEL_REQUESTED")

    def _look_if_awaited(self, run_id: str, _state: RunState | None) -> None:
        if self._parts.results.awaited([run_id]):
            self._look_for_end(run_id)

    def _look_for_end(self, run_id: str) -> None:
        async def look() -> None:
            if not self._parts.results.awaited([run_id]):
                return
            async with self._looking:
                summary = await self._store.summarize_run(run_id)
            if summary is not None and summary.closed is not None:
                for next_id in self._parts.results.closed(summary.run, summary.closed):
                    self._look_for_end(next_id)

        self._background.spawn(self._insist(look), f"look for the end of {run_id}")

    def _look_for_outcome(self, run_id: str, seq: int) -> None:
        async def look() -> None:
            async with self._looking:
                found = await self._store.find_update(run_id, seq)
            if found is not None:
                self._parts.outcomes.told(run_id, {seq: found})

        self._background.spawn(self._insist(look), f"look for an answer of {run_id}")

    async def _live(self) -> None:
        while True:
            await self._pause(_BEAT_US)
            try:
                await self._try(self._show)
            except SchemaTooNew as error:
                # The database was migrated while this server was frozen, or cut off.
                self._standing.end(error)
                return
            if self._store.is_cut_off:
                self._standing.lost()
            else:
                self._standing.reached()

    async def _show(self) -> None:
        """Shows that this server lives; nothing else may hold that up."""
        beat = await self._store.beat(silent_us=limits.SERVER_SILENCE_US)
        now_us = self._clock.monotonic_us()
        if beat is None:
            await self._rejoin()
            return
        if now_us - self._beaten_us > 2 * _BEAT_US + _LATE_US:
            # The process was stopped: what it heard meanwhile came in any order. Or the database
            # was away: then it was silent to the others too, who are no more dead than this one.
            self._hear(Hint(everything=True))
            self._bury_from_us = now_us + _RETURN_US
        self._beaten_us = now_us
        self._set_time(beat.now_us)
        self._beat = beat
        self._standing.has_others = beat.servers > 1
        self._answered.set()

    async def _tend(self) -> None:
        """Does after each beat what others have left undone; a beat that comes meanwhile waits."""
        while True:
            await self._answered.wait()
            self._answered.clear()
            await self._try(self._look_around)

    async def _look_around(self) -> None:
        beat = self._beat
        if beat is not None and self._clock.monotonic_us() >= self._bury_from_us:
            for server_id in beat.silent:
                await self._bury(server_id)
        self._look_at_doubts()
        await self._parts.presence.listen()
        await self._parts.presence.share(self.server_id)
        await self._sweep()
        self._looks += 1
        if self._audits_due or self._looks % _AUDIT_BEATS == 0:
            self._audits_due = max(0, self._audits_due - 1)
            await self._audit()

    def _look_at_doubts(self) -> None:
        for run_id in self._parts.results.awaited(self._doubts):
            self._look_for_end(run_id)
        for run_id, seq in self._parts.outcomes.awaited(self._doubts):
            self._look_for_outcome(run_id, seq)
        self._doubts = {run_id: left - 1 for run_id, left in self._doubts.items() if left > 1}

    async def _rejoin(self) -> None:
        """Begins anew: the others took this server for dead and ended what it had."""
        _log.warning("this server was silent for too long and was given up; it joins again")
        self._parts.sessions.reset(SessionReplaced("this server was cut off; connect again"))
        await self._join()
        self._hear(Hint(everything=True))

    async def _bury(self, server_id: str) -> None:
        sessions = await self._store.bury(server_id, silent_us=limits.SERVER_SILENCE_US)
        if sessions is None:
            return
        _log.warning("server %s is silent; its sessions are taken over", server_id)
        for session_id in sessions:
            async with self._ordering:
                taken = await self._store.take_session(session_id)
            if self._parts.sessions.get(session_id) is None:
                self._parts.sessions.inherit(taken.tasks, _SILENT_MAX_US)
        await self._parts.timers.rebuild()
        await self._parts.scheduler.rebuild()

    async def _sweep(self) -> None:
        """Does what somebody should have done by now."""
        now_us, heard_us = self._clock.now_us(), self._clock.monotonic_us() - _STILL_US
        self._stirred = {key: at_us for key, at_us in self._stirred.items() if at_us > heard_us}
        overdue = await self._store.overdue(now_us - _LATE_US, limit=_SWEEP_MAX)
        for timer in overdue.timers:
            self._parts.timers.set(timer)
        self._parts.inbox.deliver(
            message for message in overdue.messages if self._is_left(message, now_us)
        )
        for task in overdue.leases:
            if task.lease_until_us is not None:
                self._parts.leases.set((task.run_id, task.kind, task.seq), task.lease_until_us)
        self._parts.dispatcher.arrived(await self._store.ready_lanes(now_us))
        await self._parts.scheduler.sweep(now_us - _LATE_US)
        self._parts.feeder.wake()

    def _is_left(self, message: Message, now_us: int) -> bool:
        """Whether it seems that no server hands a message on that is old enough for it.

        While its receiver changes, it may stand in a line: two servers would record it by turns.
        """
        runs = self._parts.runs
        run_id = message.run_id or runs.latest(message.namespace, message.workflow_id) or ""
        is_busy = run_id in self._stirred or runs.changed_us(run_id) >= now_us - _STILL_US
        return not is_busy or message.created_at_us < now_us - _LEFT_US

    async def _audit(self) -> None:
        """Ends leases that no session knows of; a lease is given time to become known."""
        await self._parts.scheduler.audit()
        strangers: set[str] = set()
        suspects: dict[tuple[TaskKey, int], Task] = {}
        for task in await self._store.leases_here():
            session_id = task.session_id
            if not session_id or session_id.startswith(POLL_PREFIX):
                continue
            session = self._parts.sessions.get(session_id)
            key = (task.run_id, task.kind, task.seq)
            if session is None:
                strangers.add(session_id)
            elif key not in session.held:
                suspects[key, task.lease] = task
        for key, lease in sorted(self._suspects & suspects.keys()):
            self._parts.lose(Held(key=key, lease=lease, token=""))
        self._suspects = set(suspects)
        await self._adopt(strangers)

    async def _adopt(self, session_ids: Iterable[str]) -> None:
        """Watches over sessions that no server has: each may still come back to one."""
        for session_id in sorted(session_ids):
            async with self._ordering:
                taken = await self._store.take_orphan(session_id)
            if taken is not None and self._parts.sessions.get(session_id) is None:
                self._parts.sessions.adopt(taken.tasks)

    async def _try(self, job: Callable[[], Awaitable[Any]]) -> None:
        """Does what is done again later if the store refuses, or anything else goes wrong."""
        try:
            await job()
        except DomainError as error:
            _log.warning("the database could not be asked about other servers: %s", error)
        except SchemaTooNew:
            raise
        except Exception:  # noqa: BLE001 - a server that ends to beat is given up by the others
            _log.exception("what concerns other servers failed, again later")

    async def _insist(self, job: Callable[[], Awaitable[Any]]) -> None:
        """Does what nothing else would do again, until the store lets it."""
        while True:
            try:
                await job()
            except StoreError as error:
                _log.info("what other servers did could not be read, trying again: %s", error)
                await self._pause(_BEAT_US)
            else:
                return

    async def _pause(self, wait_us: int) -> None:
        over = asyncio.Event()
        alarm = self._clock.call_at(self._clock.now_us() + wait_us, over.set)
        try:
            await over.wait()
        finally:
            alarm.cancel()


def _tell(session: Session, held: Held, reason: str) -> None:
    if held.key[1] is TaskKind.ACTIVITY and session.sink is not None:
        session.sink.cancel(held.token, reason)
