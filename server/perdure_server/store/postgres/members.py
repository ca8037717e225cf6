"""Owns what servers agree on through the database: who lives, who has which session, and
which workers there are.

Each function runs on a connection that nobody else uses meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields

from perdure_server.core.errors import StoreUnavailable
from perdure_server.core.model import Worker
from perdure_server.store.contract import Heard
from perdure_server.store.migrate import check_schema
from perdure_server.store.postgres.connection import Row, Session
from perdure_server.store.postgres.hints import Ears, taken_from
from perdure_server.store.shared import Beat, Taken
from perdure_server.store.sqlite.rows import from_worker, to_task


async def join(session: Session, schema: str, server_id: str) -> int:
    """Enters a server among the living; returns the database's time.

    Raises SchemaTooNew: while nobody lived, the schema may have been migrated.
    """
    async with session.transaction("begin_together"):
        await session.rows("share_migrations", schema)
        ((version, min_server),) = await session.rows("schema_version")
        check_schema(version=version, min_server=min_server)
        ((now_us,),) = await session.rows("join", server_id)
    return int(now_us)


async def beat(session: Session, server_id: str, *, silent_us: int) -> Beat | None:
    """Shows that a server lives; None when another has buried it.

    Raises SchemaTooNew: one that did not show it for a while counted as dead, and what its schema
    may become then, older servers need not bear.
    """
    found = await session.rows("beat", server_id, silent_us)
    if not found:
        return None
    now_us, others, silent, version, min_server = found[0]
    check_schema(version=version, min_server=min_server)
    return Beat(now_us, others + 1, tuple(silent))


async def bury(
    session: Session, server_id: str, dead_id: str, *, silent_us: int
) -> list[str] | None:
    """Removes a server that is still silent and takes over its sessions."""
    async with session.transaction("begin_together"):
        found = await session.rows("lock_servers", [server_id, dead_id])
        silences_us: dict[str, int] = dict(map(tuple, found))
        # Sessions taken over by a server that was buried itself would never be found again.
        if server_id not in silences_us or silences_us.get(dead_id, -1) <= silent_us:
            return None
        taken = await session.rows("bury", server_id, dead_id)
    return sorted(session_id for (session_id,) in taken)


async def leave(session: Session, server_id: str) -> None:
    """Removes a server and the entries of its sessions."""
    await session.rows("leave", server_id)


async def take_session(
    session: Session, ears: Ears, session_id: str, *, if_orphan: bool
) -> Taken | None:
    """Makes a session this server's; with `if_orphan` not when another one has it: then None."""
    server_id = ears.server_id
    async with session.transaction("begin_together"):
        if not await session.rows("lock_server", server_id):
            # Such a session would belong to nobody whom anybody can bury.
            raise StoreUnavailable("this server is not among those that live")
        ((owner,),) = await session.rows("lock_session", session_id)
        if if_orphan and owner not in {"", server_id}:
            return None
        if owner != server_id:
            await session.rows("own_session", session_id, server_id)
            if owner:
                await ears.tell(session, taken_from(owner, session_id))
        tasks = await session.rows("held_tasks", session_id)
    return Taken(tuple(map(to_task, tasks)), was_ours=owner == server_id)


async def release_session(session: Session, server_id: str, session_id: str) -> bool:
    """Removes a session; False when it is not this server's."""
    return bool(await session.rows("release_session", session_id, server_id))


async def put_workers(session: Session, workers: Sequence[Worker]) -> None:
    """Inserts or replaces workers, but for those of a server that does not live."""
    await session.rows("put_worker", *_columns(map(from_worker, workers), len(fields(Worker))))


async def hear_workers(session: Session, words: Sequence[Heard]) -> None:
    """Notes that workers were heard."""
    rows = [(word.heard_at_us, word.until_us, word.worker_id) for word in words]
    await session.rows("hear_worker", *_columns(rows, 3))


async def delete_workers(
    session: Session, keys: Sequence[tuple[str, str]], *, silent_us: int
) -> None:
    """Deletes some workers, and those that were silent for too long."""
    if keys:
        await session.rows("delete_worker", *_columns(keys, 2))
    await session.rows("delete_silent_workers", silent_us)


def _columns(rows: Iterable[Row], width: int) -> list[list[object]]:
    """Turns rows into columns, also no rows."""
    columns: list[list[object]] = [[] for _ in range(width)]
    for row in rows:
        for column, value in zip(columns, row, strict=True):
            column.append(value)
    return columns
