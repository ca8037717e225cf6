"""The server process of the bench: the real one, which also tells what it counted.

`python -m tests.bench.server DATA` prints its address; DATA is a folder, or a PostgreSQL URL.
Then, for each line on its standard input, one line of JSON. Counting wraps the two streams and is
left out unless `--count` is given.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import uvloop

from perdure.v1.worker_service_pb2 import WorkResponse
from perdure.v1.workflow_service_pb2 import SessionResponse
from perdure_server.app import (
    DatabaseClock,
    SystemClock,
    SystemIds,
    _settle_memory,
    listening,
    running_engine,
)
from perdure_server.store.postgres.store import PostgresStore
from perdure_server.store.sqlite.store import SqliteStore


@dataclass(slots=True)
class Traffic:
    """What went over the worker and client streams."""

    messages: int = 0
    task_bytes: int = 0
    refusals: int = 0
    """Reports and calls that were answered with an error, whatever it was."""


def count(behaviour: Any, traffic: Traffic, *, answer: type[Any], tasks: bool) -> Any:
    """Wraps a stream so that its messages are counted, their refusals, and the bytes of tasks."""

    async def incoming(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for request in requests:
            traffic.messages += 1
            yield request

    async def counted(requests: AsyncIterator[Any], *more: Any) -> AsyncIterator[Any]:
        async for data in behaviour(incoming(requests), *more):
            traffic.messages += 1
            traffic.task_bytes += len(data) if tasks else 0
            traffic.refusals += refusals(answer.FromString(data))
            yield data

    return counted


def refusals(answer: WorkResponse | SessionResponse) -> int:
    """Returns how many of the answers in a message say no, for whatever reason."""
    if isinstance(answer, WorkResponse):
        return sum(bool(result.reason) for result in answer.results)
    return sum(reply.HasField("error") for reply in answer.replies)


async def serve(data: str, *, counting: bool) -> None:
    """Serves until standard input ends."""
    is_url = data.startswith("postgresql:")
    store = PostgresStore(data) if is_url else SqliteStore(Path(data) / "perdure.db")
    clock = DatabaseClock() if is_url else SystemClock()
    traffic = Traffic()
    async with running_engine(store, clock, SystemIds()) as engine:
        if counting:
            workers: Any = engine.workers
            workflows: Any = engine.workflows
            workers.work = count(workers.work, traffic, answer=WorkResponse, tasks=True)
            session = count(workflows.session, traffic, answer=SessionResponse, tasks=False)
            workflows.session = session
        async with listening(engine, "127.0.0.1:0", 1.0) as address:
            _settle_memory()
            sys.stdout.write(f"{address}\n")
            sys.stdout.flush()
            while await asyncio.to_thread(sys.stdin.readline):
                sys.stdout.write(json.dumps(asdict(store.stats) | asdict(traffic)) + "\n")
                sys.stdout.flush()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(sys.argv[1], counting="--count" in sys.argv))
