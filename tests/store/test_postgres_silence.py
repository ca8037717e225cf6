"""A database that is cut off, full or in somebody's way: refusals are bounded, clear and pass."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from perdure_server.core.errors import StoreUnavailable, WorkflowAlreadyExists
from perdure_server.core.limits import SECOND_US
from perdure_server.store.contract import Committed
from perdure_server.store.postgres import members, pulse
from perdure_server.store.postgres.store import PostgresStore
from tests.store.test_postgres import kinds, outside, starts, store, until_served
from tests.support.histories import a_run
from tests.support.postgres import Schemas
from tests.support.proxy import FreezingProxy, freezing_proxy

__all__ = ["outside", "store"]

SILENT_US = SECOND_US
TRIES = 6
BOUND_S = 15
"""Below what a call waits that nobody interrupts, and far above what is waited for here."""


@pytest.fixture
async def proxy(schemas: Schemas) -> AsyncIterator[FreezingProxy]:
    if schemas.cluster is None:
        pytest.skip("the database belongs to somebody else")
    async with freezing_proxy(str(schemas.cluster.folder / ".s.PGSQL.5432")) as proxy:
        yield proxy


@pytest.fixture
async def remote(
    proxy: FreezingProxy, postgres_disk: Any, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[PostgresStore]:
    """A server's store that can be cut off."""
    monkeypatch.setattr(pulse, "STEP_SECONDS", 0.25)
    schema = postgres_disk()._database.schema
    remote = PostgresStore(f"postgresql://perdure@{proxy.address}/perdure", schema=schema)
    await remote.open()
    await remote.join("remote")
    yield remote
    proxy.thaw()
    await remote.close()


async def cut_off(remote: PostgresStore, proxy: FreezingProxy) -> None:
    """Freezes the network and returns when the store has noticed."""
    proxy.freeze()
    with pytest.raises(StoreUnavailable, match="does not answer this server"):
        await remote.beat(silent_us=SILENT_US)


async def back(remote: PostgresStore, proxy: FreezingProxy) -> None:
    """Mends the network and returns when the store has noticed."""
    proxy.thaw()
    async with asyncio.timeout(30):
        while True:
            try:
                assert await remote.beat(silent_us=SILENT_US) is not None
            except StoreUnavailable:
                continue
            return


def calls(remote: PostgresStore) -> list[Callable[[], Awaitable[Any]]]:
    """One call of each kind, with a connection of its own kind."""

    async def be_alone() -> None:
        async with remote.alone_with("run"):
            pass

    async def commit() -> None:
        (outcome,) = await remote.commit(starts(1))
        if isinstance(outcome, Exception):
            raise outcome

    return [
        commit,
        be_alone,
        lambda: remote.claim_tasks([], 0),
        lambda: remote.load_run("run"),
        lambda: remote.take_session("s"),
        lambda: remote.delete_namespace("n"),
    ]


class TestSilence:
    async def test_what_waits_and_what_comes_is_refused(
        self, remote: PostgresStore, proxy: FreezingProxy
    ) -> None:
        for call in calls(remote):
            await call()
        proxy.freeze()
        waiting = [asyncio.ensure_future(call()) for call in calls(remote)]
        async with asyncio.timeout(BOUND_S):
            await cut_off(remote, proxy)
            refusals = await asyncio.gather(*waiting, return_exceptions=True)
            for call in calls(remote):
                with pytest.raises(StoreUnavailable, match="does not answer this server"):
                    await call()
        assert kinds(refusals) == [StoreUnavailable] * len(waiting)

    async def test_when_it_is_back_all_goes_on(
        self, remote: PostgresStore, proxy: FreezingProxy
    ) -> None:
        hints = remote.hints()
        while not (await anext(hints)).everything:
            pass
        for number in (1, 2):
            await cut_off(remote, proxy)
            await back(remote, proxy)
            async with asyncio.timeout(30):
                await until_served(remote, number)
                while not (await anext(hints)).everything:
                    pass
        await hints.aclose()

    async def test_a_commit_in_doubt_is_made_once_or_not_at_all(
        self, remote: PostgresStore, proxy: FreezingProxy
    ) -> None:
        await remote.commit(starts(1, first=2))
        proxy.freeze()
        waiting = asyncio.ensure_future(remote.commit(starts(1)))
        await cut_off(remote, proxy)
        assert kinds(await waiting) == [StoreUnavailable]
        assert "may have been done" in str((await waiting)[0])
        await back(remote, proxy)
        (again,) = await remote.commit(starts(1))
        assert isinstance(again, Committed | WorkflowAlreadyExists)
        events = await remote.load_history(a_run().run_id, after_seq=0, limit=9, max_bytes=999)
        assert len(events) == len(starts(1)[0].changes[0].events)

    async def test_a_database_that_says_no_is_there(
        self, remote: PostgresStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def refused(*_: Any, **__: Any) -> None:
            raise asyncpg.DiskFullError("no space left")

        with monkeypatch.context() as patch:
            patch.setattr(members, "beat", refused)
            for _ in range(2 * TRIES):
                with pytest.raises(StoreUnavailable, match="make room"):
                    await remote.beat(silent_us=SILENT_US)
        assert kinds(await remote.commit(starts(1))) == [Committed]


@pytest.fixture
async def broken(
    outside: asyncpg.Connection,
) -> AsyncIterator[Callable[[str, int], Awaitable[None]]]:
    """Makes the next so many writes of events fail with an SQLSTATE."""

    async def break_it(state: str, times: int) -> None:
        await outside.execute(
            f"""
            CREATE SEQUENCE tries;
            CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                IF nextval('tries') <= {times} THEN
                    RAISE EXCEPTION 'it fails' USING ERRCODE = '{state}';
                END IF;
                RETURN NULL;
            END $$;
            CREATE TRIGGER fail BEFORE INSERT ON events EXECUTE FUNCTION fail()
            """
        )

    yield break_it
    await outside.execute("DROP FUNCTION fail CASCADE; DROP SEQUENCE tries")


class TestPassingFaults:
    STATES = ("40001", "40P01", "53100", "53200", "55P03")

    @pytest.mark.parametrize("state", STATES)
    async def test_one_that_passes_is_not_told(
        self, store: PostgresStore, broken: Any, state: str
    ) -> None:
        await broken(state, TRIES - 1)
        assert kinds(await store.commit(starts(2))) == [Committed] * 2

    @pytest.mark.parametrize("state", STATES)
    async def test_one_that_stays_is_told_after_a_bound(
        self, store: PostgresStore, outside: asyncpg.Connection, broken: Any, state: str
    ) -> None:
        await broken(state, 1_000)
        outcomes = await store.commit(starts(2))
        assert kinds(outcomes) == [StoreUnavailable] * 2
        assert "it fails" in str(outcomes[0])
        assert await outside.fetchval("SELECT last_value FROM tries") == TRIES
        assert await store.load_run(a_run().run_id) is None

    async def test_a_full_disk_says_what_to_do(self, store: PostgresStore, broken: Any) -> None:
        await broken("53100", 1_000)
        (refused,) = await store.commit(starts(1))
        assert "make room" in str(refused)


async def test_when_all_connections_are_taken_it_says_what_to_do(schemas: Schemas) -> None:
    if schemas.cluster is None:
        pytest.skip("the database belongs to somebody else")
    admin = await asyncpg.connect(schemas.cluster.superuser_url)
    await admin.execute("ALTER ROLE perdure CONNECTION LIMIT 0")
    try:
        with pytest.raises(StoreUnavailable, match=r"too many connections.*max_connections"):
            await PostgresStore(schemas.url, schema=schemas.new()).open()
    finally:
        await admin.execute("ALTER ROLE perdure CONNECTION LIMIT -1")
        await admin.close()
