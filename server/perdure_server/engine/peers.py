"""Owns what an engine does for the sake of other servers on its database: nothing, without any."""

from __future__ import annotations

from collections.abc import Callable

from perdure_server.core.changeset import Changeset
from perdure_server.core.model import Worker
from perdure_server.engine.session import Session
from perdure_server.store.contract import ListedWorker


class Peers:
    """The other servers of an engine whose database is its own: there are none."""

    server_id = ""
    """What the others call this one."""

    async def start(self) -> None:
        """Enters this server among the others. Raises StoreUnavailable."""

    async def stop(self) -> None:
        """Leaves the others."""

    async def take(self, session_id: str) -> None:
        """Takes a worker's session over from the server that had it. Raises StoreUnavailable."""

    def release(self, session_id: str, then: Callable[[bool], None]) -> None:  # noqa: ARG002
        """Gives a session up; `then` hears whether it was still this server's."""
        then(True)

    async def discover(self, session: Session) -> None:
        """Finds tasks of others that a session takes. Raises StoreUnavailable."""

    def seek(self, session: Session) -> None:
        """Like `discover`, at some time soon."""

    def doubt(self, changeset: Changeset) -> None:
        """Remembers that nobody said whether a changeset was committed."""

    async def workers(self, namespace: str, queue: str | None) -> list[ListedWorker]:  # noqa: ARG002
        """Returns the workers that are known to others. Raises StoreUnavailable."""
        return []

    async def rows_of(self, worker_id: str) -> list[Worker]:  # noqa: ARG002
        """Returns what others know of a worker. Raises StoreUnavailable."""
        return []

    async def follow(self) -> None:
        """Returns when everything that is committed from now on, by whomever, is published."""
