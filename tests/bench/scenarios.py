"""What is measured, each with processes and a database of its own."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from perdure import Client, WorkerOptions
from perdure.v1.history_pb2 import History
from tests.bench import flows
from tests.bench.load import Sample, keep_in_flight
from tests.bench.rig import Rig, cpu_s, database_bytes, histories_are_whole, rig

Figures = dict[str, Any]

SECONDS = 2.5
"""How long each span lasts; a warm-up of a fifth of it comes first."""
SHAPES = {"one": (flows.one, 0), "three": (flows.sequential, 3), "ten": (flows.parallel, 10)}
DOORS = ("session", "unary", "embedded")


class BenchError(Exception):
    """A result that must not be believed."""


async def throughput(door: str, shape: str, in_flight: int) -> Figures:
    """Measures workflows per second and start-to-result latency."""
    workflow, argument = SHAPES[shape]
    if door == "embedded":
        return await _embedded(workflow, argument, in_flight)
    with rig() as processes:
        async with Client.connect(processes.address, use_session=door == "session") as client:
            before: dict[str, Any] = {}

            def warmed_up() -> None:
                before.update(cpu=processes.cpu_s(), counted=processes.counted())

            sample, runs = await _span(client, workflow, argument, in_flight, warmed_up)
            counted = processes.counted()
            used = processes.cpu_s()
        figures = _figures(sample)
        done = len(sample.latencies_s)
        figures["cpu_s_per_1000"] = {
            name: round((used[name] - before["cpu"][name]) / done * 1e3, 3) for name in used
        }
        figures["commits_per_workflow"] = round(
            (counted["commits"] - before["counted"]["commits"]) / done, 3
        )
        figures["peak_rss_mb"] = {k: round(v) for k, v in processes.peak_rss_mb().items()}
        figures["bytes_per_workflow"] = round(database_bytes(processes.folder) / runs)
        _check(processes, runs)
    return figures


async def messages(shape: str, in_flight: int) -> Figures:
    """Counts the messages on the client and worker streams per workflow."""
    workflow, argument = SHAPES[shape]
    with rig(counting=True) as processes:
        async with Client.connect(processes.address) as client:
            _, runs = await _span(client, workflow, argument, in_flight)
            return {"messages_per_workflow": round(processes.counted()["messages"] / runs, 3)}


async def long_workflow(count: int) -> Figures:
    """Measures one workflow of many sequential activities: seconds, and bytes sent to workers."""
    with rig(counting=True) as processes:
        async with Client.connect(processes.address) as client:
            await client.execute(flows.one, 0, id="warm-up", task_queue=flows.QUEUE)
            before = processes.counted()["task_bytes"]
            began = time.perf_counter()
            await client.execute(flows.sequential, count, id="long", task_queue=flows.QUEUE)
            seconds = time.perf_counter() - began
            sent = processes.counted()["task_bytes"] - before
        _check(processes, 2)
    return {"seconds": round(seconds, 3), "task_bytes": sent}


async def steps(count: int) -> Figures:
    """Measures one workflow of many steps one after another: seconds, and commits for each."""
    with rig(counting=True) as processes:
        async with Client.connect(processes.address) as client:
            await client.execute(flows.stepping, 2, id="warm-up", task_queue=flows.QUEUE)
            before = processes.counted()
            began = time.perf_counter()
            total = await client.execute(flows.stepping, count, id="long", task_queue=flows.QUEUE)
            seconds = time.perf_counter() - began
            counted = processes.counted()
        if total != count:
            raise BenchError(f"{count} steps made {total}")
        _check(processes, 2)
    return {
        "seconds": round(seconds, 3),
        "commits_per_step": round((counted["commits"] - before["commits"]) / count, 3),
        "messages_per_step": round((counted["messages"] - before["messages"]) / count, 3),
    }


async def fan_out(width: int) -> Figures:
    """Measures one workflow of many parallel activities."""
    with rig() as processes:
        async with Client.connect(processes.address) as client:
            await client.execute(flows.one, 0, id="warm-up", task_queue=flows.QUEUE)
            began = time.perf_counter()
            total = await client.execute(flows.parallel, width, id="wide", task_queue=flows.QUEUE)
            seconds = time.perf_counter() - began
        if total != width:
            raise BenchError(f"the fan-out returned {total}, not {width}")
        _check(processes, 2)
    return {"seconds": round(seconds, 3)}


async def signals(count: int) -> Figures:
    """Measures from sending a signal to the result of the workflow that waited for it."""
    sample = Sample(1)
    with rig() as processes:
        async with Client.connect(processes.address) as client:
            for number in range(count):
                handle = await client.start(flows.echo, id=f"echo-{number}", task_queue=flows.QUEUE)
                await _until_waiting(handle)
                began = time.perf_counter()
                await handle.signal(flows.go, 1.0)
                await handle.result()
                sample.latencies_s.append(time.perf_counter() - began)
    return {
        "p50_ms": round(sample.percentile_ms(0.5), 2),
        "p99_ms": round(sample.percentile_ms(0.99), 2),
    }


async def timers(count: int) -> Figures:
    """Measures by how much timers fire late that are due within two seconds, from the histories."""
    sample = Sample(count)
    with rig() as processes:
        async with Client.connect(processes.address) as client:
            handles = [
                await client.start(
                    flows.nap, 3 + 2 * n / count, id=f"nap-{n}", task_queue=flows.QUEUE
                )
                for n in range(count)
            ]
            for handle in handles:
                await handle.result()
                sample.latencies_s.append(_lateness_s(await handle.history()))
    return {
        "p50_ms": round(sample.percentile_ms(0.5), 2),
        "p99_ms": round(sample.percentile_ms(0.99), 2),
    }


def _lateness_s(history: History) -> float:
    """Returns by how much the timer of a history fired after it was due."""
    events = {event.WhichOneof("event"): event for event in history.events}
    due = events["timer_scheduled"].timer_scheduled.fire_at
    fired = events["timer_fired"].timestamp
    return float(fired.ToMicroseconds() - due.ToMicroseconds()) / 1e6


async def idle(seconds: float) -> Figures:
    """Measures what a server with a connected, idle worker costs."""
    with rig() as processes:
        async with Client.connect(processes.address) as client:
            await client.execute(flows.one, 0, id="warm-up", task_queue=flows.QUEUE)
            statements = processes.counted()["statements"]
            used = cpu_s(processes.server.pid)
            await asyncio.sleep(seconds)
            used = cpu_s(processes.server.pid) - used
            statements = processes.counted()["statements"] - statements
            return {
                "cpu_percent": round(100 * used / seconds, 2),
                "statements_per_s": round(statements / seconds, 2),
                "rss_mb": round(processes.peak_rss_mb()["server"]),
            }


async def _embedded(workflow: Any, argument: int, in_flight: int) -> Figures:
    with tempfile.TemporaryDirectory(prefix="perdure-bench-") as folder:
        path = Path(folder) / "perdure.db"
        worker = WorkerOptions(
            flows.QUEUE,
            flows.WORKFLOWS,
            flows.ACTIVITIES,
            max_activities=1_000,
            max_workflow_tasks=1_000,
        )
        before: list[float] = []
        async with Client.embedded(path, workers=[worker]) as client:
            sample, runs = await _span(
                client, workflow, argument, in_flight, lambda: before.append(cpu_s())
            )
            used = cpu_s() - before[0]
        figures = _figures(sample)
        figures["cpu_s_per_1000"] = {"process": round(used / len(sample.latencies_s) * 1e3, 3)}
        if not histories_are_whole(Path(folder), {"COMPLETED": runs}):
            raise BenchError("the database does not hold what was run")
    return figures


async def _span(
    client: Client,
    workflow: Any,
    argument: int,
    in_flight: int,
    warmed_up: Callable[[], None] = lambda: None,
) -> tuple[Sample, int]:
    """Warms up, then measures; returns the sample and the number of all runs."""
    warm = await keep_in_flight(
        client, workflow, argument, in_flight=in_flight, seconds=SECONDS / 5, prefix="warm"
    )
    warmed_up()
    sample = await keep_in_flight(
        client, workflow, argument, in_flight=in_flight, seconds=SECONDS, prefix="run"
    )
    return sample, len(warm.latencies_s) + len(sample.latencies_s)


def _figures(sample: Sample) -> Figures:
    if not 0.9 < sample.little < 1.1:
        raise BenchError(f"Little's law does not hold: {sample.little:.2f}")
    return {
        "per_s": round(sample.rate, 1),
        "p50_ms": round(sample.percentile_ms(0.5), 2),
        "p99_ms": round(sample.percentile_ms(0.99), 2),
    }


def _check(processes: Rig, runs: int) -> None:
    if processes.worker.poll() is not None:
        raise BenchError("the worker died")
    if not histories_are_whole(processes.folder, {"COMPLETED": runs}):
        raise BenchError("the database does not hold what was run")


async def _until_waiting(handle: Any) -> None:
    """Waits until the workflow's code waits for its signal, so that only the signal is measured."""
    async for event in handle.watch():
        if event.HasField("workflow_awaiting_signal"):
            return


def sqlite_version() -> str:
    """Returns the version of the database library."""
    with closing(sqlite3.connect(":memory:")) as database:
        return str(database.execute("SELECT sqlite_version()").fetchone()[0])
