"""Measures Perdure: `python -m tests.bench [--quick] [NAME ...]`; prints tables and writes JSON.

Every figure is the median of at least three repeats with fresh processes and a fresh database.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.bench import (
    claims,
    fan_in,
    fan_out,
    lists,
    postgres,
    queries,
    rest,
    retention,
    scenarios,
    schedules,
    year,
)
from tests.bench.scenarios import DOORS, SHAPES, Figures

OUTPUT = Path(".bench")
IN_FLIGHT = (1, 16, 256)
BACKLOGS = (1_000, 100_000, 1_000_000)

BARS: tuple[tuple[str, str, str, float], ...] = (
    ("session/one/256", "per_s", ">=", 1_000),
    ("unary/one/256", "per_s", ">=", 400),
    ("session/one/1", "p50_ms", "<=", 6.0),
    ("embedded/one/1", "p50_ms", "<=", 3.0),
    ("long/1000", "seconds", "<=", 4.0),
    ("long/1000", "task_bytes", "<=", 1_000_000),
    ("year/10000", "seconds", "<=", 2.0),
    ("steps/1000", "seconds", "<=", 1.5),
    ("idle", "cpu_percent", "<=", 1.0),
    ("idle", "statements_per_s", "<=", 0.0),
    ("idle", "rss_mb", "<=", 100.0),
    ("postgres/one/256", "share", ">=", 0.6),
    ("postgres/one/256", "commits_per_workflow", "<=", 0.2),
    ("postgres-servers/2/256", "share", ">=", 0.9),
    ("postgres-servers/2/256", "cpu_share", "<=", 1.2),
    ("query-live", "p50_ms", "<=", 5.0),
    ("query-across", "p50_ms", "<=", 20.0),
    ("postgres-across", "added_ms", "<=", 5.0),
    ("fan-out/10000", "ratio", "<=", 12.0),
    ("children/10000", "ratio", "<=", 12.0),
    ("children-servers/10000", "ratio", "<=", 12.0),
    ("fan-in/10000", "ratio", "<=", 12.0),
    ("fan-in/10000", "refusals", "<=", 0.0),
    *(
        (f"claims-{backend}/{backlog}", f"{cost}us_by_{batch}", "<=", 50.0)
        for backlog in BACKLOGS
        for backend, cost, batch in (
            ("sqlite", "cpu_", 32),
            ("sqlite", "", 256),
            ("postgres", "cpu_", 32),
            ("postgres", "", 256),
            ("postgres", "young_", 256),
        )
    ),
    *(
        (f"lists-{backend}/1000000", figure, "<=", 20.0)
        for backend in ("sqlite", "postgres")
        for figure in ("newest_ms", "slowest_ms")
    ),
    ("lists-sqlite/1000000", "count_by_status_ms", "<=", 1_000.0),
    ("lists-postgres/1000000", "count_by_status_ms", "<=", 1_000.0),
    ("schedules-sqlite/10000", "seconds", "<=", 5.0),
    ("schedules-postgres/10000", "seconds", "<=", 5.0),
    ("retention-sqlite/100000", "ratio", "<=", 2.0),
    ("retention-postgres/100000", "ratio", "<=", 2.0),
    ("postgres-idle", "statements_per_s", "<=", 5.0),
    ("rest/one/32", "share", ">=", 0.7),
    ("sse/20000", "events", ">=", 20_000),
    ("sse/20000", "p50_ms", "<=", 10.0),
    ("sse-idle/500", "added_mb", "<=", 60.0),
    ("sse-idle/500", "cpu_percent", "<=", 2.0),
)
"""The bars, for two cores, SQLite with synchronous=FULL, and a real worker."""


BACKENDS: tuple[tuple[str, tuple[str, str], tuple[str, str]], ...] = (
    *(
        (
            f"{what}, {in_flight} in flight",
            (f"postgres/one/{in_flight}", f"sqlite_{figure}"),
            (f"postgres/one/{in_flight}", figure),
        )
        for in_flight in (1, 256)
        for what, figure in (("workflows/s", "per_s"), ("start to result, ms", "p50_ms"))
    ),
    *(
        (
            f"{what} of a claimed task, by {batch}, {backlog:,} wait",
            (f"claims-sqlite/{backlog}", f"{figure}_by_{batch}"),
            (f"claims-postgres/{backlog}", f"{figure}_by_{batch}"),
        )
        for backlog in BACKLOGS
        for batch in claims.BATCHES
        for what, figure in (("us", "us"), ("cpu us", "cpu_us"))
    ),
)
"""What is measured of both backends: the row's name, and where each backend's figure is."""


def plan() -> dict[str, Callable[[], Awaitable[Figures]]]:
    """Returns every scenario by name."""
    jobs: dict[str, Callable[[], Awaitable[Figures]]] = {}
    for door in DOORS:
        for shape in SHAPES:
            for in_flight in IN_FLIGHT:
                jobs[f"{door}/{shape}/{in_flight}"] = _bound(
                    scenarios.throughput, door, shape, in_flight
                )
    jobs["messages/one/256"] = _bound(scenarios.messages, "one", 256)
    jobs["messages/one/1"] = _bound(scenarios.messages, "one", 1)
    jobs["long/100"] = _bound(scenarios.long_workflow, 100)
    jobs["long/1000"] = _bound(scenarios.long_workflow, 1_000)
    jobs["steps/1000"] = _bound(scenarios.steps, 1_000)
    jobs["fan-out/1000"] = _bound(scenarios.fan_out, 1_000)
    jobs["fan-out/10000"] = _bound(fan_out.activities, 1_000, 10_000)
    jobs["children/10000"] = _bound(fan_out.children, 1_000, 10_000)
    jobs["children-servers/10000"] = _bound(fan_out.children_of_servers, 1_000, 10_000)
    jobs["signal"] = _bound(scenarios.signals, 200)
    jobs["query-live"] = _bound(queries.live, 500)
    jobs["timers/1000"] = _bound(scenarios.timers, 1_000)
    jobs["year/10000"] = _bound(year.timers, 10_000)
    jobs["idle"] = _bound(scenarios.idle, 10.0)
    jobs["postgres/one/256"] = _bound(postgres.beside_sqlite, 256)
    jobs["postgres/one/1"] = _bound(postgres.beside_sqlite, 1)
    jobs["postgres-servers/2/256"] = _bound(postgres.beside_one, 256)
    jobs["postgres-across"] = _bound(postgres.across, 200)
    jobs["query-across"] = _bound(queries.across, 200)
    jobs["fan-in/10000"] = _bound(fan_in.linearity, 1_000, 10_000)
    for backlog in BACKLOGS:
        jobs[f"claims-sqlite/{backlog}"] = _bound(claims.on_sqlite, backlog)
        jobs[f"claims-postgres/{backlog}"] = _bound(claims.on_postgres, backlog)
    jobs["lists-sqlite/1000000"] = _bound(lists.on_sqlite, 1_000_000)
    jobs["lists-postgres/1000000"] = _bound(lists.on_postgres, 1_000_000)
    jobs["schedules-sqlite/10000"] = _bound(schedules.on_sqlite, 10_000)
    jobs["schedules-postgres/10000"] = _bound(schedules.on_postgres, 10_000)
    jobs["retention-sqlite/100000"] = _bound(retention.on_sqlite, 100_000)
    jobs["retention-postgres/100000"] = _bound(retention.on_postgres, 100_000)
    jobs["postgres-idle"] = _bound(postgres.idle, 10.0)
    jobs["rest/one/32"] = _bound(rest.against_unary, 32)
    jobs["rest-hop"] = _bound(rest.hop, 1_000)
    jobs["rest-payload/1MiB"] = _bound(rest.payload, 1024 * 1024, 50)
    jobs["sse/20000"] = _bound(rest.watched, 20_000, 1_000)
    jobs["sse-idle/500"] = _bound(rest.idle_watchers, 500, 20.0)
    return jobs


def main() -> None:
    """Measures the scenarios whose names begin with one of the arguments, all by default."""
    jobs = plan()
    options = _options(list(jobs))
    repeats = 1 if options.quick else 3
    console = Console()
    results: dict[str, Figures] = {}
    for name, job in jobs.items():
        if options.names and not name.startswith(tuple(options.names)):
            continue
        console.print(f"[dim]{name}[/dim]")
        results[name] = _median([asyncio.run(_awaited(job)) for _ in range(repeats)])
        # At once: who interrupts the long ones keeps what is known by then.
        console.print(f"  {_line(results[name])}")
    console.print(_table(results))
    console.print(_comparison(results))
    for line in _verdicts(results):
        console.print(line)
    OUTPUT.mkdir(exist_ok=True)
    report = {"machine": _machine(), "repeats": repeats, "results": results}
    path = OUTPUT / "bench.json"
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    console.print(f"written to {path}")


def _options(known: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="\n".join(["names:", *(f"  {name}" for name in known)]),
    )
    parser.add_argument("--quick", action="store_true", help="measure once instead of three times")
    parser.add_argument("names", nargs="*", metavar="NAME", help="what begins with it; default all")
    options = parser.parse_args()
    for prefix in options.names:
        if not any(name.startswith(prefix) for name in known):
            parser.error(f"nothing begins with {prefix!r}; --help lists the names")
    return options


def _bound(scenario: Callable[..., Awaitable[Figures]], *arguments: Any) -> Any:
    return lambda: scenario(*arguments)


async def _awaited(job: Callable[[], Awaitable[Figures]]) -> Figures:
    return await job()


def _median(samples: list[Any]) -> Any:
    """Returns the median of each figure, also within nested figures."""
    if isinstance(samples[0], dict):
        return {key: _median([sample[key] for sample in samples]) for key in samples[0]}
    return round(statistics.median(samples), 3)


def _table(results: dict[str, Figures]) -> Table:
    table = Table("scenario", "figures", title="Perdure, every commit on disk")
    for name, figures in results.items():
        table.add_row(name, _line(figures))
    return table


def _line(figures: Figures) -> str:
    return "  ".join(f"{key} {_text(value)}" for key, value in figures.items())


def _comparison(results: dict[str, Figures]) -> Table:
    """Puts what was measured of both backends side by side."""
    table = Table("both backends", "SQLite", "PostgreSQL")
    for row, *places in BACKENDS:
        if all(name in results for name, _ in places):
            table.add_row(row, *(_text(results[name][figure]) for name, figure in places))
    return table


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return "/".join(f"{number:g}" for number in value.values())
    return f"{value:g}"


def _verdicts(results: dict[str, Figures]) -> list[str]:
    lines = []
    for name, figure, relation, bar in BARS:
        if name in results:
            value = results[name][figure]
            met = value >= bar if relation == ">=" else value <= bar
            mark = "[green]met[/green]" if met else "[red]missed[/red]"
            lines.append(f"{mark}: {name} {figure} {value:g}, bar {relation} {bar:g}")
    return lines


def _machine() -> dict[str, Any]:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "grpcio": version("grpcio"),
        "sqlite": scenarios.sqlite_version(),
        "commit": commit.stdout.strip(),
    }


if __name__ == "__main__":
    main()
