"""Servers of two versions on one PostgreSQL, as while one after another is upgraded.

The older one is this version. The newer one is a copy of it with one more migration, which does to
every table what a later version may do.
"""

from __future__ import annotations

import asyncio
import shutil
import signal

import asyncpg
import pytest

from perdure_server.store.migrate import SCHEMA_VERSION
from tests.crash.histories import count, faults_of
from tests.crash.stage import PLAY_S, a_client, a_worker, end
from tests.crash.worker import journey, word
from tests.support.later import LATER_VERSION, later_script
from tests.support.processes import ROOT, SharedServer

WORKFLOWS = 30
STEPS = 4

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(PLAY_S + 20)]


@pytest.fixture
def schema(schemas):
    return schemas.new()


@pytest.fixture
def older(schemas, schema, tmp_path):
    """A server of this version."""
    server = SharedServer(schemas.url, schema=schema, log=tmp_path / "older.log")
    yield server
    end_if_begun(server)


@pytest.fixture
def newer(schemas, schema, tmp_path):
    """A server of the next version, whose migration older servers bear."""
    server = SharedServer(schemas.url, schema=schema, log=tmp_path / "newer.log")
    server.set_environment("PYTHONPATH", str(next_version(tmp_path, min_server=SCHEMA_VERSION)))
    yield server
    end_if_begun(server)


@pytest.fixture
def breaking(schemas, schema, tmp_path):
    """A server of the next version, whose migration older servers do not bear."""
    server = SharedServer(schemas.url, schema=schema, log=tmp_path / "breaking.log")
    server.set_environment("PYTHONPATH", str(next_version(tmp_path, min_server=LATER_VERSION)))
    yield server
    end_if_begun(server)


async def test_servers_are_replaced_one_by_one_and_back(older, newer, schemas, schema, tmp_path):
    await asyncio.to_thread(older.start)
    async with a_worker(older.address, tmp_path, "first"), a_client(older.address) as before:
        first = await started(before, range(WORKFLOWS))
        words = asyncio.gather(*(say(handle) for handle in first[::2]))
        await asyncio.to_thread(newer.start)  # it migrates meanwhile
        assert await version_of(schemas, schema) == LATER_VERSION
        await words

        async with a_worker(newer.address, tmp_path, "second"), a_client(newer.address) as after:
            second = await started(after, range(WORKFLOWS, 2 * WORKFLOWS))
            # What one of them began, the other is asked to go on with.
            await asyncio.gather(*(say(after.get_handle(h.workflow_id)) for h in first[1::2]))
            await asyncio.gather(*(say(before.get_handle(h.workflow_id)) for h in second))
            await asyncio.gather(*(handle.result() for handle in [*first, *second]))
        await asyncio.to_thread(newer.end, signal.SIGTERM)
        await asyncio.to_thread(older.end, signal.SIGKILL)
        await asyncio.to_thread(older.start)
        third = await started(before, range(2 * WORKFLOWS, 3 * WORKFLOWS))
        await asyncio.gather(*(say(handle) for handle in third))
        await asyncio.gather(*(handle.result() for handle in third))
        handles = [before.get_handle(f"journey-{number}") for number in range(3 * WORKFLOWS)]
        histories = [await handle.history() for handle in handles]
    assert [faults for history in histories if (faults := faults_of(history))] == []
    assert {count(history, "activity_completed") for history in histories} == {STEPS}
    assert {count(history, "signal_received") for history in histories} == {1}


async def test_what_older_servers_cannot_bear_waits_for_their_end(older, breaking):
    await asyncio.to_thread(older.start)
    await refused(breaking, "by 1 of its servers, which are older .*: stop them first")
    async with a_client(older.address) as client:  # it has lost nothing
        await client.start(journey, 1, id="journey")
    await asyncio.to_thread(older.end, signal.SIGTERM)
    await asyncio.to_thread(breaking.start)
    async with a_client(breaking.address) as client:
        assert (await client.get_handle("journey").history()).events
    await refused(older, f"this one knows {SCHEMA_VERSION}: start a newer server")


async def test_a_server_that_slept_through_its_end_ends(older, breaking):
    await asyncio.to_thread(older.start)
    async with a_client(older.address) as client:
        await client.start(journey, 1, id="journey")
    older.send(signal.SIGSTOP)
    await started_when_alone(breaking)
    older.send(signal.SIGCONT)
    assert await asyncio.to_thread(older.wait) == 1
    assert f"this one knows {SCHEMA_VERSION}: start a newer server" in older.complaints()
    async with a_client(breaking.address) as client:
        assert (await client.get_handle("journey").history()).events


async def started_when_alone(server):
    """Starts a server again and again, until those that it would end count as dead."""
    async with asyncio.timeout(PLAY_S):
        while True:
            try:
                await asyncio.to_thread(server.start)
            except AssertionError:
                server.end(signal.SIGKILL)
            else:
                return


async def refused(server, text):
    """Starts a server that does not come up, and says why."""
    with pytest.raises(AssertionError, match=text):
        await asyncio.to_thread(server.start)
    assert server.end(signal.SIGKILL) == 1


async def started(client, numbers):
    return [await client.start(journey, number, id=f"journey-{number}") for number in numbers]


async def say(handle):
    await handle.signal(word, 1, request_id=f"word-{handle.workflow_id}")


async def version_of(schemas, schema):
    connection = await asyncpg.connect(schemas.url)
    version = await connection.fetchval(f"SELECT max(version) FROM {schema}.schema")
    await connection.close()
    return version


def next_version(folder, *, min_server):
    """Makes the next version; returns the folder that Python is to find it in."""
    home = folder / f"next-{min_server}"
    package = home / "perdure_server"
    shutil.copytree(ROOT / "server" / "perdure_server", package)
    script = later_script("postgres", min_server=min_server)
    name = f"{LATER_VERSION:04}_later.sql"
    package.joinpath("store", "postgres", "migrations", name).write_text(script)
    module = package / "store" / "migrate.py"
    text = module.read_text()
    line = f"SCHEMA_VERSION: Final = {SCHEMA_VERSION}\n"
    assert line in text
    module.write_text(text.replace(line, f"SCHEMA_VERSION: Final = {LATER_VERSION}\n"))
    return home


def end_if_begun(server):
    if server.log.exists():
        end([server])
