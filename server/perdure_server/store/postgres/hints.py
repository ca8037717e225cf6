"""Owns what servers tell each other: notifications on one channel of the database.

A payload is the name of its sender and words, a line each: a letter that says what about, then a
run, a lane or a session. A server's name is the process id of its listening connection, which no
other living one has.
"""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode, b64encode
from collections.abc import AsyncGenerator, Iterable
from contextlib import suppress
from typing import Any, Final

from perdure_server.core.changeset import Changeset, RunChange
from perdure_server.core.errors import StoreUnavailable
from perdure_server.core.model import Lane, TaskKind
from perdure_server.store.postgres.connection import FAULTS, Database, Link, Session
from perdure_server.store.shared import Hint

API_KEYS: Final = "k"
"""The word for a change of API keys."""
_EVERYTHING: Final = Hint(everything=True)
_PART_BYTES: Final = 5_700
"""So much of a note fits into a notification, which has less than 8,000 bytes."""
_PING_SECONDS: Final = 5.0
"""How often the listening connection is tried: nothing else would notice that it is cut."""


def words_of(changeset: Changeset) -> list[str]:
    """What a changeset says to other servers."""
    words = [_about(change) + change.run.run_id for change in changeset.changes]
    return words + [
        "l" + json.dumps([lane.namespace, lane.queue, lane.kind.value, lane.type])
        for lane in changeset.lanes()
    ]


def wanted(run_id: str) -> str:
    """The word that asks to be alone with a run."""
    return "w" + run_id


def taken_from(server_id: str, session_id: str) -> str:
    """The word that tells a server that it has lost a session."""
    return "s" + json.dumps([server_id, session_id])


class Ears:
    """Hears the other servers over a connection of its own, and keeps hints until they are taken.

    `server_id` is who is told of lost sessions.
    """

    def __init__(self, database: Database) -> None:
        self.channel: Final = f"perdure {database.schema}"
        self.notes_channel: Final = f"notes {database.schema}"
        self.name = ""
        self.server_id = ""
        self._link = Link(database)
        self._hint = _EVERYTHING
        self._news = asyncio.Event()
        self._news.set()
        self._lost = asyncio.Event()
        self._is_closed = False
        self._parts: dict[str, list[str]] = {}
        self._listening: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Begins to listen; raises StoreUnavailable."""
        session = await self._attach()
        self._listening = asyncio.create_task(self._keep(session), name="perdure-hints")

    async def close(self) -> None:
        """Ends the hints and disconnects."""
        self._is_closed = True
        self._news.set()
        if self._listening is not None:
            self._listening.cancel()
            with suppress(asyncio.CancelledError):
                await self._listening
        self._link.drop()

    async def hints(self) -> AsyncGenerator[Hint]:
        """Yields hints as they come, until it is closed."""
        while True:
            await self._news.wait()
            if self._is_closed:
                return
            self._news.clear()
            hint, self._hint = self._hint, Hint()
            if hint != Hint():
                yield hint

    async def tell(self, session: Session, word: str) -> None:
        """Tells the other servers one word when the session's transaction commits."""
        await session.rows("tell", self.channel, f"{self.name}\n{word}")

    async def send_note(self, session: Session, server_id: str, note: bytes) -> None:
        """Sends a note, in parts that a notification can hold."""
        pieces = range(0, max(len(note), 1), _PART_BYTES)
        parts = [
            f"{self.name}\n{server_id}\n{number}\n{len(pieces)}\n"
            + b64encode(note[start : start + _PART_BYTES]).decode()
            for number, start in enumerate(pieces)
        ]
        await session.rows("send_note", self.notes_channel, parts)

    async def _attach(self) -> Session:
        session = await self._link.session()
        try:
            await session.connection.add_listener(self.channel, self._hear)
            await session.connection.add_listener(self.notes_channel, self._hear_note)
            ((pid,),) = await session.rows("is_there")
        except FAULTS as fault:
            self._link.drop()
            raise StoreUnavailable(f"no hints can be heard: {fault}") from fault
        session.connection.add_termination_listener(lambda _: self._lost.set())
        self.name = str(pid)
        self._parts.clear()
        self._note(_EVERYTHING)
        return session

    async def _keep(self, session: Session) -> None:
        """Listens for ever, over a new connection after each loss."""
        while True:
            await self._until_lost(session)
            self._link.drop()
            while not session.is_alive:
                try:
                    session = await self._attach()
                except StoreUnavailable:
                    await asyncio.sleep(1.0)

    async def _until_lost(self, session: Session) -> None:
        self._lost.clear()
        while session.is_alive:
            try:
                async with asyncio.timeout(_PING_SECONDS):
                    await self._lost.wait()
            except TimeoutError:
                try:
                    async with asyncio.timeout(_PING_SECONDS):
                        await session.rows("is_there")
                except FAULTS:
                    return

    def _hear(self, _connection: Any, _pid: int, _channel: str, payload: object) -> None:
        source, *words = str(payload).split("\n")
        if source != self.name:
            self._note(_hint_of(words, self.server_id))

    def _hear_note(self, _connection: Any, _pid: int, _channel: str, payload: object) -> None:
        source, server_id, number, of, part = str(payload).split("\n")
        if server_id != self.server_id:
            return
        if number == "0":
            self._parts[source] = []
        # The parts of a note are of one transaction, so they come in order and nothing between.
        parts = self._parts.get(source, [])
        parts.append(part)
        if len(parts) == int(of):
            del self._parts[source]
            self._note(Hint(notes=(b"".join(map(b64decode, parts)),)))

    def _note(self, hint: Hint) -> None:
        self._hint = _merged(self._hint, hint)
        self._news.set()


def _about(change: RunChange) -> str:
    if change.closes:
        return "c"
    return "h" if change.stops else "r"


def _hint_of(words: Iterable[str], server_id: str) -> Hint:
    runs: dict[str, set[str]] = {"r": set(), "c": set(), "h": set(), "w": set()}
    lanes: set[Lane] = set()
    sessions: set[str] = set()
    api_keys = everything = False
    for word in words:
        about, content = word[0], word[1:]
        if about in runs:
            runs[about].add(content)
        elif about == "l":
            namespace, queue, kind, type_ = json.loads(content)
            lanes.add(Lane(namespace, queue, TaskKind(kind), type_))
        elif about == "s":
            loser, session_id = json.loads(content)
            sessions |= {session_id} if loser == server_id else set()
        elif about == API_KEYS:
            api_keys = True
        else:
            # Also what a newer server may say.
            everything = True
    return Hint(
        runs=frozenset(runs["r"] | runs["c"] | runs["h"]),
        closed=frozenset(runs["c"]),
        stopped=frozenset(runs["h"]),
        wanted=frozenset(runs["w"]),
        lanes=frozenset(lanes),
        sessions=frozenset(sessions),
        api_keys=api_keys,
        everything=everything,
    )


def _merged(one: Hint, other: Hint) -> Hint:
    """The hint that says what both say."""
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
