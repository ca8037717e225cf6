"""What is measured of lists: a page out of very many runs, by filters of every kind, and counts.

The store is asked directly, and the runs are loaded by SQL: what is beside it costs the same
however many there are.
"""

from __future__ import annotations

import sqlite3
import statistics
import tempfile
import time
from contextlib import closing
from pathlib import Path

import asyncpg

from perdure_server.core.attribute_keys import number_key
from perdure_server.core.filters.reading import read_filter, read_name
from perdure_server.core.limits import COUNT_GROUPS_MAX
from perdure_server.store.contract import ListFilter, Store
from perdure_server.store.postgres.store import PostgresStore
from perdure_server.store.sqlite.store import SqliteStore
from tests.bench.postgres import cluster
from tests.bench.scenarios import BenchError, Figures

PAGE = 50
REPEATS = 20
START_US = 1_700_000_000_000_000
EVERY_US = 1_000_000
"""A run begins each second."""
AMOUNTS = 1_000
FILTERS = {
    "newest": "",
    "customer": "customer = 'c-4700'",
    "customer_failed": "customer = 'c-4700' AND status = 'FAILED'",
    "region": "region = 'r-2'",
    "region_and_customer": "region = 'r-0' AND customer = 'c-4700'",
    "failed": "status = 'FAILED' AND type = 'checkout'",
    "amount": "amount > 900 AND region != 'r-1'",
    "rare_amount": "amount >= 999 AND created_at > now() - 1d",
    "last_hour": "created_at > now() - 1h AND status = 'FAILED'",
    "prefix": "customer STARTS_WITH 'c-47'",
    "by_amount": "region = 'r-2' ORDER BY amount DESC",
    "by_completion": "type = 'checkout' ORDER BY completed_at DESC",
    "range_and_customer": "amount < 500 AND customer = 'c-4700'",
    "range_in_order": "amount BETWEEN 400 AND 500 ORDER BY amount DESC",
    "wide_ranges": "customer > 'c-5' AND amount < 500",
    "two_ranges": "customer STARTS_WITH 'c-47' AND amount < 100",
    "three_ranges": "region = 'r-2' AND customer STARTS_WITH 'c-47' AND amount < 300",
    "old": "created_at < now() - 200h ORDER BY created_at DESC",
    "old_failed": "created_at < now() - 200h AND status = 'FAILED' ORDER BY created_at DESC",
    "old_region": "created_at < now() - 200h AND region = 'r-2' ORDER BY created_at DESC",
    "old_between": """
        created_at BETWEEN now() - 200h AND now() - 150h AND amount > 900 ORDER BY created_at DESC
    """,
    "by_creation": "region = 'r-2' ORDER BY created_at DESC",
}
"""What is asked for; `newest` has its own bar, and so has the slowest of the others.

Of `two_ranges` both leave many runs and few are left by both; so do `three_ranges`. The order of
those that begin with `old` is what callers get who name none.
"""
COUNTS = {
    "count": ("", ""),
    "count_region": ("region = 'r-2'", ""),
    "count_rare": ("amount > 900 AND status = 'FAILED'", ""),
    "count_by_status": ("", "status"),
    "count_by_type": ("status = 'FAILED'", "type"),
    "count_by_region": ("", "region"),
    "count_by_customer": ("amount > 900", "customer"),
}
"""What is counted, and by what: all that match are read."""
COUNT_REPEATS = 3
_COLUMNS = """
run_id, namespace, workflow_id, workflow_type, task_queue, generation, status, version, attempt,
priority, created_at_us, updated_at_us, started_at_us, closed_at_us, history_length, history_bytes,
seen_seq, stimulus_seq, task_lease, accepted_lease, task_failure, activity_seq_max, timer_seq_max,
wait_seq_max, cancel_requested, cancel_reason, previous_run_id, next_run_id
"""
_LOAD = (
    """
INSERT INTO runs ({columns})
SELECT
    'run-' || (10000000 + n), 'main', 'order-' || n, CASE WHEN n % 3 = 0 THEN 'refund' ELSE
    'checkout' END, 'shop', 1, CASE WHEN n % 50 = 0 THEN 'FAILED' WHEN n % 10 = 0 THEN 'RUNNING'
    ELSE 'COMPLETED' END, 3, 1, 3, {start} + n * {every}, {start} + n * {every}, {start} + n *
    {every}, CASE WHEN n % 10 = 0 AND n % 50 > 0 THEN NULL ELSE {start} + n * {every} END, 1, 10,
    1, 1, 1, 1, {empty}, 0, 0, 0, {false}, '', '', ''
FROM {numbers}
""",
    """
INSERT INTO events (run_id, seq, kind, at_us, frame, commit_no, idx)
SELECT 'run-' || (10000000 + n), 1, 'workflow_started', {start}, {frame}, n + 1, 0 FROM {numbers}
""",
    """
INSERT INTO search_attributes (run_id, name, value, namespace, is_least)
SELECT 'run-' || (10000000 + n), 'customer', {customer}, 'main', {true} FROM {numbers}
""",
    """
INSERT INTO search_attributes (run_id, name, value, namespace, is_least)
SELECT 'run-' || (10000000 + n), 'region', {region}, 'main', {true} FROM {numbers}
""",
    """
INSERT INTO search_attributes (run_id, name, value, namespace, is_least)
SELECT 'run-' || (10000000 + n), 'amount', amounts.value, 'main', {true}
FROM {numbers} JOIN amounts ON amounts.number = n * 7919 % {amounts}
""",
)
"""The same on both backends, but for what stands in braces."""
_WORDS = {
    "sqlite": {
        "empty": "x''",
        "frame": "x'0a00'",
        "true": "1",
        "false": "0",
        "customer": "CAST('sc-' || (n % 10000) AS BLOB)",
        "region": "CAST('sr-' || (n % 4) AS BLOB)",
        "numbers": """(
            WITH RECURSIVE numbers (n) AS (
                SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < {last}
            )
            SELECT n FROM numbers
        ) AS numbers""",
    },
    "postgres": {
        "empty": "''::bytea",
        "frame": r"'\x0a00'::bytea",
        "true": "true",
        "false": "false",
        "customer": "convert_to('sc-' || n % 10000, 'UTF8')",
        "region": "convert_to('sr-' || n % 4, 'UTF8')",
        "numbers": "generate_series(0, {last}::bigint) AS n",
    },
}


async def on_sqlite(runs: int) -> Figures:
    """Measures pages of SQLite."""
    with tempfile.TemporaryDirectory(prefix="perdure-bench-") as folder:
        path = Path(folder) / "perdure.db"
        store = SqliteStore(path)
        await store.open()
        try:
            with closing(sqlite3.connect(path)) as database:
                database.execute("CREATE TEMP TABLE amounts (number INTEGER, value BLOB)")
                database.executemany("INSERT INTO amounts VALUES (?, ?)", _amounts())
                for statement in statements("sqlite", runs):
                    database.execute(statement)
                database.commit()
            return await pages(store, runs) | await counts(store, runs)
        finally:
            await store.close()


async def on_postgres(runs: int) -> Figures:
    """Measures pages of PostgreSQL, after it has looked at its tables as it does by itself."""
    with cluster() as url:
        store = PostgresStore(url)
        await store.open()
        database = await asyncpg.connect(url)
        try:
            await database.execute("SET search_path = perdure")
            await database.execute("CREATE TEMP TABLE amounts (number int, value bytea)")
            await database.executemany("INSERT INTO amounts VALUES ($1, $2)", _amounts())
            for statement in statements("postgres", runs):
                await database.execute(statement)
            for table in ("runs", "events", "search_attributes"):
                await database.execute(f"VACUUM ANALYZE {table}")
            return await pages(store, runs) | await counts(store, runs)
        finally:
            await database.close()
            await store.close()


def statements(backend: str, runs: int) -> list[str]:
    """Returns what loads the runs."""
    words = {key: text.format(last=runs - 1) for key, text in _WORDS[backend].items()}
    words |= {"start": str(START_US), "every": str(EVERY_US), "amounts": str(AMOUNTS)}
    return [text.format(columns=_COLUMNS, **words) for text in _LOAD]


async def pages(store: Store, runs: int) -> Figures:
    """Returns the median time of each page, in milliseconds, and that of the slowest filter."""
    figures: Figures = {}
    now_us = START_US + runs * EVERY_US
    for name, text in FILTERS.items():
        condition, order = read_filter(text, now_us=now_us)
        where = ListFilter("main", condition=condition, order=order)
        times, found = [], []
        for _ in range(REPEATS):
            began = time.perf_counter()
            found = await store.list_runs(where, after=None, limit=PAGE)
            times.append((time.perf_counter() - began) * 1e3)
        if not found:
            raise BenchError(f"no run was found by {text!r}")
        figures[f"{name}_ms"] = statistics.median(times)
    filtered = [figures[f"{name}_ms"] for name in FILTERS.keys() - {"newest"}]
    return figures | {"slowest_ms": max(filtered)}


async def counts(store: Store, runs: int) -> Figures:
    """Returns the median time of each count, in milliseconds."""
    figures: Figures = {}
    for name, (text, by) in COUNTS.items():
        where = ListFilter("main", condition=read_filter(text, now_us=START_US)[0])
        times = []
        for _ in range(COUNT_REPEATS):
            began = time.perf_counter()
            if by:
                groups = await store.count_groups(where, read_name(by), limit=COUNT_GROUPS_MAX)
                found = sum(group.count for group in groups)
            else:
                found = await store.count_matching(where)
            times.append((time.perf_counter() - began) * 1e3)
            if not 0 < found <= runs:
                raise BenchError(f"{found} runs were counted by {text!r}")
        figures[f"{name}_ms"] = statistics.median(times)
    return figures


def _amounts() -> list[tuple[int, bytes]]:
    return [(number, number_key(number)) for number in range(AMOUNTS)]
