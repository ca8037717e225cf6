"""What is measured of the REST and SSE door: a real Envoy in front of a real server."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import grpc

from perdure import Client
from perdure.v1.admin_service_pb2 import GetHealthRequest
from perdure.v1.admin_service_pb2_grpc import AdminServiceStub
from tests.bench import flows
from tests.bench.load import Sample, keep_in_flight
from tests.bench.rig import Rig, cpu_s, histories_are_whole, rig, rss_mb
from tests.bench.scenarios import SECONDS, BenchError, Figures
from tests.bench.web import Connection, connected
from tests.support.envoy import running_envoy

_WAIT = "wait_secs=60"


@dataclass(slots=True, frozen=True)
class Door:
    """A server and a worker with an Envoy before them."""

    processes: Rig
    http: str
    envoy_pid: int


@asynccontextmanager
async def door() -> AsyncIterator[Door]:
    """Starts server, worker and Envoy; ends all three."""
    with rig() as processes:
        async with running_envoy(processes.address) as envoy:
            yield Door(processes, envoy.address, envoy.pid)


async def against_unary(in_flight: int) -> Figures:
    """Measures start to result over REST and over unary gRPC, by turns, on one server.

    Both make two calls: a start, and a wait for the result.
    """
    rest, unary = Sample(in_flight), Sample(in_flight)
    async with (
        door() as doors,
        Client.connect(doors.processes.address, use_session=False) as client,
    ):
        runs = 0
        for turn in range(4):
            seconds = SECONDS / 5 if turn == 0 else SECONDS / 2
            over_rest = await _over_rest(doors.http, in_flight, seconds, f"rest-{turn}")
            over_grpc = await keep_in_flight(
                client, flows.one, 0, in_flight=in_flight, seconds=seconds, prefix=f"grpc-{turn}"
            )
            runs += len(over_rest.latencies_s) + len(over_grpc.latencies_s)
            if turn:
                _add(rest, over_rest)
                _add(unary, over_grpc)
        if not histories_are_whole(doors.processes.folder, {"COMPLETED": runs}):
            raise BenchError("the database does not hold what was run")
    return {
        "per_s": round(rest.rate, 1),
        "unary_per_s": round(unary.rate, 1),
        "share": round(rest.rate / unary.rate, 3),
        "p50_ms": round(rest.percentile_ms(0.5), 2),
        "unary_p50_ms": round(unary.percentile_ms(0.5), 2),
    }


async def watched(events: int, rate: int) -> Figures:
    """Measures how long after its commit each of many events reaches one SSE watcher."""
    sample = Sample(1)
    targets = 50
    async with door() as doors, Client.connect(doors.processes.address) as client:
        handles = [
            await client.start("nobody", id=f"target-{n}", task_queue="unserved")
            for n in range(targets)
        ]
        async with connected(doors.http) as connection:
            stream = connection.stream("/api/v1/events/stream?kind=signal_received")
            await anext(stream)
            reading = asyncio.create_task(_delays(stream, events, sample))
            async with asyncio.TaskGroup() as sending:
                began = time.perf_counter()
                for number in range(events):
                    await _until(began + number / rate)
                    sending.create_task(handles[number % targets].signal("tick", number))
            await asyncio.wait_for(reading, 30)
    return {
        "events": len(sample.latencies_s),
        "p50_ms": round(sample.percentile_ms(0.5), 2),
        "p99_ms": round(sample.percentile_ms(0.99), 2),
    }


async def idle_watchers(number: int, seconds: float) -> Figures:
    """Measures what idle SSE clients add to server and Envoy."""
    async with door() as doors, AsyncExitStack() as stack:
        pids = (doors.processes.server.pid, doors.envoy_pid)
        async with connected(doors.http) as connection:
            await connection.call("GET", "/api/v1/health")
        before = sum(map(rss_mb, pids))
        idle_before = await _cpu_percent(pids, seconds)
        for _ in range(number):
            connection = await stack.enter_async_context(connected(doors.http))
            stream = connection.stream("/api/v1/events/stream")
            await anext(stream)
            stack.push_async_callback(stream.aclose)  # type: ignore[attr-defined]
        after = sum(map(rss_mb, pids))
        idle_after = await _cpu_percent(pids, seconds)
    return {
        "added_mb": round(after - before, 1),
        "cpu_percent_before": round(idle_before, 2),
        "cpu_percent": round(idle_after, 2),
    }


async def payload(size: int, repeats: int) -> Figures:
    """Measures a start with a large input, and reading it back; it must be the same."""
    sent, read = Sample(1), Sample(1)
    text = "x" * (size - 2)
    async with door() as doors, connected(doors.http) as connection:
        for number in range(repeats):
            body = json.dumps(
                {"workflow_type": "nobody", "workflow_id": f"large-{number}", "input": text}
            ).encode()
            await _timed(sent, lambda body=body: connection.call("POST", "/api/v1/workflows", body))
            path = f"/api/v1/workflows/large-{number}"
            reply = await _timed(read, lambda path=path: connection.call("GET", path))
            if json.loads(reply.body)["input"] != text:
                raise BenchError("the payload came back changed")
    return {
        "post_p50_ms": round(sent.percentile_ms(0.5), 2),
        "get_p50_ms": round(read.percentile_ms(0.5), 2),
    }


async def hop(repeats: int) -> Figures:
    """Measures what Envoy adds to a call that does nothing, over REST and over gRPC."""
    direct, native, rest = Sample(1), Sample(1), Sample(1)
    async with (
        door() as doors,
        connected(doors.http) as connection,
        grpc.aio.insecure_channel(doors.processes.address) as straight,
        grpc.aio.insecure_channel(doors.http) as through,
    ):
        stubs = AdminServiceStub(straight), AdminServiceStub(through)
        calls = (
            (direct, lambda: stubs[0].GetHealth(GetHealthRequest())),
            (native, lambda: stubs[1].GetHealth(GetHealthRequest())),
            (rest, lambda: connection.call("GET", "/api/v1/health")),
        )
        for turn in range(repeats + 50):
            for sample, call in calls:
                await _timed(sample if turn >= 50 else Sample(1), call)
    return {
        "direct_p50_ms": round(direct.percentile_ms(0.5), 3),
        "grpc_added_ms": round(native.percentile_ms(0.5) - direct.percentile_ms(0.5), 3),
        "rest_added_ms": round(rest.percentile_ms(0.5) - direct.percentile_ms(0.5), 3),
    }


async def _over_rest(address: str, in_flight: int, seconds: float, prefix: str) -> Sample:
    sample = Sample(in_flight)
    numbers = count()
    began = time.perf_counter()
    until = began + seconds

    async def lane() -> None:
        async with connected(address) as connection:
            while (started := time.perf_counter()) < until:
                await _run_one(connection, f"{prefix}-{next(numbers)}")
                sample.latencies_s.append(time.perf_counter() - started)

    await asyncio.gather(*(lane() for _ in range(in_flight)))
    sample.wall_s = time.perf_counter() - began
    return sample


async def _run_one(connection: Connection, workflow_id: str) -> None:
    body = (
        f'{{"workflow_type":"one","workflow_id":"{workflow_id}",'
        f'"task_queue":"{flows.QUEUE}","input":0}}'
    )
    started = await connection.call("POST", "/api/v1/workflows", body.encode())
    ended = await connection.call("GET", f"/api/v1/workflows/{workflow_id}/result?{_WAIT}")
    if (started.status, ended.status) != (201, 200):
        raise BenchError(f"{workflow_id}: {started.status}, {ended.status}")


async def _delays(stream: AsyncIterator[bytes], events: int, sample: Sample) -> None:
    seen = 0
    async for chunk in stream:
        now = time.time()
        for line in chunk.split(b"\n"):
            if line.startswith(b"data: "):
                seen += 1
                sample.latencies_s.append(now - json.loads(line[6:])["timestamp"])
        if seen == events:
            return


def _add(total: Sample, part: Sample) -> None:
    total.latencies_s += part.latencies_s
    total.wall_s += part.wall_s


async def _timed(sample: Sample, call: Callable[[], Awaitable[Any]]) -> Any:
    began = time.perf_counter()
    answer = await call()
    sample.latencies_s.append(time.perf_counter() - began)
    return answer


async def _until(when: float) -> None:
    delay = when - time.perf_counter()
    if delay > 0:
        await asyncio.sleep(delay)


async def _cpu_percent(pids: tuple[int, ...], seconds: float) -> float:
    used = sum(map(cpu_s, pids))
    await asyncio.sleep(seconds)
    return 100 * (sum(map(cpu_s, pids)) - used) / seconds
