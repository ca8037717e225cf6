"""Owns the copy of a whole database to an empty one, on the same backend or another.

Rows go as they are, with the leases in them: a worker that comes back to the copy in time reports
on the tasks it has, with the tokens it has. Only positions begin a new epoch, so that a cursor of
before is refused and not taken for another place.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, fields
from typing import Any, Final

import msgspec

from perdure_server.core.model import (
    Activity,
    ApiKey,
    Child,
    Message,
    Namespace,
    RequestRecord,
    Run,
    ScheduleRow,
    SearchKey,
    Snapshot,
    Task,
    Timer,
    Update,
    Worker,
)
from perdure_server.store.offline import (
    BATCH_ROWS,
    CopyRefused,
    Ending,
    Place,
    Reading,
    Row,
    Table,
    Writing,
)

FIRST_NAMESPACE: Final = "main"
"""The namespace that every database has from its first opening on."""
_LEAST: Final = -(2**63)


def _columns(kind: type[Any]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


TABLES: Final = (
    Table("runs", _columns(Run), ("run_id",), ("",), "copied_runs", "insert_run"),
    Table(
        name="events",
        columns=("run_id", "seq", "kind", "at_us", "frame", "commit_no", "idx"),
        key=("run_id", "seq"),
        below=("", _LEAST),
        read="copied_events",
        write="insert_event",
    ),
    Table(
        name="activities",
        columns=_columns(Activity),
        key=("run_id", "seq"),
        below=("", _LEAST),
        read="copied_activities",
        write="put_activity",
    ),
    Table(
        name="tasks",
        columns=_columns(Task),
        key=("run_id", "kind", "seq"),
        below=("", "", _LEAST),
        read="copied_tasks",
        write="put_task",
    ),
    Table(
        name="timers",
        columns=_columns(Timer),
        key=("run_id", "kind", "seq"),
        below=("", "", _LEAST),
        read="copied_timers",
        write="put_timer",
    ),
    Table(
        name="children",
        columns=_columns(Child),
        key=("run_id", "seq"),
        below=("", _LEAST),
        read="copied_children",
        write="put_child",
    ),
    Table(
        name="updates",
        columns=_columns(Update),
        key=("run_id", "seq"),
        below=("", _LEAST),
        read="copied_updates",
        write="put_update",
    ),
    Table(
        name="search_attributes",
        columns=_columns(SearchKey),
        key=("run_id", "name", "value"),
        below=("", "", b""),
        read="copied_keys",
        write="put_key",
    ),
    Table("snapshots", _columns(Snapshot), ("run_id",), ("",), "copied_snapshots", "put_snapshot"),
    Table(
        name="inbox",
        columns=_columns(Message),
        key=("sender_run_id", "seq"),
        below=("", _LEAST),
        read="copied_inbox",
        write="insert_message",
    ),
    Table(
        name="requests",
        columns=_columns(RequestRecord),
        key=("namespace", "workflow_id", "rpc", "request_id"),
        below=("", "", "", ""),
        read="copied_requests",
        write="insert_request",
    ),
    Table(
        "namespaces",
        _columns(Namespace),
        ("name",),
        ("",),
        "copied_namespaces",
        "insert_namespace",
    ),
    Table(
        name="schedules",
        columns=_columns(ScheduleRow),
        key=("namespace", "name"),
        below=("", ""),
        read="copied_schedules",
        write="insert_schedule",
    ),
    Table("api_keys", _columns(ApiKey), ("digest",), (b"",), "copied_api_keys", "insert_api_key"),
    Table("workers", _columns(Worker), ("worker_id",), ("",), "copied_workers", "put_worker"),
)
"""All that a database holds, but for its servers, and which of them has which session or worker."""


@dataclass(slots=True, frozen=True)
class Content:
    """What stands in a table: how many rows, and the SHA-256 of them in the order of their keys."""

    rows: int
    digest: str


@dataclass(slots=True, frozen=True)
class Copied:
    """What a copy has in each table, read back and found equal, and its new epoch."""

    tables: dict[str, Content]
    epoch: int


class _Count:
    """Counts and digests rows as they pass."""

    def __init__(self) -> None:
        self._rows = 0
        self._hash = hashlib.sha256()

    def add(self, batch: list[Row]) -> None:
        self._rows += len(batch)
        for row in batch:
            # Packed values tell their lengths, so two different rows never have the same bytes.
            self._hash.update(msgspec.msgpack.encode(row))

    def content(self) -> Content:
        return Content(self._rows, self._hash.hexdigest())


async def copy(source: Place, target: Place) -> Copied:
    """Copies everything, reads it back and commits it if it is the same.

    Raises CopyRefused when the target holds something or the copy is not equal, StoreInUse when a
    server uses either, SchemaTooNew, StoreUnavailable. Then the target holds nothing of it.
    """
    async with source.reading() as old, target.writing() as new:
        await _refuse_content(new, target.name)
        tables = {table.name: await _copy_table(old, new, table) for table in TABLES}
        for table in TABLES:
            if await _content(new, table) != tables[table.name]:
                raise CopyRefused(
                    f"the table {table.name} of {target.name} does not read as it was written:"
                    " nothing was copied"
                )
        ending = await old.ending()
        epoch = max(ending.epoch, (await new.ending()).epoch) + 1
        await new.end_at(Ending(epoch, ending.commit, ending.index))
    return Copied(tables, epoch)


async def _refuse_content(target: Writing, name: str) -> None:
    for table in TABLES:
        found = await target.rows(table, table.below, 2)
        if table.name == "namespaces" and [row[0] for row in found] == [FIRST_NAMESPACE]:
            await target.forget_namespace(FIRST_NAMESPACE)
        elif found:
            raise CopyRefused(f"{name} is not empty: it has {table.name}; copy to another place")


async def _copy_table(source: Reading, target: Writing, table: Table) -> Content:
    count = _Count()
    async for batch in _batches(source, table):
        await target.write(table, batch)
        count.add(batch)
    return count.content()


async def _content(place: Reading, table: Table) -> Content:
    count = _Count()
    async for batch in _batches(place, table):
        count.add(batch)
    return count.content()


async def _batches(place: Reading, table: Table) -> AsyncIterator[list[Row]]:
    after = table.below
    while batch := await place.rows(table, after, BATCH_ROWS):
        yield batch
        after = table.key_of(batch[-1])
