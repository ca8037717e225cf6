"""Plans of lists on both databases: each walks an index and sorts nothing, or sorts few runs."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from perdure_server.core.filters.reading import read_filter
from perdure_server.store import listing
from perdure_server.store.contract import ListFilter, Place
from perdure_server.store.listing import Listing
from perdure_server.store.pieces import Sql
from perdure_server.store.postgres.store import PostgresStore
from perdure_server.store.queries import load_queries
from perdure_server.store.sqlite.store import SqliteStore
from tests.support.histories import START_US
from tests.support.postgres import Schemas

WALKS = {
    "": "runs_by_namespace",
    "type = 'checkout'": "runs_by_type",
    "status = 'FAILED'": "runs_by_status",
    "team = 'a'": "search_attributes_by_value",
    "team = 'a' AND amount > 5 AND status = 'FAILED'": "search_attributes_by_value",
    "parent_run_id = 'run-7'": "runs_by_parent",
    "parent_run_id = ''": "runs_by_namespace",
    "parent_id = 'order-7'": "runs_by_parent_workflow",
    "parent_id = 'order-7' AND amount > 5": "runs_by_parent_workflow",
    "parent_id > 'order-7'": "runs_by_namespace",
    "amount > 5": "runs_by_namespace",
    "NOT team = 'a' OR amount > 5": "runs_by_namespace",
    "created_at > now() - 1h": "runs_by_namespace",
    "ORDER BY amount DESC": "search_attributes_by_value",
    "team = 'a' ORDER BY amount": "search_attributes_by_value",
    "ORDER BY created_at": "runs_by_creation",
    "status = 'FAILED' ORDER BY completed_at DESC": "runs_by_closing",
    "team = 'a' ORDER BY created_at DESC": "runs_by_creation",
    "created_at < now() - 9d AND amount > 5 ORDER BY created_at DESC": "runs_by_creation",
    "team = 'a' AND completed_at > now() - 9d ORDER BY completed_at": "runs_by_closing",
}
"""The index along which the page is walked when every condition leaves many runs."""
SOURCES = {
    "type = 'checkout'": "runs_by_type",
    "status = 'FAILED'": "runs_by_status",
    "team = 'a'": "search_attributes_by_value",
    "amount BETWEEN 1 AND 2": "search_attributes_by_value",
    "team STARTS_WITH 'a'": "search_attributes_by_value",
    "created_at BETWEEN now() - 1h AND now()": "runs_by_creation",
    "completed_at > now() - 1h": "runs_by_closing",
    "id = 'order-1'": "runs_by_workflow",
    "parent_run_id = 'run-7'": "runs_by_parent",
    "parent_id = 'order-7'": "runs_by_parent_workflow",
}
"""The index that finds few runs."""

FILL = (
    """
INSERT INTO runs (
    run_id, namespace, workflow_id, workflow_type, task_queue, generation, status, version, attempt,
    priority, created_at_us, updated_at_us, started_at_us, closed_at_us, history_length,
    history_bytes, seen_seq, stimulus_seq, task_lease, accepted_lease, task_failure,
    activity_seq_max, timer_seq_max, wait_seq_max, cancel_requested, cancel_reason, previous_run_id,
    next_run_id
)
SELECT
    'run-' || 10000 + n, 'default', 'order-' || n, 'type-' || n % 20, 'shop', 1, 'STATUS-' || n % 9,
    1, 1, 3, n, n, n, n, 1, 1, 1, 1, 1, 1, '', 0, 0, 0, false, '', '', ''
FROM generate_series(1, 3000) AS n
""",
    """
INSERT INTO search_attributes (run_id, name, value, namespace, is_least)
SELECT 'run-' || 10000 + n, 'amount', decode(lpad(n::text, 4, '0'), 'hex'), 'default', true
FROM generate_series(1, 3000) AS n
""",
    "ANALYZE runs",
    "ANALYZE search_attributes",
)


class Asked:
    """Notes the statements of a list; answers that a source has so many runs, and its stretch."""

    def __init__(self, backend: str, count: int, edge: str | None = None) -> None:
        self.statements: list[Sql] = []
        self._count = count
        self._edge = edge
        queries = load_queries(f"perdure_server.store.{backend}")
        self.listing = Listing(queries, self._ask)

    async def of(self, text: str, after: Place | None = None) -> list[Sql]:
        """Returns the statements of the first page of a filter."""
        condition, order = read_filter(text, now_us=START_US)
        where = ListFilter("default", condition=condition, order=order)
        await self.listing.page(where, after=after, limit=50)
        return self.statements

    async def _ask(self, sql: Sql) -> list[Any]:
        self.statements.append(sql)
        if sql.text.startswith("-- How many"):
            return [(self._count,)]
        return [(self._edge,)] if self._edge and sql.text.startswith("-- Where") else []


async def test_counts_take_turns_and_pages_do_not_wait_for_them() -> None:
    """Each reads all that it counts, and there are few connections to read with."""
    arrived, answers = asyncio.Event(), asyncio.Event()
    waiting: list[Sql] = []

    async def slowly(sql: Sql) -> list[Any]:
        if "count(" in sql.text:
            waiting.append(sql)
            arrived.set()
            await answers.wait()
            return [(3,)]
        return []

    counting = Listing(load_queries("perdure_server.store.sqlite"), slowly)
    where = ListFilter("default")
    async with asyncio.TaskGroup() as group:
        first = group.create_task(counting.count(where))
        second = group.create_task(counting.count(where))
        await arrived.wait()
        assert await counting.page(where, after=None, limit=9) == []
        assert len(waiting) == 1
        answers.set()
    assert (first.result(), second.result(), len(waiting)) == (3, 3, 2)


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[sqlite3.Connection]:
    path = tmp_path / "perdure.db"
    store = SqliteStore(path)
    await store.open()
    await store.close()
    with closing(sqlite3.connect(path)) as connection:
        yield connection


def sqlite_plan(connection: sqlite3.Connection, sql: Sql) -> list[str]:
    rows = connection.execute(f"EXPLAIN QUERY PLAN {sql.text}", sql.parameters)
    return [detail for *_, detail in rows]


def first(statements: list[Sql], how_many: bool) -> Sql:
    begins = "-- How many" if how_many else "SELECT"
    return next(sql for sql in statements if sql.text.startswith(begins))


async def by_stretches(backend: str) -> tuple[Sql, Sql, Sql]:
    """Returns where the stretch ends, its runs, and what else is asked when they are too few."""
    asked = Asked(backend, listing.FEW, edge="run-12500")
    statements = await asked.of("amount > 5 AND team STARTS_WITH 'a'", Place("run-12600"))
    edge, walk, near, *_ = [sql for sql in statements if not sql.text.startswith("-- How many")]
    return edge, walk, near


@pytest.mark.parametrize(("text", "index"), WALKS.items())
async def test_sqlite_walks_an_index(sqlite: sqlite3.Connection, text: str, index: str) -> None:
    statements = await Asked("sqlite", listing.FEW).of(text)
    plan = sqlite_plan(sqlite, first(statements, how_many=False))
    assert any(index in step for step in plan), plan
    # A page that was cut off is small; nothing that it was cut from is sorted or walked.
    inner = plan[: next(at for at, step in enumerate(plan) if step.startswith("SCAN page"))]
    assert not [step for step in inner if "TEMP B-TREE" in step or re.match("SCAN (?!p)", step)]


@pytest.mark.parametrize(("text", "index"), SOURCES.items())
async def test_sqlite_finds_few_runs_by_an_index(
    sqlite: sqlite3.Connection, text: str, index: str
) -> None:
    statements = await Asked("sqlite", 3).of(text)
    for how_many in (True, False):
        plan = sqlite_plan(sqlite, first(statements, how_many))
        assert any(index in step for step in plan), plan
        assert not [step for step in plan if re.match(r"SCAN (runs|search_attributes)\b", step)]


async def test_sqlite_walks_a_stretch_before_it_sorts(sqlite: sqlite3.Connection) -> None:
    edge, walk, near = [sqlite_plan(sqlite, sql) for sql in await by_stretches("sqlite")]
    for plan in (edge, walk[: walk.index("SCAN page")]):
        (step, *_) = [step for step in plan if "SEARCH runs" in step]
        assert "COVERING INDEX runs_by_namespace" in step
        assert "run_id<?" in step
        assert not [step for step in plan if "TEMP B-TREE" in step], plan
    assert "USE TEMP B-TREE FOR GROUP BY" in near
    assert "USE TEMP B-TREE FOR DISTINCT" not in near
    assert [step for step in near if "SEARCH search_attributes USING COVERING INDEX" in step]


@pytest.fixture
async def postgres(schemas: Schemas) -> AsyncIterator[Any]:
    """With so many runs that the indexes are told from each other."""
    store = PostgresStore(schemas.url, schema=schemas.new())
    await store.open()
    session = await store._database.connect()
    for statement in FILL:
        await session.script(statement)
    yield session
    await session.close()
    await store.close()


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


async def postgres_plan(session: Any, sql: Sql) -> list[dict[str, Any]]:
    values = ", ".join(["NULL"] * len(sql.parameters))
    await session.script(f"PREPARE explained AS {sql.text}")
    (row,) = await session.rows_of(f"EXPLAIN (FORMAT JSON) EXECUTE explained({values})")
    await session.script("DEALLOCATE explained")
    return list(nodes(json.loads(row[0])[0]["Plan"]))


@pytest.mark.parametrize(("text", "index"), WALKS.items())
async def test_postgres_walks_an_index(postgres: Any, text: str, index: str) -> None:
    statements = await Asked("postgres", listing.FEW).of(text)
    plan = await postgres_plan(postgres, first(statements, how_many=False))
    assert not [node for node in plan if node["Node Type"] == "Seq Scan"], plan
    (limit,) = [node for node in plan if node["Node Type"] == "Limit"]
    below = list(nodes(limit))
    assert not [node for node in below if node["Node Type"] in {"Sort", "Bitmap Heap Scan"}], below
    # While one namespace has most runs, their key is as good as the index that begins with it.
    assert {index, "runs_pkey"} & {node.get("Index Name") for node in below}, below


@pytest.mark.parametrize(("text", "index"), SOURCES.items())
async def test_postgres_finds_few_runs_by_an_index(postgres: Any, text: str, index: str) -> None:
    statements = await Asked("postgres", 3).of(text)
    for how_many in (True, False):
        plan = await postgres_plan(postgres, first(statements, how_many))
        assert not [node for node in plan if node["Node Type"] == "Seq Scan"], plan
        assert index in {node.get("Index Name") for node in plan}, plan


async def test_a_page_goes_on_within_its_index(sqlite: sqlite3.Connection) -> None:
    after = Place("run-000001", b"n")
    statements = await Asked("sqlite", listing.FEW).of("ORDER BY amount DESC", after)
    (step, *_) = [step for step in sqlite_plan(sqlite, statements[0]) if "sorted" in step]
    assert "search_attributes_by_value" in step
    assert re.search(r"\(value,run_id\)<|value<", step), step


BY_TIME = {
    "created_at < now() AND amount > 5 ORDER BY created_at DESC": "created_at_us<?",
    "created_at BETWEEN 1 AND now() ORDER BY created_at": "created_at_us>? AND created_at_us<?",
    "completed_at < now() AND amount > 5 ORDER BY completed_at DESC": "closed_at_us",
}
"""Between which bounds the first stretch in the order of time is walked."""


@pytest.mark.parametrize(("text", "bounds"), BY_TIME.items())
async def test_an_order_of_time_is_walked_from_its_bound(
    sqlite: sqlite3.Connection, text: str, bounds: str
) -> None:
    statements = await Asked("sqlite", listing.FEW).of(text)
    edge = next(sql for sql in statements if sql.text.startswith("-- Where"))
    for sql in (edge, first(statements, how_many=False)):
        (step, *_) = [step for step in sqlite_plan(sqlite, sql) if "SEARCH runs" in step]
        assert bounds in step


async def test_an_order_of_time_goes_on_at_its_place(sqlite: sqlite3.Connection) -> None:
    text = "created_at < now() AND amount > 5 ORDER BY created_at DESC"
    asked = Asked("sqlite", listing.FEW, edge="run-12500")
    statements = await asked.of(text, Place("run-12600", START_US))
    edge, walk, *_ = [sql for sql in statements if not sql.text.startswith("-- How many")]
    for sql in (edge, walk):
        (step, *_) = [step for step in sqlite_plan(sqlite, sql) if "SEARCH runs" in step]
        assert "runs_by_creation" in step
        assert "created_at_us<?" in step or "(created_at_us,run_id)<" in step, step


async def test_postgres_goes_on_at_its_place_and_ends_at_the_next(postgres: Any) -> None:
    """Where a place bounds a walk, a bound of the list beside it would take its part."""
    asked = Asked("postgres", listing.FEW, edge="run-12500")
    text = "created_at BETWEEN 1 AND now() AND amount > 5 ORDER BY created_at DESC"
    statements = await asked.of(text, Place("run-12600", START_US))
    edge, walk, *_ = [sql for sql in statements if not sql.text.startswith("-- How many")]
    for sql, bound in ((edge, "(created_at_us >="), (walk, "(ROW(created_at_us, run_id) >=")):
        plan = await postgres_plan(postgres, sql)
        (found,) = [node for node in plan if node.get("Index Name") == "runs_by_creation"]
        assert "(ROW(created_at_us, run_id) <" in found["Index Cond"]
        assert bound in found["Index Cond"]
        assert "(created_at_us <" not in found["Index Cond"]


async def test_postgres_walks_a_stretch_before_it_sorts(postgres: Any) -> None:
    edge, walk, near = [
        await postgres_plan(postgres, sql) for sql in await by_stretches("postgres")
    ]
    for plan in (edge, walk):
        below = list(nodes(next(node for node in plan if node["Node Type"] == "Limit")))
        assert not [node for node in below if node["Node Type"] in {"Sort", "Seq Scan"}], below
    # What was sorted is looked at in its order, so that a page ends when it is full.
    outer = next(node for node in near if node["Node Type"] == "Limit")
    assert outer["Plans"][0]["Node Type"] == "Nested Loop", near
    assert "search_attributes_by_value" in {node.get("Index Name") for node in near}, near


RANGES_IN_ORDER = {
    "amount BETWEEN 4 AND 5 ORDER BY amount DESC": "value>? AND value<?",
    "amount BETWEEN 4 AND 5 ORDER BY amount": "value>? AND value<?",
    "team STARTS_WITH 'a' ORDER BY team DESC": "value<?",
}
"""Where a walk along the index of an attribute begins and ends when it is also asked about."""


@pytest.mark.parametrize(("text", "bounds"), RANGES_IN_ORDER.items())
async def test_a_range_is_walked_in_its_order_from_its_bound(
    sqlite: sqlite3.Connection, text: str, bounds: str
) -> None:
    statements = await Asked("sqlite", listing.FEW).of(text)
    (step, *_) = [
        step for step in sqlite_plan(sqlite, first(statements, False)) if "sorted" in step
    ]
    assert f"(namespace=? AND name=? AND {bounds})" in step
