"""Migrations: from nothing to this version, and the refusal of what is too new."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from dataclasses import fields
from pathlib import Path

import pytest

from perdure_server.core.errors import SchemaTooNew, StoreUnavailable
from perdure_server.core.filters.fields import FIELDS
from perdure_server.core.model import (
    Activity,
    ApiKey,
    Namespace,
    RequestRecord,
    Run,
    Task,
    Timer,
    Worker,
)
from perdure_server.store import migrate
from perdure_server.store.contract import ListFilter, RunGroup
from perdure_server.store.migrate import (
    SCHEMA_VERSION,
    Migration,
    check_schema,
    ends_older_servers,
    load_migrations,
)
from perdure_server.store.sqlite import connection
from perdure_server.store.sqlite.rows import from_run
from perdure_server.store.sqlite.store import SqliteStore
from tests.support.histories import START_US, a_run, a_task, alone, starting, stepping
from tests.support.later import later_script

_FIRST_WIDTH = 28
"""The columns that `runs` had in the first version of the schema."""


def ask(path: Path, statement: str, *parameters: object) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path, isolation_level=None)) as outside:
        return outside.execute(statement, parameters).fetchall()


async def open_and_close(path: Path) -> None:
    store = SqliteStore(path)
    await store.open()
    await store.close()


def test_the_migrations_are_numbered_without_gaps() -> None:
    migrations = load_migrations("perdure_server.store.sqlite")
    assert [each.number for each in migrations] == list(range(1, SCHEMA_VERSION + 1))


async def test_an_empty_file_gets_every_migration_once(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    for _ in range(2):
        await open_and_close(path)
        versions = ask(path, "SELECT version FROM schema ORDER BY version")
        assert versions == [(number,) for number in range(1, SCHEMA_VERSION + 1)]


async def test_a_schema_that_needs_a_newer_server_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "newer.db"
    await open_and_close(path)
    ask(path, f"INSERT INTO schema VALUES (98, 1), (99, {SCHEMA_VERSION + 1})")
    with pytest.raises(SchemaTooNew) as refusal:
        await open_and_close(path)
    assert "schema version 99" in str(refusal.value)
    assert f"knows {SCHEMA_VERSION}: start a newer server" in str(refusal.value)
    ask(path, "DELETE FROM schema WHERE version = 99")
    await open_and_close(path)


def test_a_newer_schema_may_still_serve_this_server() -> None:
    check_schema(version=SCHEMA_VERSION + 7, min_server=SCHEMA_VERSION)


def test_a_migration_says_which_servers_may_go_on() -> None:
    compatible = Migration(5, "INSERT INTO schema (version, min_server) VALUES (5, 4);")
    breaking = Migration(6, "INSERT INTO schema (version, min_server) VALUES (6, 6);")
    assert (compatible.min_server, breaking.min_server) == (4, 6)
    assert not ends_older_servers([compatible], version=4)
    assert ends_older_servers([compatible], version=3)
    assert ends_older_servers([compatible, breaking], version=4)
    assert not ends_older_servers([], version=6)
    assert not ends_older_servers([compatible, breaking], version=0)


def test_a_migration_that_does_not_say_serves_nobody_before() -> None:
    assert Migration(7, "SELECT 1;").min_server == 7


async def test_rows_keep_what_only_a_later_version_knows(tmp_path: Path) -> None:
    path = tmp_path / "later.db"
    await open_and_close(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as outside:
        outside.executescript(later_script("sqlite"))
    start = starting(a_run(1), a_task(a_run(1)))
    store = SqliteStore(path)
    await store.open()
    await store.commit([alone(start)])
    await store.close()
    for table in ("runs", "tasks"):
        ask(path, f"UPDATE {table} SET later = 8")
    store = SqliteStore(path)
    await store.open()
    await store.commit([alone(stepping(start.run, a_task(start.run, lease=1)))])
    await store.close()
    assert ask(path, "SELECT lease, later FROM tasks") == [(1, 8)]
    assert ask(path, "SELECT history_length, later FROM runs") == [(2, 8)]


async def test_a_migration_that_fails_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "broken.db"
    await open_and_close(path)
    script = (
        "BEGIN IMMEDIATE; CREATE TABLE half (a INTEGER); CREATE TABLE half (b INTEGER); COMMIT;"
    )
    broken = Migration(SCHEMA_VERSION + 1, script)
    monkeypatch.setattr(connection, "load_migrations", lambda package: [broken])
    with pytest.raises(StoreUnavailable):
        await open_and_close(path)
    assert ask(path, "SELECT name FROM sqlite_master WHERE name = 'half'") == []
    monkeypatch.setattr(connection, "load_migrations", migrate.load_migrations)
    await open_and_close(path)


async def test_main_is_as_old_as_the_first_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "old.db"
    first, *later = load_migrations("perdure_server.store.sqlite")
    with monkeypatch.context() as patch:
        patch.setattr(connection, "load_migrations", lambda package: [first])
        store = SqliteStore(path)
        await store.open()
        await store.close()
    runs = [a_run(2, created_at_us=START_US + 5), a_run(3), a_run(4)]
    for run in runs:
        columns = from_run(run)[:_FIRST_WIDTH]
        ask(path, f"INSERT INTO runs VALUES ({', '.join('?' * _FIRST_WIDTH)})", *columns)
    assert later
    store = SqliteStore(path)
    await store.open()
    assert await store.find_namespace("main") == Namespace("main", START_US + 5)
    assert [await store.find_run("default", f"order-{number}", None) for number in (2, 3, 4)] == [
        run.run_id for run in runs
    ]
    await store.close()


async def test_children_of_before_are_found_by_the_workflow_of_their_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "old.db"
    older = load_migrations("perdure_server.store.sqlite")[:8]
    with monkeypatch.context() as patch:
        patch.setattr(connection, "load_migrations", lambda package: older)
        await open_and_close(path)
    parent, child = a_run(1), a_run(2, parent_run_id=a_run(1).run_id, parent_seq=1)
    orphan = a_run(3, parent_run_id="gone", parent_seq=1)
    for run in (parent, child, orphan):
        columns = from_run(run)[:-1]
        ask(path, f"INSERT INTO runs VALUES ({', '.join('?' * len(columns))})", *columns)
    store = SqliteStore(path)
    await store.open()
    found = await store.count_groups(ListFilter("default"), FIELDS["parent_workflow_id"], limit=9)
    assert found == [RunGroup("", 2), RunGroup(parent.workflow_id, 1)]
    await store.close()


async def test_main_of_a_new_file_is_as_old_as_the_file(tmp_path: Path) -> None:
    before_us = int(time.time()) * 1_000_000
    store = SqliteStore(tmp_path / "new.db")
    await store.open()
    main = await store.find_namespace("main")
    assert main is not None
    assert before_us <= main.created_at_us <= int(time.time()) * 1_000_000
    await store.close()


@pytest.mark.parametrize(
    ("table", "row"),
    [
        ("runs", Run),
        ("activities", Activity),
        ("tasks", Task),
        ("timers", Timer),
        ("requests", RequestRecord),
        ("namespaces", Namespace),
        ("api_keys", ApiKey),
        ("workers", Worker),
    ],
)
async def test_columns_stand_as_the_fields_do(tmp_path: Path, table: str, row: type) -> None:
    path = tmp_path / "columns.db"
    await open_and_close(path)
    columns = [name for (name,) in ask(path, f"SELECT name FROM pragma_table_info('{table}')")]
    assert columns == [field.name for field in fields(row)]
