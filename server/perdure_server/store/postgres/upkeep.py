"""Owns what operators write: namespaces, API keys, and the deletion of runs.

Each function is an operation of the writer: it runs in a transaction of its own, which fails and
runs again when another server's has changed what it read. Only the deletion of runs has a
connection beside the writer: commits do not wait for the disk that it waits for.
"""

from __future__ import annotations

from perdure_server.core.model import ApiKey, Namespace
from perdure_server.store.contract import KeyInserted, KeyOutcome
from perdure_server.store.postgres.connection import Session
from perdure_server.store.postgres.flush import Statements
from perdure_server.store.postgres.hints import API_KEYS, Ears
from perdure_server.store.sqlite.rows import from_api_key, from_namespace, to_api_key, to_namespace
from perdure_server.store.sqlite.upkeep import Old

_OF_A_RUN = (
    "delete_activities",
    "delete_tasks",
    "delete_timers",
    "delete_children",
    "delete_updates",
    "delete_snapshot",
    "delete_keys",
    "delete_events",
    "delete_run",
)
"""The writes that delete all that is stored of a run."""


async def insert_namespace(session: Session, namespace: Namespace) -> bool:
    """Inserts a namespace; returns whether there was none of its name."""
    return bool(await session.rows("insert_namespace", *from_namespace(namespace)))


async def set_retention(session: Session, name: str, retention_us: int | None) -> Namespace | None:
    """Says how long a namespace keeps closed runs; None when there is no such namespace."""
    found = await session.rows("set_retention", name, retention_us)
    return to_namespace(found[0]) if found else None


async def claim_sweep(session: Session, now_us: int, until_us: int) -> Namespace | None:
    """Returns a namespace that is to be swept, for the caller alone until an instant."""
    found = await session.rows("claim_sweep", now_us, until_us)
    return to_namespace(found[0]) if found else None


async def delete_namespace(session: Session, name: str) -> bool:
    """Deletes the row of a namespace; returns whether there was one."""
    return bool(await session.rows("delete_namespace", name))


async def delete_schedules(session: Session, namespace: str, *, limit: int) -> int:
    """Deletes schedules of a namespace; returns how many."""
    return len(await session.rows("delete_schedules", namespace, limit))


async def thin_oldest_run(session: Session, old: Old) -> bool:
    """Deletes events of the oldest closed run while it is above the bounds; False when it is not.

    Its first event and its last stay until it goes itself.
    """
    async with session.transaction("begin_write"):
        closed = await session.rows("closed_runs", old.namespace, old.before_us, 1)
        for run_id, _, events, size, *place in closed:
            if events > old.max_events or size > old.max_bytes:
                await session.rows("note_expired", old.namespace, *place)
                bounds = {"max_events": old.max_events, "max_bytes": old.max_bytes}
                return await _thin(session, run_id, events, **bounds)
    return False


async def delete_closed_runs(
    session: Session, old: Old, *, statements: Statements, limit: int
) -> int:
    """Deletes the oldest closed runs and the requests of workflows that have none left."""
    async with session.transaction("begin_write"):
        return await _delete_closed_runs(session, old, statements, limit)


async def _delete_closed_runs(
    session: Session, old: Old, statements: Statements, limit: int
) -> int:
    namespace, max_events, max_bytes = old.namespace, old.max_events, old.max_bytes
    run_ids: list[str] = []
    workflow_ids: set[str] = set()
    closed = await session.rows("closed_runs", namespace, old.before_us, limit)
    last = (0, -1)
    for run_id, workflow_id, events, size, *place in closed:
        max_events -= events
        max_bytes -= size
        if run_ids and min(max_events, max_bytes) < 0:
            break
        run_ids.append(run_id)
        workflow_ids.add(workflow_id)
        last = max(last, (place[0], place[1]))
    if run_ids:
        await session.rows("record_position", run_ids)
        await session.rows("note_expired", namespace, *last)
        numbers = list(range(len(run_ids)))
        nobody_told: tuple[object, ...] = ("", "", [], [])
        columns = [numbers, run_ids] * len(_OF_A_RUN)
        await session.rows_of(statements.flush(_OF_A_RUN), *nobody_told, *columns)
        await session.rows("delete_requests", namespace, sorted(workflow_ids))
    return len(run_ids)


async def insert_api_key(
    session: Session, key: ApiKey, *, ears: Ears, only_first: bool, unless_label: bool
) -> KeyInserted:
    """Inserts an API key and tells the other servers, or answers why not."""
    if only_first and await session.rows("has_api_key"):
        return KeyInserted(KeyOutcome.NOT_FIRST)
    if unless_label and (found := await session.rows("find_api_key", key.label)):
        return KeyInserted(KeyOutcome.LABEL_EXISTS, to_api_key(found[0]))
    inserted = await session.rows("insert_api_key", *from_api_key(key))
    if not inserted:
        return KeyInserted(KeyOutcome.TAKEN)
    await ears.tell(session, API_KEYS)
    return KeyInserted(KeyOutcome.INSERTED)


async def delete_api_key(session: Session, prefix: str, *, ears: Ears) -> bool:
    """Deletes an API key and tells the other servers; returns whether there was one."""
    deleted = await session.rows("delete_api_key", prefix)
    if deleted:
        await ears.tell(session, API_KEYS)
    return bool(deleted)


async def _thin(
    session: Session, run_id: str, last: int, *, max_events: int, max_bytes: int
) -> bool:
    """Deletes the next events between the first and the last; False when there are none left.

    At least one goes, whatever its size.
    """
    part: list[int] = []
    for seq, size in await session.rows("sizes_between", run_id, 1, last, max_events):
        max_bytes -= size
        if part and max_bytes < 0:
            break
        part.append(seq)
    if part:
        await session.rows("delete_between", run_id, part[0], part[-1])
    return bool(part)
