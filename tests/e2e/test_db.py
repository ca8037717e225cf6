"""`perdure db`: what stands in a database, and whether this server may serve it."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing

import asyncpg
import pytest

from perdure_server.store.migrate import SCHEMA_VERSION
from tests.e2e.processes import perdure

ABOVE = SCHEMA_VERSION + 1
PASSWORD = "s3cret-word"


class SqliteDatabase:
    def __init__(self, folder):
        self.options = ("--data", str(folder))
        self._path = folder / "perdure.db"

    def execute(self, text):
        with closing(sqlite3.connect(self._path)) as connection:
            found = connection.execute(text).fetchall()
            connection.commit()
        return found

    def tables(self):
        if not self._path.exists():
            return set()
        return {name for (name,) in self.execute("SELECT name FROM sqlite_master")}


class PostgresDatabase:
    def __init__(self, url, schema):
        self.options = ("--store", url, "--schema", schema)
        self._url, self._schema = url, schema

    def execute(self, text):
        async def run():
            settings = {"search_path": self._schema}
            connection = await asyncpg.connect(self._url, server_settings=settings)
            found = await connection.fetch(text)
            await connection.close()
            return [tuple(row) for row in found]

        return asyncio.run(run())

    def tables(self):
        found = self.execute(f"SELECT tablename FROM pg_tables WHERE schemaname = '{self._schema}'")
        return {name for (name,) in found}


@pytest.fixture(params=["sqlite", "postgres"])
def database(request, tmp_path):
    if request.param == "sqlite":
        return SqliteDatabase(tmp_path / "data")
    schemas = request.getfixturevalue("schemas")
    return PostgresDatabase(schemas.url, schemas.new())


def test_it_is_checked_without_a_change_then_migrated(database, command):
    young = command("db", "check", *database.options)
    assert young.returncode == 1
    assert "schema version  none\n" in young.stdout
    assert "may serve       no\n" in young.stdout
    assert "perdure db migrate" in young.stderr
    assert database.tables() == set()

    done = command("db", "migrate", *database.options)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"schema version {SCHEMA_VERSION}, was not there" in done.stdout
    assert "runs" in database.tables()
    assert command("db", "check", *database.options).returncode == 0

    again = command("db", "migrate", *database.options)
    assert f"schema version {SCHEMA_VERSION}, as it was" in again.stdout


def test_a_schema_that_only_later_servers_may_use_is_refused(database, command):
    command("db", "migrate", *database.options)
    database.execute(f"INSERT INTO schema VALUES ({ABOVE}, {ABOVE})")
    checked = command("db", "check", *database.options)
    assert "may serve       no\n" in checked.stdout
    for refused in (checked, command("db", "migrate", *database.options)):
        assert refused.returncode == 1
        assert refused.stderr == (
            f"perdure: the database has schema version {ABOVE} and needs a server that knows"
            f" version {ABOVE}; this one knows {SCHEMA_VERSION}: start a newer server, or"
            " restore a backup from before the migration\n"
        )


def test_a_later_schema_that_this_server_may_use_is_served(database, command):
    command("db", "migrate", *database.options)
    database.execute(f"INSERT INTO schema VALUES ({ABOVE}, 1)")
    checked = command("db", "check", *database.options)
    assert checked.returncode == 0
    assert f"schema version  {ABOVE}\n" in checked.stdout
    assert f"this server     {SCHEMA_VERSION}\n" in checked.stdout
    assert "may serve       yes\n" in checked.stdout


def test_a_database_that_is_served_is_checked_and_not_migrated(start_server, tmp_path):
    start_server()
    options = ("--data", str(tmp_path / "data"))
    assert perdure("db", "check", *options).returncode == 0
    refused = perdure("db", "migrate", *options)
    assert refused.returncode == 1
    assert "in use by another server" in refused.stderr
    assert refused.stderr.count("\n") == 1


@pytest.mark.parametrize("what", ["check", "migrate"])
def test_what_cannot_be_reached_is_told_without_the_password(command, what):
    url = f"postgresql://someone:{PASSWORD}@127.0.0.1:1/nothing"
    done = command("db", what, "--store", url)
    assert done.returncode == 1
    assert done.stderr.startswith("perdure: the PostgreSQL database nothing on 127.0.0.1:1")
    assert PASSWORD not in done.stdout + done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("what", ["check", "migrate"])
def test_what_is_no_database_is_told(tmp_path, command, what):
    (tmp_path / "perdure.db").write_text("a shopping list, longer than any header of a database")
    done = command("db", what, "--data", str(tmp_path))
    assert done.returncode == 1
    assert "cannot be used" in done.stderr
    assert done.stderr.count("\n") == 1
