"""Owns the reference model of a store that several servers share: many views of one `Contents`.

`store/shared.py` says what each method promises. Like the model of one server it never waits but
for a hint and for its turn to be alone with a run.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from copy import copy
from dataclasses import dataclass, field

from perdure_server.core.changeset import Changeset
from perdure_server.core.errors import StoreUnavailable
from perdure_server.core.model import ApiKey, Lane, Task, Worker
from perdure_server.store.contract import Committed, KeyInserted, KeyOutcome
from perdure_server.store.shared import Beat, Hint, Overdue, Taken
from tests.support.model_contents import Contents
from tests.support.model_store import ModelStore

_EVERYTHING = Hint(everything=True)


@dataclass(slots=True, eq=False)
class _Turn:
    """A store's place in the line of those that want to be alone with a run."""

    store: SharedModelStore
    begins: asyncio.Future[None]


@dataclass(slots=True)
class SharedContents:
    """Everything that is in the model's database, and who is connected to it."""

    contents: Contents = field(default_factory=Contents)
    beats: dict[str, int] = field(default_factory=dict)
    """When each server that has joined showed last that it lives."""
    sessions: dict[str, str] = field(default_factory=dict)
    """Which server has a session."""
    stores: dict[SharedModelStore, None] = field(default_factory=dict)
    """The views that are open."""
    turns: dict[str, deque[_Turn]] = field(default_factory=dict)
    """Per run, who is alone with it and who waits for that, in the order of asking."""

    def hint(self, hint: Hint, *, source: SharedModelStore) -> None:
        """Tells every other server."""
        if hint != Hint():
            for store in self.stores:
                if store is not source:
                    store.hear(hint)

    def disconnect(self, store: SharedModelStore) -> None:
        """Takes away what a store has only while it is connected: hints, and its turns."""
        self.stores.pop(store, None)
        for run_id, turns in list(self.turns.items()):
            for turn in [turn for turn in turns if turn.store is store]:
                if not turn.begins.done():
                    turn.begins.set_exception(StoreUnavailable("the connection was lost"))
                self.end_turn(run_id, turn)

    def ask_for_turn(self, run_id: str, store: SharedModelStore) -> _Turn:
        """Stands in line; `begins` is done when the store is alone with the run."""
        turn = _Turn(store, asyncio.get_running_loop().create_future())
        self.turns.setdefault(run_id, deque()).append(turn)
        self._call_next(run_id)
        return turn

    def end_turn(self, run_id: str, turn: _Turn) -> None:
        """Leaves the line, or gives the run to who is next; again does nothing."""
        turns = self.turns.get(run_id)
        if turns and turn in turns:
            turns.remove(turn)
            self._call_next(run_id)

    def _call_next(self, run_id: str) -> None:
        if not self.turns[run_id]:
            del self.turns[run_id]
        elif not self.turns[run_id][0].begins.done():
            self.turns[run_id][0].begins.set_result(None)


class SharedModelStore(ModelStore):
    """One server's view of a database. `now_us` is the database's time, the same for all."""

    def __init__(self, shared: SharedContents, now_us: Callable[[], int]) -> None:
        super().__init__(shared.contents)
        self._shared = shared
        self._now_us = now_us
        self._server_id = ""
        self.is_cut_off = False
        """Tests say so: the model is never away."""
        self._hint = _EVERYTHING
        self._news = asyncio.Event()

    async def open(self) -> None:
        """Lets calls in, and hears hints from now on."""
        await super().open()
        self._shared.stores[self] = None
        self.hear(_EVERYTHING)

    async def close(self) -> None:
        """Refuses calls from now on."""
        self.kill()

    def kill(self) -> None:
        """Ends as the process of this server does under `kill -9`: it stays among the living."""
        self._is_open = False
        self._shared.disconnect(self)
        self._hint = Hint()
        self._news.set()

    def hear(self, hint: Hint) -> None:
        """Keeps a hint until it is taken, made one with those that wait."""
        self._hint = merged(self._hint, hint)
        self._news.set()

    def lose_connection(self) -> None:
        """Ends what the database keeps for a connection, and connects again: hints have a gap."""
        self._shared.disconnect(self)
        self._shared.stores[self] = None
        self._hint = Hint()
        self.hear(_EVERYTHING)

    async def commit(self, changesets: Sequence[Changeset]) -> list[Committed | Exception]:
        """Applies each changeset atomically."""
        outcomes = await super().commit(changesets)
        done = [
            changeset
            for changeset, outcome in zip(changesets, outcomes, strict=True)
            if isinstance(outcome, Committed)
        ]
        changes = [change for changeset in done for change in changeset.changes]
        self._tell(
            Hint(
                runs=frozenset(change.run.run_id for change in changes),
                closed=frozenset(change.run.run_id for change in changes if change.closes),
                stopped=frozenset(
                    change.run.run_id for change in changes if change.stops and not change.closes
                ),
                lanes=frozenset(lane for changeset in done for lane in changeset.lanes()),
            )
        )
        return outcomes

    async def insert_api_key(
        self, key: ApiKey, *, only_first: bool, unless_label: bool
    ) -> KeyInserted:
        """Inserts an API key, or answers why not."""
        answer = await super().insert_api_key(key, only_first=only_first, unless_label=unless_label)
        self._tell(Hint(api_keys=answer.outcome is KeyOutcome.INSERTED))
        return answer

    async def delete_api_key(self, prefix: str) -> bool:
        """Deletes an API key."""
        is_deleted = await super().delete_api_key(prefix)
        self._tell(Hint(api_keys=is_deleted))
        return is_deleted

    async def put_workers(self, workers: Sequence[Worker]) -> None:
        """Inserts or replaces workers, but for those of a server that does not live."""
        alive = {"", *self._database.beats}
        await super().put_workers([worker for worker in workers if worker.server_id in alive])

    async def join(self, server_id: str) -> int:
        """Enters this server among the living."""
        beats = self._database.beats
        assert server_id not in beats, f"a server id is new: {server_id}"
        self._server_id = server_id
        beats[server_id] = self._now_us()
        return beats[server_id]

    async def beat(self, *, silent_us: int) -> Beat | None:
        """Shows that this server lives; None when another has buried it."""
        beats = self._database.beats
        if self._server_id not in beats:
            return None
        now_us = beats[self._server_id] = self._now_us()
        silent = [key for key in sorted(beats) if now_us - beats[key] > silent_us]
        return Beat(now_us, len(beats) - len(silent), tuple(silent))

    async def bury(self, server_id: str, *, silent_us: int) -> list[str] | None:
        """Removes a server that is still silent and takes over its sessions."""
        database = self._database
        beat_us = database.beats.get(server_id)
        # Sessions taken over by a server that was buried itself would never be found again.
        if beat_us is None or self._server_id not in database.beats:
            return None
        if self._now_us() - beat_us <= silent_us:
            return None
        del database.beats[server_id]
        database.contents.workers.disconnect(server_id)
        taken = [key for key, owner in database.sessions.items() if owner == server_id]
        database.sessions |= dict.fromkeys(taken, self._server_id)
        return sorted(taken)

    async def leave(self) -> None:
        """Removes this server and the entries of its sessions."""
        database, server_id = self._database, self._server_id
        self._server_id = ""
        database.beats.pop(server_id, None)
        database.contents.workers.disconnect(server_id)
        for key in [key for key, owner in database.sessions.items() if owner == server_id]:
            del database.sessions[key]

    async def take_session(self, session_id: str) -> Taken:
        """Makes a session this server's; the one that it is taken from hears of it."""
        sessions, server_id = self._database.sessions, self._server_id
        if server_id not in self._shared.beats:
            # Such a session would belong to nobody whom anybody can bury.
            raise StoreUnavailable("this server is not among those that live")
        owner = sessions.get(session_id)
        sessions[session_id] = server_id
        for store in self._shared.stores:
            if store._server_id == owner != server_id:
                store.hear(Hint(sessions=frozenset({session_id})))
        tasks = [copy(task) for task in self._contents.tasks() if task.session_id == session_id]
        return Taken(tuple(tasks), was_ours=owner == server_id)

    async def take_orphan(self, session_id: str) -> Taken | None:
        """Makes a session this server's unless another one has it."""
        if self._database.sessions.get(session_id, self._server_id) != self._server_id:
            return None
        return await self.take_session(session_id)

    async def release_session(self, session_id: str) -> bool:
        """Removes a session; False when it is not this server's."""
        sessions = self._database.sessions
        is_ours = session_id in sessions and sessions[session_id] == self._server_id
        if is_ours:
            del sessions[session_id]
        return is_ours

    async def leases_here(self) -> list[Task]:
        """Returns the tasks leased to a session of this server or of none."""
        sessions, ours = self._database.sessions, self._server_id
        return [
            task
            for task in await self.leased_tasks()
            if sessions.get(task.session_id or "", ours) == ours
        ]

    async def overdue(self, before_us: int, *, limit: int) -> Overdue:
        """Returns the earliest timers due and leases run out before an instant."""
        timers = await self.due_timers(after=None, limit=limit)
        leases = [
            (task.lease_until_us, task.run_id, task.kind, task.seq, task)
            for task in await self.leased_tasks()
            if task.lease_until_us is not None and task.lease_until_us < before_us
        ]
        return Overdue(
            tuple(timer for timer in timers if timer.due_at_us < before_us),
            tuple(row[-1] for row in sorted(leases, key=lambda row: row[:-1])[:limit]),
            tuple(await self.read_inbox(after=None, before_us=before_us, limit=limit)),
        )

    async def ready_lanes(self, now_us: int) -> list[Lane]:
        """Returns the lanes that have a ready task which no session holds."""
        ready = (
            task.lane
            for task in self._contents.tasks()
            if task.session_id is None and task.ready_at_us <= now_us
        )
        return list(dict.fromkeys(ready))

    async def send_note(self, server_id: str, note: bytes) -> None:
        """Sends something to another server."""
        for store in self._database.stores:
            if store._server_id == server_id:
                store.hear(Hint(notes=(note,)))

    async def hints(self) -> AsyncIterator[Hint]:
        """Yields hints as they come, until the store is closed or killed."""
        while self._is_open:
            await self._news.wait()
            self._news.clear()
            hint, self._hint = self._hint, Hint()
            if hint != Hint():
                yield hint

    @asynccontextmanager
    async def alone_with(self, run_id: str) -> AsyncGenerator[None]:
        """Lets no other such block for the run begin; who asks first is first."""
        turn = self._database.ask_for_turn(run_id, self)
        self._tell(Hint(wanted=frozenset({run_id})))
        try:
            await turn.begins
            yield
        finally:
            self._shared.end_turn(run_id, turn)

    @property
    def _database(self) -> SharedContents:
        if not self._is_open:
            raise StoreUnavailable("the model is not open")
        return self._shared

    def _tell(self, hint: Hint) -> None:
        self._shared.hint(hint, source=self)


def merged(one: Hint, other: Hint) -> Hint:
    """Returns the hint that says what both say."""
    return Hint(
        runs=one.runs | other.runs,
        closed=one.closed | other.closed,
        stopped=one.stopped | other.stopped,
        wanted=one.wanted | other.wanted,
        lanes=one.lanes | other.lanes,
        sessions=one.sessions | other.sessions,
        notes=one.notes + other.notes,
        api_keys=one.api_keys or other.api_keys,
        everything=one.everything or other.everything,
    )
