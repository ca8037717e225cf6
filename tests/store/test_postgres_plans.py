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
from tests.support.histories import START_US, a_run, a_task, alone, starting

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
EXPLAINED = {
    name: text
    for name, text in QUERIES.items()
    if name not in PARTS and not re.search("^BEGIN", text, re.MULTILINE)
} | WHOLE
SMALL = {"schema", "position", "servers", "api_keys", "pg_class", "pg_namespace"}
"""Tables of one row or few, which may be walked, and sorted."""
FILTERED = {
    "claim": {"session_id"},
    "flush": {"version", "lease"},
    "extend_lease": {"lease", "session_id"},
    "release_session": {"server_id"},
    "list_runs_by_status_by_type": {"status", "workflow_type"},
    "closed_runs": {"closed_at_us"},
    "queue_depths": {"namespace"},
}
"""Columns that are looked at in rows found by an index: others would be walks in disguise."""
WHOLE_INDEXES = {"queue_depths", "lane_depths", "leased_tasks", "leases_here"}
WHOLE_INDEXES |= {"renew_epoch", "ready_lanes"}
"""These read an index as a whole by their meaning, or one end of it."""
_COLUMN = re.compile(r"[a-z_]+_(?:id|us|type)\b|\b(?:status|lease|version|namespace|generation)\b")


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


def walks(query: str, node: dict[str, Any]) -> bool:
    """Whether a node of a plan may read more rows than it gives."""
    kind = node["Node Type"]
    if node.get("Relation Name") in SMALL:
        return False
    if not kind.startswith(("Index", "Bitmap")):
        return kind in {"Seq Scan", "Hash Join", "Merge Join"}
    filtered = set(_COLUMN.findall(node.get("Filter", "")))
    is_sought = kind == "Bitmap Heap Scan" or "Index Cond" in node
    return not (filtered <= FILTERED.get(query, set()) and (is_sought or query in WHOLE_INDEXES))


@pytest.mark.parametrize("stage", ["new", "young"])
async def test_plans_walk_indexes(session: Session, store: PostgresStore, stage: str) -> None:
    if stage == "young":
        tasks = [starting(a_run(number), a_task(a_run(number))) for number in range(1, 6)]
        await store.commit([alone(change) for change in tasks])
        for table in ("runs", "events", "tasks", "activities", "timers", "requests", "sessions"):
            await session.script(f"ANALYZE {table}")
    found = [
        (query, node)
        for query, text in EXPLAINED.items()
        for node in await plan_of(session, text)
        if walks(query, node)
    ]
    print(*[f"{q}: {n['Node Type']} {n.get('Index Name')} {n.get('Relation Name')} {n.get('Filter')} {n.get('Index Cond')}" for q, n in found], sep="\n")
    assert found == []
