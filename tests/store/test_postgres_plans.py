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
from tests.support.filters import pieces_of_filters
from tests.support.histories import START_US, a_request, a_run, a_task, alone, starting
from tests.support.postgres import Schemas

QUERIES = load_queries("perdure_server.store.postgres")
STATEMENTS = Statements(QUERIES)
WHOLE = {
    "claim": STATEMENTS.claim,
    "load": STATEMENTS.load,
    "flush": STATEMENTS.flush((*_CHECKS, *_WRITES)),
}
PARTS = {name for name, text in QUERIES.items() if "refused" in text}
PARTS |= {*_CHECKS, "nothing_refused", "lane_priorities", "ready_tasks"}
PARTS |= pieces_of_filters()
"""Queries that are a part of others only."""
EXPLAINED = {
    name: text
    for name, text in QUERIES.items()
    if name not in PARTS and not re.search("^BEGIN", text, re.MULTILINE)
} | WHOLE
SMALL = {"schema", "position", "servers", "sessions", "workers", "api_keys", "pg_class"}
SMALL |= {"pg_namespace"}
"""Tables of one row or few, which may be walked, and sorted."""
FILTERED = {
    "claim": {"session_id"},
    "flush": {"version", "lease", "namespace"},
    "extend_lease": {"lease"},
    "find_latest_run": {"namespace"},
    "latest_runs": {"namespace"},
    "delete_requests": {"namespace"},
    "leases_here": {"session_id"},
    "closed_runs": {"closed_at_us"},
    # Which rows the index has is asked again of those that are locked.
    "claim_sweep": {"retention_us"},
    # Nearly all messages are recorded as soon as they are sent.
    "read_inbox": {"created_at_us"},
    "overdue": {"created_at_us"},
    "queue_depths": {"namespace"},
}
"""Columns that are looked at in rows found by an index: others would be walks in disguise."""
TRANSIENT = ("tasks", "activities", "timers", "requests", "sessions", "servers")
LANE = Lane("default", "shop", TaskKind.WORKFLOW, "checkout")
BACKLOG = """
INSERT INTO tasks (
    run_id, kind, seq, namespace, queue, type, priority, ready_at_us, created_at_us, attempt, lease,
    session_id, worker_identity
)
SELECT
    'run-' || n, 'workflow', 0, 'default', 'shop', 'checkout', 3,
    1700000000000000 + CASE WHEN n > 20000 THEN n - 21001 ELSE n - 100000 END, 0, 1, 1,
    CASE WHEN n <= 20000 THEN 'busy' END, ''
FROM generate_series(1, 21000) AS n
"""
WHOLE_INDEXES = {"queue_depths", "lane_depths", "leased_tasks", "leases_here"}
WHOLE_INDEXES |= {"renew_epoch", "ready_lanes"}
"""These read an index as a whole by their meaning, or one end of it."""
TOLD = ("Node Type", "Relation Name", "Index Name", "Index Cond", "Filter")
_COLUMN = re.compile(r"[a-z_]+_(?:id|us|type)\b|\b(?:status|lease|version|namespace|generation)\b")


@pytest.fixture
async def store(schemas: Schemas) -> AsyncIterator[PostgresStore]:
    """In new tables: plans follow the sizes of files too."""
    store = PostgresStore(schemas.url, schema=schemas.new())
    await store.open()
    yield store
    await store.close()


BY_KEY = {"flush", "extend_lease"}
"""These find every row by its whole key, and have a connection for that."""


@pytest.fixture
async def sessions(store: PostgresStore) -> AsyncIterator[dict[bool, Session]]:
    sessions = {each: await store._database.connect(by_key=each) for each in (True, False)}
    yield sessions
    for session in sessions.values():
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


async def grow(store: PostgresStore, session: Session, stage: str) -> None:
    """Makes the tables look to the planner as they do at some time."""
    if stage == "new":
        return
    runs = [a_run(number) for number in range(1, 40)]
    await store.commit([alone(starting(run, a_task(run)), a_request(run)) for run in runs])
    if stage == "emptied":
        for table in TRANSIENT:
            await session.script(f"TRUNCATE {table}")
    for table in ("runs", "events", *TRANSIENT):
        await session.script(f"ANALYZE {table}")


@pytest.mark.parametrize("stage", ["new", "young", "emptied"])
async def test_plans_walk_no_table(
    store: PostgresStore, sessions: dict[bool, Session], stage: str
) -> None:
    await grow(store, sessions[False], stage)
    found = [
        f"{query}: {[node.get(each) for each in TOLD]}"
        for query, text in EXPLAINED.items()
        for node in await plan_of(sessions[query in BY_KEY], text)
        if walks(query, node)
    ]
    assert found == []


async def test_the_index_of_a_claim_is_walked_from_its_first_ready_task(
    store: PostgresStore, sessions: dict[bool, Session]
) -> None:
    """With 20,000 leased rows, the oldest, before those that are ready."""
    await sessions[False].script(BACKLOG)
    claims = [[0], ["default"], ["shop"], ["workflow"], ["checkout"], [32], ["s"], ["w"], [None]]
    text = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {STATEMENTS.claim}"
    (row,) = await sessions[False].rows_of(text, *claims, [START_US])
    plan = list(nodes(json.loads(row[0])[0]["Plan"]))
    looked_at = [node for node in plan if node.get("Relation Name") == "tasks"]
    assert {node["Index Name"] for node in looked_at if "Index Name" in node} == {"tasks_unleased"}
    for node in looked_at:
        rows = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
        assert rows * node["Actual Loops"] <= 32, node
    (leased,) = await store.claim_tasks([ClaimRequest(LANE, 32, "s", "w")], START_US)
    assert [task.ready_at_us for task in leased] == [START_US - 1_000 + n for n in range(32, 64)]
