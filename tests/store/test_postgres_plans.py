"""Plans of PostgreSQL: they walk indexes, from the first row on and whatever the statistics say."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from perdure_server.core.model import Lane, TaskKind
from perdure_server.store.contract import ClaimRequest
from perdure_server.store.postgres.connection import Session
from perdure_server.store.postgres.flush import _CHECKS, _WRITES, Statements
from perdure_server.store.postgres.store import PostgresStore
from perdure_server.store.queries import load_queries
from tests.support.histories import START_US

QUERIES = load_queries("perdure_server.store.postgres")
STATEMENTS = Statements(QUERIES)
WHOLE = {
    "claim": STATEMENTS.claim,
    "load": STATEMENTS.load,
    "flush": STATEMENTS.flush((*_CHECKS, *_WRITES)),
}
PARTS = {name for name, text in QUERIES.items() if "refused" in text}
PARTS |= {*_CHECKS, "nothing_refused", "lane_priorities", "ready_tasks"}
"""Queries that are a part of others only."""
EXPLAINED = {name: WHOLE.get(name, text) for name, text in QUERIES.items() if name not in PARTS}
EXPLAINED |= WHOLE
SMALL = {"schema", "position", "servers", "api_keys", "pg_class", "pg_namespace"}
"""Tables of one row or few."""
SORTS = {
    # A few rows, or one level of a loop.
    "api_keys",
    "servers",
    "queue_depths",
    "lane_depths",
}


@pytest.fixture
async def store(postgres_disk: Any) -> AsyncIterator[PostgresStore]:
    store = postgres_disk()
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def session(store: PostgresStore) -> AsyncIterator[Session]:
    session = await store._database.connect()
    yield session
    await session.close()


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


async def plan_of(session: Session, text: str, *parameters: object) -> list[dict[str, Any]]:
    """The nodes of the plan that a session of the store makes once and keeps."""
    count = max([0, *map(int, re.findall(r"\$(\d+)", text))])
    values = ", ".join(["NULL"] * count)
    await session.script(f"PREPARE explained AS {text}")
    call = f"EXECUTE explained({values})" if count else "EXECUTE explained"
    (row,) = await session.rows_of(f"EXPLAIN (FORMAT JSON) {call}")
    await session.script("DEALLOCATE explained")
    return list(nodes(json.loads(row[0])[0]["Plan"]))


@pytest.mark.parametrize(
    "query",
    [name for name, text in EXPLAINED.items() if not text.startswith(("BEGIN", "-- Of tr"))],
)
async def test_plan(session: Session, query: str) -> None:
    plan = await plan_of(session, EXPLAINED[query])
    print(query)
    for node in plan:
        print(
            "  ",
            node["Node Type"],
            node.get("Relation Name"),
            node.get("Index Name"),
            node.get("Filter"),
            node.get("Sort Key"),
        )
