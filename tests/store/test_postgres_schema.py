"""The schema on PostgreSQL: how it comes to be, and who may use it."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from typing import Any

import asyncpg
import pytest

from perdure_server.core.errors import SchemaTooNew, StoreInUse, StoreUnavailable
from perdure_server.core.limits import SECOND_US
from perdure_server.store.contract import Committed, Position
from perdure_server.store.migrate import SCHEMA_VERSION, Migration, load_migrations
from perdure_server.store.postgres import connection
from perdure_server.store.postgres.connection import Session
from perdure_server.store.postgres.store import PostgresStore
from perdure_server.store.sqlite.store import SqliteStore
from tests.support.histories import a_run, alone, starting
from tests.support.postgres import Schemas

SILENT_US = 5 * SECOND_US


def later(min_server: int) -> Migration:
    """A migration that fails in the end, so that the tables stay."""
    number = SCHEMA_VERSION + 1
    row = f"INSERT INTO schema (version, min_server) VALUES ({number}, {min_server});"
    return Migration(number, f"BEGIN;\n{row}\nSELECT FROM nowhere;\nCOMMIT;\n")


@pytest.fixture
async def store(postgres_disk: Any) -> AsyncIterator[PostgresStore]:
    store = postgres_disk()
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def outside(schemas: Schemas, store: PostgresStore) -> AsyncIterator[asyncpg.Connection]:
    """A connection of nobody's, to the tables of the store."""
    outside = await asyncpg.connect(schemas.url)
    await outside.execute(f'SET search_path = "{store._database.schema}"')
    yield outside
    await outside.close()


async def test_a_name_may_be_any(schemas: Schemas) -> None:
    store = PostgresStore(schemas.url, schema='Über "Maß"')
    try:
        await store.open()
        (outcome,) = await store.commit([alone(starting(a_run(1)))])
        assert isinstance(outcome, Committed)
        await store._open.readers.rows("SELECT 1")
    finally:
        await store.close()
        outside = await asyncpg.connect(schemas.url)
        await outside.execute('DROP SCHEMA "Über ""Maß""" CASCADE')
        await outside.close()


async def test_one_that_needs_a_newer_server_is_refused(
    store: PostgresStore, outside: asyncpg.Connection, postgres_disk: Any
) -> None:
    await outside.execute(f"INSERT INTO schema VALUES (99, {SCHEMA_VERSION + 1})")
    with pytest.raises(SchemaTooNew, match="schema version 99"):
        await postgres_disk().open()
    await outside.execute("UPDATE schema SET min_server = 1 WHERE version = 99")
    newer = postgres_disk()
    await newer.open()
    await newer.close()
    await outside.execute("DELETE FROM schema WHERE version = 99")


async def test_a_migration_that_fails_leaves_nothing(
    store: PostgresStore,
    outside: asyncpg.Connection,
    postgres_disk: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script = "BEGIN; CREATE TABLE half (a bigint); CREATE TABLE half (b bigint); COMMIT;"
    broken = Migration(SCHEMA_VERSION + 1, script)
    with monkeypatch.context() as patch:
        patch.setattr(connection, "load_migrations", lambda package: [broken])
        with pytest.raises(StoreUnavailable, match="half"):
            await postgres_disk().open()
    assert await outside.fetchval("SELECT to_regclass('half')") is None
    again = postgres_disk()
    await again.open()
    await again.close()


async def test_what_ends_older_servers_waits_until_none_lives(
    store: PostgresStore, postgres_disk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.join("old")
    monkeypatch.setattr(connection, "load_migrations", lambda package: [later(SCHEMA_VERSION + 1)])
    with pytest.raises(StoreInUse, match="which are older and could not use it"):
        await postgres_disk().open()
    await store.leave()
    with pytest.raises(StoreUnavailable, match="nowhere"):
        await postgres_disk().open()


async def test_what_serves_older_servers_does_not_wait_for_them(
    store: PostgresStore, postgres_disk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.join("old")
    monkeypatch.setattr(connection, "load_migrations", lambda package: [later(SCHEMA_VERSION)])
    with pytest.raises(StoreUnavailable, match="nowhere"):
        await postgres_disk().open()


async def test_a_migration_runs_again_when_others_were_in_its_way(
    store: PostgresStore,
    outside: asyncpg.Connection,
    postgres_disk: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Servers that go on take the same tables in another order."""
    script = (
        "BEGIN; SELECT nextval('tries');"
        " DO $$ BEGIN IF currval('tries') < 3 THEN RAISE SQLSTATE '40P01'; END IF; END $$;"
        " COMMIT;"
    )
    await outside.execute("CREATE SEQUENCE tries")
    migration = Migration(SCHEMA_VERSION + 1, script)
    monkeypatch.setattr(connection, "load_migrations", lambda package: [migration])
    again = postgres_disk()
    await again.open()
    await again.close()
    assert await outside.fetchval("SELECT last_value FROM tries") == 3
    await outside.execute("DROP SEQUENCE tries")


@pytest.mark.parametrize("is_idle", [True, False])
async def test_a_pooler_by_the_transaction_is_refused(
    schemas: Schemas, monkeypatch: pytest.MonkeyPatch, is_idle: bool
) -> None:
    """One that gives the connection to whoever comes, or meanwhile to a third."""
    pids = iter([1, 1, 2] if is_idle else [1, 2, 3])
    rows_of = Session.rows

    async def rows(session: Session, query: str, *parameters: object) -> list[Any]:
        found = await rows_of(session, query, *parameters)
        return [(next(pids),)] if query == "is_there" else found

    monkeypatch.setattr(Session, "rows", rows)
    with pytest.raises(StoreUnavailable, match="pool_mode = session"):
        await PostgresStore(schemas.url, schema=schemas.new()).open()


@pytest.fixture
async def migrate(outside: asyncpg.Connection) -> AsyncIterator[Callable[[], Awaitable[Any]]]:
    """Says that the schema needs a newer server, until the test is over."""

    async def say() -> None:
        await outside.execute(f"INSERT INTO schema VALUES (99, {SCHEMA_VERSION + 1})")

    yield say
    await outside.execute("DELETE FROM schema WHERE version = 99")


async def test_who_joins_meets_a_schema_that_was_migrated_meanwhile(
    store: PostgresStore, migrate: Callable[[], Awaitable[Any]]
) -> None:
    await migrate()
    with pytest.raises(SchemaTooNew, match="start a newer server"):
        await store.join("old")


async def test_who_beats_meets_it_too_and_then_does_nothing_more(
    store: PostgresStore, outside: asyncpg.Connection, migrate: Callable[[], Awaitable[Any]]
) -> None:
    await store.join("old")
    assert await store.beat(silent_us=SILENT_US) is not None
    await migrate()
    with pytest.raises(SchemaTooNew, match="start a newer server"):
        await store.beat(silent_us=SILENT_US)
    assert store.is_cut_off
    (refused,) = await store.commit([alone(starting(a_run()))])
    assert isinstance(refused, StoreUnavailable)
    with pytest.raises(StoreUnavailable, match=r"start a newer server.* Use another server"):
        await store.load_run(a_run().run_id)
    # What it has seen once it does not forget.
    await outside.execute("DELETE FROM schema WHERE version = 99")
    assert await store.beat(silent_us=SILENT_US) is not None
    assert store.is_cut_off


async def test_the_migrations_are_those_of_sqlite() -> None:
    numbers = [each.number for each in load_migrations("perdure_server.store.postgres")]
    assert numbers == list(range(1, SCHEMA_VERSION + 1))


async def test_columns_stand_as_in_sqlite(outside: asyncpg.Connection, tmp_path: Any) -> None:
    twin = SqliteStore(tmp_path / "twin.db")
    await twin.open()
    await twin.close()
    with closing(sqlite3.connect(tmp_path / "twin.db")) as sqlite:
        tables = sqlite.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            found = await outside.fetch(
                "SELECT column_name FROM information_schema.columns"
                " WHERE table_schema = current_schema() AND table_name = $1"
                " ORDER BY ordinal_position",
                table,
            )
            names = sqlite.execute(f"SELECT name FROM pragma_table_info('{table}')").fetchall()
            assert [name for (name,) in found if name != "base"] == [name for (name,) in names]


async def test_text_is_ordered_by_code_point(outside: asyncpg.Connection) -> None:
    others = await outside.fetch(
        "SELECT table_name, column_name FROM information_schema.columns"
        " JOIN information_schema.tables USING (table_schema, table_name)"
        " WHERE table_schema = current_schema() AND table_type = 'BASE TABLE'"
        " AND data_type = 'text' AND collation_name IS DISTINCT FROM 'C'"
    )
    assert others == []


async def test_a_database_from_an_older_cluster_has_a_new_epoch(
    store: PostgresStore, outside: asyncpg.Connection, postgres_disk: Any
) -> None:
    await store.commit([alone(starting(a_run(1)))])
    await store.close()
    await outside.execute("UPDATE events SET commit_no = commit_no + 1000000000")
    restored = postgres_disk()
    await restored.open()
    assert restored.epoch == 2
    await restored.commit([alone(starting(a_run(2)))])
    events = await restored.read_events(Position(restored.epoch, 0, -1), limit=9)
    assert [event.run_id for event in events] == [a_run(1).run_id, a_run(2).run_id]
    await restored.close()
    again = postgres_disk()
    await again.open()
    assert again.epoch == 2
    await again.close()
