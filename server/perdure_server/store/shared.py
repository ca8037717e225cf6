"""Owns the promises of a store that several servers share, on top of those of `contract`.

None of the servers is special. Each has an id, beats to show that it lives, and hears hints of what
the others commit. A hint saves time, no more: what is decided on a stale view is refused by the
versions and leases of `commit`. Instants are those of the database, whatever a server's own clock
says; silence is measured by it as well.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from perdure_server.core.model import Lane, Message, Task, Timer
from perdure_server.store.contract import Store


@dataclass(slots=True, frozen=True)
class Hint:
    """What another server has committed: look again at what of it is known here.

    `everything` says that hints may have been lost, so all that is known may be out of date.
    """

    runs: frozenset[str] = frozenset()
    """Runs that were inserted or changed. That tasks of them were leased is not told."""
    closed: frozenset[str] = frozenset()
    """Those of `runs` that have closed."""
    stopped: frozenset[str] = frozenset()
    """Those of `runs` of which the hearer's sessions may hold tasks that ended or are to stop."""
    wanted: frozenset[str] = frozenset()
    """Runs that another server asks to be alone with."""
    lanes: frozenset[Lane] = frozenset()
    """Lanes that were given tasks that no session holds, ready or not."""
    sessions: frozenset[str] = frozenset()
    """Sessions of the hearer that another server has taken."""
    notes: tuple[bytes, ...] = ()
    """What others have sent to the hearer, in the order of each sender."""
    api_keys: bool = False
    """Whether API keys were created or revoked."""
    everything: bool = False


@dataclass(slots=True, frozen=True)
class Beat:
    """The answer to a sign of life: the time, how many servers live, and which were silent."""

    now_us: int
    servers: int
    silent: tuple[str, ...]


@dataclass(slots=True, frozen=True)
class Taken:
    """A session that is this server's now, and was before with `was_ours`, and its tasks."""

    tasks: tuple[Task, ...]
    was_ours: bool


@dataclass(slots=True, frozen=True)
class Overdue:
    """What some server should have done by now: ring timers, end leases, hand on messages."""

    timers: tuple[Timer, ...]
    leases: tuple[Task, ...]
    messages: tuple[Message, ...] = ()


class SharedStore(Store, Protocol):
    """A durable home of runs for several servers.

    `open` does not claim the database for one server, and migrates it once however many open it at
    once. `commit` and the changes of API keys are hinted to every other server when they have
    written anything, each at most once per transaction. What others commit is seen by every read
    that begins after its hint was heard. `put_workers` leaves out the workers of a server that is
    not among the living.
    """

    @property
    def is_cut_off(self) -> bool:
        """Whether every call is refused until a beat is answered."""

    async def join(self, server_id: str) -> int:
        """Enters this server among the living, durably; returns the database's time.

        The id is new: no server had it before. Called once after `open`, and again with another id
        after `beat` answered None. From its return on no hint is missed. Raises `SchemaTooNew` when
        the database was migrated meanwhile to what needs a newer server.
        """

    async def beat(self, *, silent_us: int) -> Beat | None:
        """Shows durably that this server lives; None when another server has buried it.

        `silent` names the servers whose last beat is longer ago than `silent_us`; they are not
        counted among those that live. After about that time without an answer it raises
        `StoreUnavailable`, and every call that waits, and every one that comes before a beat is
        answered, is refused likewise.

        Raises `SchemaTooNew` when the database was migrated to what needs a newer server; then
        every call is refused for good.
        """

    async def bury(self, server_id: str, *, silent_us: int) -> list[str] | None:
        """Removes a server that is still silent and takes over its sessions, in one step.

        The workers that were connected to it are deleted.
        Returns the ids of those sessions; None when the server lives after all or is gone. Of
        servers that bury the same one, one has its sessions.
        """

    async def leave(self) -> None:
        """Removes this server, its sessions' entries and its workers; nothing if it has not joined.

        The leases of its sessions stand in the task rows.
        """

    async def take_session(self, session_id: str) -> Taken:
        """Makes a session this server's, whoever had it; tells what it holds.

        A server that it is taken from hears a hint that names it.
        """

    async def take_orphan(self, session_id: str) -> Taken | None:
        """Makes a session this server's unless another one has it: then None."""

    async def release_session(self, session_id: str) -> bool:
        """Removes a session; False when it is not this server's, and then it stays as it is."""

    async def leases_here(self) -> list[Task]:
        """Returns the tasks leased to sessions of this server or of no server, in any order."""

    async def overdue(self, before_us: int, *, limit: int) -> Overdue:
        """Returns timers due, leases run out and messages sent before an instant, `limit` of each.

        The earliest timers and leases, and of messages those with the lowest keys.
        """

    async def ready_lanes(self, now_us: int) -> list[Lane]:
        """Returns the lanes that have a ready task which no session holds, without counting."""

    async def send_note(self, server_id: str, note: bytes) -> None:
        """Sends something to another server, which hears it in a hint, or never: nothing keeps it.

        It may have some MiB.
        """

    def hints(self) -> AsyncIterator[Hint]:
        """Yields hints as they come; the first says `everything`, and so does one after a gap.

        Of several waiting hints one may be made. One consumer only; ends when the store is closed.
        """

    def alone_with(self, run_id: str) -> AbstractAsyncContextManager[None]:
        """Lets no other server into its own such block for the run; who asks first is first.

        Servers that do not ask are not held up; the asking is hinted to them. Ends by itself when
        this server dies.
        """


def is_shared(store: Store) -> bool:
    """Whether a store keeps the promises of `SharedStore`."""
    return hasattr(store, "join")
