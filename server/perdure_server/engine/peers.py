"""Owns what an engine does for the sake of other servers on its database: nothing, without any."""

from __future__ import annotations

from collections.abc import Callable

from perdure_server.engine.session import Session


class Peers:
    """The other servers of an engine whose database is its own: there are none."""

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

    async def follow(self) -> None:
        """Returns when everything that is committed from now on, by whomever, is published."""
