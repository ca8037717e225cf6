"""What is peculiar to SQLite: groups, the lock on the file, full disks, plans."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event

import pytest

from perdure_server.core.changeset import Changeset
from perdure_server.core.errors import StoreBusy, StoreInUse, StoreUnavailable
from perdure_server.core.limits import COMMIT_GROUP_MAX, COMMIT_QUEUE_MAX
from perdure_server.core.model import EventRow, RunStatus
from perdure_server.store.contract import Committed
from perdure_server.store.queries import load_queries
from perdure_server.store.sqlite import upkeep
from perdure_server.store.sqlite.connection import connect
from perdure_server.store.sqlite.store import SqliteStore
from tests.support.filters import pieces_of_filters
from tests.support.histories import (
    START_US,
    a_run,
    alone,
    an_event,
    change_of,
    starting,
    stepping,
)


class Connections:
    """Opens the writer's connections as the store does, but without the wait for locks."""

    def __init__(self) -> None:
        self.opened: list[sqlite3.Connection] = []
        self.refuse = False

    def __call__(self, path: Path) -> sqlite3.Connection:
        if self.refuse:
            raise sqlite3.OperationalError("unable to open database file")
        self.opened.append(connect(path))
        self.opened[-1].execute("PRAGMA busy_timeout = 0")
        return self.opened[-1]


@pytest.fixture
def connections() -> Connections:
    return Connections()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "perdure.db"


@pytest.fixture
async def store(path: Path, connections: Connections) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(path, connect=connections)
    await store.open()
    yield store
    await store.close()


@asynccontextmanager
async def held_writer(store: SqliteStore) -> AsyncIterator[None]:
    """Keeps the writer busy, so that what is handed over inside waits for the end."""
    gate, begun = Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def hold(_: object) -> None:
        loop.call_soon_threadsafe(begun.set)
        gate.wait()

    holding = asyncio.create_task(store._open.writer.run([hold]))
    await begun.wait()
    try:
        yield
    finally:
        gate.set()
    await holding


def starts(count: int, *, first: int = 1) -> list[Changeset]:
    return [alone(starting(a_run(number))) for number in range(first, first + count)]


async def test_what_waits_together_is_one_transaction(store: SqliteStore) -> None:
    async with held_writer(store):
        before = store.stats.commits
        waiting = asyncio.gather(*(store.commit([changeset]) for changeset in starts(100)))
        await asyncio.sleep(0)
    outcomes = await waiting
    assert all(isinstance(outcome, Committed) for (outcome,) in outcomes)
    # One for the operation that held the writer.
    assert store.stats.commits - before == 2
    assert store.stats.changesets == 100


async def test_a_group_has_a_bound(store: SqliteStore) -> None:
    async with held_writer(store):
        before = store.stats.commits
        waiting = asyncio.create_task(store.commit(starts(2 * COMMIT_GROUP_MAX + 1)))
        await asyncio.sleep(0)
    await waiting
    assert store.stats.commits - before == 4


async def test_a_group_costs_few_statements(store: SqliteStore) -> None:
    await store.commit(starts(1))
    before = store.stats.statements
    await store.commit(starts(64, first=2))
    # Each start asks whether it is taken; the rows of all go out together.
    assert store.stats.statements - before <= 64 + 5


async def test_beyond_the_queue_callers_are_told(store: SqliteStore) -> None:
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


async def test_content_that_cannot_be_stored_spoils_nobody_else(store: SqliteStore) -> None:
    twice = change_of(a_run(1), expected_version=0, events=[an_event(1), an_event(1)])
    unencodable = starting(a_run(2, workflow_id="\ud800"))
    too_big = starting(a_run(3, task_lease=2**63))
    good = starts(2, first=4)
    outcomes = await store.commit(
        [alone(twice), good[0], alone(unencodable), alone(too_big), good[1]]
    )
    assert [type(outcome) for outcome in outcomes] == [
        sqlite3.IntegrityError,
        Committed,
        UnicodeEncodeError,
        OverflowError,
        Committed,
    ]
    stored = [number for number in range(1, 6) if await store.load_run(a_run(number).run_id)]
    assert stored == [4, 5]


async def test_every_commit_is_synced(store: SqliteStore, connections: Connections) -> None:
    await store.commit(starts(1))
    writer = connections.opened[-1]
    assert writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert writer.execute("PRAGMA synchronous").fetchone() == (2,)


async def test_a_second_server_is_refused(store: SqliteStore, path: Path) -> None:
    second = SqliteStore(path)
    with pytest.raises(StoreInUse, match=r"perdure\.db is in use by another server"):
        await second.open()
    await store.close()
    await second.open()
    await second.close()


async def test_a_killed_server_leaves_no_lock(path: Path) -> None:
    script = (
        "import asyncio, sys\n"
        "from perdure_server.store.sqlite.store import SqliteStore\n"
        "async def main():\n"
        "    store = SqliteStore(sys.argv[1])\n"
        "    await store.open()\n"
        "    print('open', flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, str(path), stdout=asyncio.subprocess.PIPE
    )
    assert server.stdout is not None
    assert await server.stdout.readline() == b"open\n"
    store = SqliteStore(path)
    try:
        with pytest.raises(StoreInUse):
            await store.open()
    finally:
        server.kill()
        await server.communicate()
    await store.open()
    await store.close()


async def test_a_path_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="missing"):
        await SqliteStore(tmp_path / "missing" / "perdure.db").open()
    garbage = tmp_path / "garbage.db"
    garbage.write_bytes(b"this is not a database" * 100)
    with pytest.raises(StoreUnavailable, match=r"garbage\.db"):
        await SqliteStore(garbage).open()


async def test_a_lock_from_outside_is_unavailable_until_it_clears(
    store: SqliteStore, path: Path
) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as outside:
        outside.execute("BEGIN IMMEDIATE")
        outcomes = await store.commit(starts(2))
        assert [type(outcome) for outcome in outcomes] == [StoreUnavailable] * 2
        with pytest.raises(StoreUnavailable):
            await store.claim_tasks([], START_US)
        assert await store.load_run(a_run(1).run_id) is None
        outside.execute("ROLLBACK")
        (outcome,) = await store.commit(starts(1))
        assert isinstance(outcome, Committed)


async def test_a_full_disk_is_unavailable_until_there_is_room(
    store: SqliteStore, connections: Connections
) -> None:
    run = replace(a_run(), history_length=1)
    await store.commit([alone(starting(run))])
    (writer,) = connections.opened[1:]
    (pages,) = writer.execute("PRAGMA page_count").fetchone()
    writer.execute(f"PRAGMA max_page_count = {pages + 2}")
    large = stepping(run)
    large.events = [EventRow(2, "signal_received", START_US, bytes(1_000_000))]
    outcomes = await store.commit([*starts(1, first=2), alone(large)])
    assert [type(outcome) for outcome in outcomes] == [StoreUnavailable] * 2
    assert "full" in str(outcomes[0])
    state = await store.load_run(run.run_id)
    assert state is not None
    assert state.run.version == 1
    assert len(await store.load_history(run.run_id, after_seq=0, limit=9, max_bytes=9**9)) == 1
    assert await store.load_run(a_run(2).run_id) is None
    (outcome,) = await store.commit(starts(1, first=3))
    assert isinstance(outcome, Committed)
    writer.execute("PRAGMA max_page_count = 1000000")
    outcomes = await store.commit([*starts(1, first=2), alone(large)])
    assert [type(outcome) for outcome in outcomes] == [Committed] * 2


async def test_after_a_disk_error_the_connection_is_opened_anew(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(sqlite3.Connection):
        """Fails one commit as a broken disk does."""

        fails = False

        def commit(self) -> None:
            if Failing.fails:
                Failing.fails = False
                error = sqlite3.OperationalError("disk I/O error")
                error.sqlite_errorcode = sqlite3.SQLITE_IOERR
                raise error
            super().commit()

    opened: list[Path] = []

    def open_failing(path: Path) -> sqlite3.Connection:
        opened.append(path)
        return sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=Failing)

    store = SqliteStore(path, connect=open_failing)
    await store.open()
    await store.commit(starts(1))
    count = len(opened)
    Failing.fails = True
    (lost,) = await store.commit(starts(1, first=2))
    assert isinstance(lost, StoreUnavailable)
    outcomes = await store.commit(starts(2, first=2))
    assert [type(outcome) for outcome in outcomes] == [Committed] * 2
    assert len(opened) == count + 1
    await store.close()


async def test_a_connection_that_cannot_be_opened_is_tried_again(
    store: SqliteStore, connections: Connections
) -> None:
    connections.refuse = True
    (refused,) = await store.commit(starts(1))
    assert isinstance(refused, StoreUnavailable)
    connections.refuse = False
    (accepted,) = await store.commit(starts(1))
    assert isinstance(accepted, Committed)


@pytest.mark.parametrize("turns", range(12))
async def test_a_cancelled_read_leaves_no_old_snapshot(store: SqliteStore, turns: int) -> None:
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
        summary = await store.summarize_run(run.run_id)
        assert summary is not None
        assert summary.run.version == 2


async def test_a_long_history_goes_in_steps_that_leave_the_run_in_shape(
    store: SqliteStore,
) -> None:
    run = replace(a_run(), history_length=1)
    change = starting(run)
    change.events += [an_event(seq) for seq in range(2, 51)]
    change.run = replace(run, history_length=50, status=RunStatus.FAILED, closed_at_us=START_US)
    await store.commit([alone(change)])
    whole = await store.summarize_run(run.run_id)
    old = upkeep.Old(run.namespace, START_US + 1, 20, 10_000)
    thin = partial(upkeep.thin_oldest_run, old=old)
    # What a server leaves that dies between two steps.
    await store._write(thin)
    history = await store.load_history(run.run_id, after_seq=0, limit=99, max_bytes=10_000)
    assert [event.seq for event in history] == [1, *range(22, 51)]
    assert await store.summarize_run(run.run_id) == whole
    commits = store.stats.commits
    deleted = await store.delete_closed_runs(
        run.namespace, before_us=START_US + 1, limit=9, max_events=20, max_bytes=10_000
    )
    assert deleted == 1
    assert store.stats.commits == commits + 4
    assert await store.load_run(run.run_id) is None


QUERIES = load_queries("perdure_server.store.sqlite")
WALKS = {"has_schema", "schema_version", "last_position", "record_position"}
WALKS |= {"copied_position", "put_position"}
"""These read tables of one row or few."""
WALKS |= {"leased_tasks", "lane_depths"}
"""These read whole tables by their meaning, and at start only."""
WALKS |= {"queue_depths", "has_api_key", "find_api_key", "list_api_keys"}
WALKS |= {"registered_workers", "delete_silent_workers", "list_workers"}
"""These are for operators, or seldom; API keys and workers are few."""
SORTS = {"queue_depths", "find_api_key", "list_api_keys"}
"""These sort a few rows."""
PIECES = pieces_of_filters()
"""These are parts of others only; `test_list_plans.py` looks at the whole."""


@pytest.mark.parametrize(
    "query", [name for name in sorted(QUERIES.keys() - PIECES) if not name.startswith("begin_")]
)
async def test_no_query_sorts_and_few_walk_a_table(
    store: SqliteStore, path: Path, query: str
) -> None:
    numbers = [int(number) for number in re.findall(r"\?(\d+)", QUERIES[query])]
    parameters = [1] * (max(numbers) if numbers else QUERIES[query].count("?"))
    with closing(sqlite3.connect(path)) as outside:
        explained = outside.execute(f"EXPLAIN QUERY PLAN {QUERIES[query]}", parameters)
        plan = [step for _, _, _, step in explained]
    if query not in SORTS:
        assert [step for step in plan if "TEMP B-TREE" in step] == []
    if query not in WALKS:
        assert [step for step in plan if re.match("SCAN [a-z_]+$", step)] in (
            [],
            ["SCAN found"] * 2,
        )


async def test_a_read_that_fails_is_unavailable(store: SqliteStore, path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as outside:
        outside.execute("ALTER TABLE timers RENAME TO lost")
        with pytest.raises(StoreUnavailable, match="cannot be read"):
            await store.due_timers(after=None, limit=1)
        outside.execute("ALTER TABLE lost RENAME TO timers")
    assert await store.due_timers(after=None, limit=1) == []
