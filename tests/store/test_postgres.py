"""What is peculiar to PostgreSQL: groups, other servers, lost connections, plans."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from perdure_server.core.changeset import Changeset
from perdure_server.core.errors import (
    StaleVersion,
    StoreBusy,
    StoreUnavailable,
    WorkflowAlreadyExists,
)
from perdure_server.core.limits import COMMIT_GROUP_MAX, COMMIT_QUEUE_MAX
from perdure_server.core.model import Lane, TaskKind
from perdure_server.store.contract import ClaimRequest, Committed, Position
from perdure_server.store.migrate import SCHEMA_VERSION
from perdure_server.store.postgres import connection
from perdure_server.store.postgres.connection import Session
from perdure_server.store.postgres.group import Step
from perdure_server.store.postgres.store import PostgresStore
from tests.support.histories import (
    START_US,
    a_run,
    a_task,
    alone,
    an_event,
    change_of,
    starting,
    stepping,
)
from tests.support.postgres import Schemas

LANE = Lane("default", "shop", TaskKind.WORKFLOW, "checkout")


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


@asynccontextmanager
async def held_writer(store: PostgresStore) -> AsyncIterator[None]:
    """Keeps the writer busy, so that what is handed over inside waits for the end."""
    gate, begun = asyncio.Event(), asyncio.Event()

    async def hold(_: Session) -> None:
        begun.set()
        await gate.wait()

    holding = asyncio.create_task(store._open.writer.run([Step(hold)]))
    await begun.wait()
    try:
        yield
    finally:
        gate.set()
    await holding


def starts(count: int, *, first: int = 1) -> list[Changeset]:
    return [alone(starting(a_run(number))) for number in range(first, first + count)]


def kinds(outcomes: list[Any]) -> list[type]:
    return [type(outcome) for outcome in outcomes]


async def blocked(outside: asyncpg.Connection, waiting: asyncio.Task[Any]) -> None:
    """Returns when the database holds a statement up."""
    query = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid <> pg_backend_pid()"
    while not waiting.done():
        if await outside.fetchval(query):
            return


class TestGroups:
    async def test_what_waits_together_is_one_transaction(self, store: PostgresStore) -> None:
        async with held_writer(store):
            before = replace(store.stats)
            waiting = asyncio.gather(*(store.commit([changeset]) for changeset in starts(100)))
            await asyncio.sleep(0)
        outcomes = [outcome for (outcome,) in await waiting]
        assert kinds(outcomes) == [Committed] * 100
        assert len({outcome.first.commit for outcome in outcomes}) == 1
        # One for the operation that held the writer, which has three more statements to end.
        assert store.stats.commits - before.commits == 2
        assert store.stats.changesets - before.changesets == 100

    async def test_a_group_is_one_statement(self, store: PostgresStore) -> None:
        await store.commit(starts(1))
        before = store.stats.statements
        await store.commit(starts(64, first=2))
        assert store.stats.statements - before == 1

    async def test_a_group_has_a_bound(self, store: PostgresStore) -> None:
        async with held_writer(store):
            before = store.stats.commits
            waiting = asyncio.create_task(store.commit(starts(2 * COMMIT_GROUP_MAX)))
            await asyncio.sleep(0)
        await waiting
        assert store.stats.commits - before == 3

    async def test_beyond_the_queue_callers_are_told(self, store: PostgresStore) -> None:
        async with held_writer(store):
            waiting = asyncio.create_task(store.commit([Changeset()] * (COMMIT_QUEUE_MAX - 1)))
            await asyncio.sleep(0)
            (refused,) = await store.commit(starts(1))
            assert isinstance(refused, StoreBusy)
            with pytest.raises(StoreBusy):
                await store.claim_tasks([], START_US)
        assert len(await waiting) == COMMIT_QUEUE_MAX - 1
        (accepted,) = await store.commit(starts(1))
        assert isinstance(accepted, Committed)

    async def test_content_that_cannot_be_stored_spoils_nobody_else(
        self, store: PostgresStore
    ) -> None:
        twice = change_of(a_run(1), expected_version=0, events=[an_event(1), an_event(1)])
        unencodable = starting(a_run(2, workflow_id="\ud800"))
        too_big = starting(a_run(3, task_lease=2**63))
        zero = starting(a_run(6, workflow_id="\0"))
        good = starts(2, first=4)
        outcomes = await store.commit(
            [alone(twice), good[0], alone(unencodable), alone(too_big), good[1], alone(zero)]
        )
        assert kinds(outcomes) == [
            asyncpg.UniqueViolationError,
            Committed,
            asyncpg.DataError,
            asyncpg.DataError,
            Committed,
            asyncpg.CharacterNotInRepertoireError,
        ]
        stored = [number for number in range(1, 7) if await store.load_run(a_run(number).run_id)]
        assert stored == [4, 5]

    async def test_a_reason_may_hold_anything(self, store: PostgresStore) -> None:
        run = a_run(cancel_reason="a\0b")
        assert kinds(await store.commit([alone(starting(run))])) == [Committed]
        state = await store.load_run(run.run_id)
        assert state is not None
        assert state.run.cancel_reason == "a\N{REPLACEMENT CHARACTER}b"


class TestOtherServers:
    async def test_servers_that_open_at_once_migrate_once(self, schemas: Schemas) -> None:
        schema = schemas.new()
        stores = [PostgresStore(schemas.url, schema=schema) for _ in range(4)]
        await asyncio.gather(*(store.open() for store in stores))
        ((count,),) = await stores[0]._open.readers.rows("SELECT count(*) FROM schema")
        assert count == SCHEMA_VERSION
        for store in stores:
            await store.close()

    async def test_a_start_that_another_server_won_is_refused(
        self, store: PostgresStore, outside: asyncpg.Connection, postgres_disk: Any
    ) -> None:
        """The other one's row is there but not committed when this one looks."""
        await store.commit(starts(1))
        async with outside.transaction():
            await outside.execute(
                "CREATE TEMP TABLE copy ON COMMIT DROP AS SELECT * FROM runs;"
                "UPDATE copy SET run_id = 'theirs', workflow_id = 'order-2';"
                "INSERT INTO runs SELECT * FROM copy"
            )
            racing = asyncio.create_task(store.commit(starts(2, first=2)))
            await blocked(outside, racing)
        assert kinds(await racing) == [WorkflowAlreadyExists, Committed]

    async def test_a_change_that_another_server_won_is_refused(
        self, store: PostgresStore, outside: asyncpg.Connection
    ) -> None:
        runs = [replace(a_run(number), history_length=1) for number in (1, 2)]
        await store.commit([alone(starting(run)) for run in runs])
        async with outside.transaction():
            await outside.execute("UPDATE runs SET version = 2 WHERE run_id = $1", runs[0].run_id)
            racing = asyncio.create_task(store.commit([alone(stepping(run)) for run in runs]))
            await blocked(outside, racing)
        assert kinds(await racing) == [StaleVersion, Committed]

    async def test_a_deadlock_is_not_told(
        self, store: PostgresStore, outside: asyncpg.Connection
    ) -> None:
        run = replace(a_run(), history_length=1)
        await store.commit([alone(starting(run))])
        change = stepping(run, a_task(run))
        async with outside.transaction():
            await outside.execute("LOCK TABLE tasks IN EXCLUSIVE MODE")
            racing = asyncio.create_task(store.commit([alone(change)]))
            await blocked(outside, racing)
            # It waits for the table and has the run: whichever of the two notices is refused.
            try:
                await outside.execute("UPDATE runs SET priority = 9")
            except asyncpg.DeadlockDetectedError:
                await outside.execute("ROLLBACK; BEGIN")
        assert kinds(await racing) == [Committed]

    async def test_nothing_appears_behind_a_cursor(
        self, store: PostgresStore, outside: asyncpg.Connection
    ) -> None:
        start = Position(store.epoch, 0, -1)
        async with outside.transaction():
            await outside.execute("SELECT pg_current_xact_id()")
            (outcome,) = await store.commit(starts(1))
            assert isinstance(outcome, Committed)
            # The older transaction may still bring an event that stands before this one.
            assert await store.read_events(start, limit=9) == []
            assert await store.last_position() == start
        (event,) = await store.read_events(start, limit=9)
        assert event.position == outcome.first == await store.last_position()

    async def test_a_claim_passes_over_what_another_server_takes(
        self, store: PostgresStore, outside: asyncpg.Connection
    ) -> None:
        runs = [a_run(number) for number in (1, 2)]
        await store.commit([alone(starting(run, a_task(run))) for run in runs])
        async with outside.transaction():
            await outside.execute("SELECT FROM tasks WHERE run_id = $1 FOR UPDATE", runs[0].run_id)
            (leased,) = await store.claim_tasks([ClaimRequest(LANE, 9, "s", "w")], START_US)
            assert [task.run_id for task in leased] == [runs[1].run_id]


class TestFaults:
    async def test_lost_connections_come_back(
        self, store: PostgresStore, outside: asyncpg.Connection
    ) -> None:
        await store.commit(starts(1))
        await store.load_run(a_run(1).run_id)
        lost = await outside.fetch(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE application_name = 'perdure ' || current_schema()"
        )
        assert len(lost) >= 3
        hints = store.hints()
        async with asyncio.timeout(30):
            while not (await anext(hints)).everything:
                pass
            await until_served(store, 2)
            assert await store.load_run(a_run(1).run_id) is not None
        await hints.aclose()

    async def test_a_database_that_dies_is_unavailable_until_it_is_back(
        self, store: PostgresStore, schemas: Schemas
    ) -> None:
        if schemas.cluster is None:
            pytest.skip("the database belongs to somebody else")
        assert kinds(await store.commit(starts(1))) == [Committed]
        schemas.cluster.stop("immediate")
        try:
            (refused,) = await store.commit(starts(1, first=2))
            assert isinstance(refused, StoreUnavailable)
            with pytest.raises(StoreUnavailable):
                await store.load_run(a_run(1).run_id)
            with pytest.raises(StoreUnavailable):
                async with store.alone_with("r"):
                    pass
        finally:
            schemas.cluster.start()
        async with asyncio.timeout(30):
            await until_served(store, 3)
        assert await store.load_run(a_run(1).run_id) is not None
        assert await store.load_run(a_run(2).run_id) is None

    async def test_a_commit_whose_answer_is_lost_is_unavailable(
        self, store: PostgresStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole = Session.rows_of

        async def lossy(self: Session, text: str, *parameters: object) -> Any:
            found = await whole(self, text, *parameters)
            if "insert_run AS" in text:
                self.drop()
                raise asyncpg.ConnectionDoesNotExistError("connection was closed")
            return found

        with monkeypatch.context() as patch:
            patch.setattr(Session, "rows_of", lossy)
            assert kinds(await store.commit(starts(2))) == [StoreUnavailable] * 2
        # It was written all the same; who tries again learns it.
        outcomes = await store.commit(starts(3))
        assert kinds(outcomes) == [WorkflowAlreadyExists, WorkflowAlreadyExists, Committed]

    async def test_an_answer_that_does_not_come_is_not_waited_for(
        self, postgres_disk: Any, outside: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connection, "ANSWER_SECONDS", 0.2)
        hasty = postgres_disk()
        await hasty.open()
        run = replace(a_run(), history_length=1)
        while not isinstance((await hasty.commit([alone(starting(run))]))[0], Committed):
            pass
        async with outside.transaction():
            await outside.execute("SELECT FROM runs FOR UPDATE")
            (refused,) = await hasty.commit([alone(stepping(run))])
            assert isinstance(refused, StoreUnavailable)
        await hasty.close()

    @pytest.mark.parametrize(
        "url",
        [
            "postgresql://me:s3cret@127.0.0.1:1/db",
            "postgresql://me:s3cret@host:port/db",
            "mysql://me:s3cret@127.0.0.1:1/db",
            "postgresql://me:s3cret@[::1/db",
        ],
    )
    async def test_no_error_tells_the_password(self, url: str, monkeypatch: Any) -> None:
        monkeypatch.setattr(connection, "PATIENCE_SECONDS", 0.0)
        with pytest.raises(StoreUnavailable) as refusal:
            await PostgresStore(url).open()
        error: BaseException | None = refusal.value
        while error is not None:
            assert "s3cret" not in f"{error!r} {error}"
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)

    async def test_a_read_that_fails_is_unavailable(
        self, store: PostgresStore, outside: asyncpg.Connection
    ) -> None:
        await outside.execute("ALTER TABLE timers RENAME TO lost")
        with pytest.raises(StoreUnavailable, match="timers"):
            await store.due_timers(after=None, limit=1)
        await outside.execute("ALTER TABLE lost RENAME TO timers")
        assert await store.due_timers(after=None, limit=1) == []

    async def test_a_read_that_takes_too_long_says_what_helps(self, store: PostgresStore) -> None:
        async def wait(session: connection.Session) -> None:
            await session.rows_of("SELECT set_config('statement_timeout', '1ms', false)")
            await session.rows_of("SELECT pg_sleep(60)")

        with pytest.raises(StoreUnavailable, match="may take 15 seconds: ask for less at once"):
            await store._open.readers.run(wait)
        assert await store.due_timers(after=None, limit=1) == []

    async def test_what_the_driver_calls_an_internal_error_is_a_lost_connection(
        self, store: PostgresStore, monkeypatch: Any
    ) -> None:
        """It does when it is asked anything after it has heard that the connection ends."""
        await store.commit(starts(1))
        fetched, broken = asyncpg.Connection.fetch, []

        async def fetch(self: asyncpg.Connection, *arguments: Any) -> Any:
            if not broken:
                broken.append(self)
                raise asyncpg.InternalClientError("got result for unknown protocol state 3")
            assert self not in broken
            return await fetched(self, *arguments)

        monkeypatch.setattr(asyncpg.Connection, "fetch", fetch)
        for _ in range(20):
            assert await store.load_run(a_run(1).run_id) is not None
        assert broken

    @pytest.mark.parametrize("turns", range(12))
    async def test_a_cancelled_read_harms_no_other(self, store: PostgresStore, turns: int) -> None:
        run = replace(a_run(), history_length=1)
        await store.commit([alone(starting(run))])
        for _ in range(4):
            reading = asyncio.create_task(store.load_run(run.run_id))
            for _ in range(turns):
                await asyncio.sleep(0)
            reading.cancel()
            await asyncio.wait([reading])
        await store.commit([alone(stepping(run))])
        for _ in range(4):
            state = await store.load_run(run.run_id)
            assert state is not None
            assert state.run.version == 2


async def until_served(store: PostgresStore, number: int) -> None:
    """Commits a start until the database takes it."""
    outcome: Any = None
    while not isinstance(outcome, Committed):
        (outcome,) = await store.commit(starts(1, first=number))
        assert isinstance(outcome, Committed | StoreUnavailable)
        await asyncio.sleep(0)
