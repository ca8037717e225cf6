"""A process that holds the whole engine is killed in the middle; the next one finishes its work."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections import Counter
from pathlib import Path

from perdure import Client, WorkerOptions, activity, workflow

COUNT = 200


@activity
async def step(number: int) -> int:
    return number + 1


@workflow(task_queue="crash")
async def three_steps(number: int) -> int:
    for _ in range(3):
        number = await step(number)
    return number


def embedded(path):
    return Client.embedded(path, workers=[WorkerOptions("crash", [three_steps], [step])])


async def start_all(path):
    """The process that is killed: says so when all starts are acknowledged, then works on."""
    async with embedded(path) as client:
        starts = [client.start(three_steps, number, id=f"w-{number}") for number in range(COUNT)]
        handles = await asyncio.gather(*starts)
        await handles[0].result()
        print("in the middle", flush=True)  # noqa: T201
        await asyncio.get_running_loop().create_future()


async def test_what_was_acknowledged_finishes_exactly_once(tmp_path):
    path = tmp_path / "app.db"
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, path, stdout=asyncio.subprocess.PIPE
    )
    assert await process.stdout.readline()
    process.kill()
    assert await process.wait() == -signal.SIGKILL
    async with embedded(path) as client:
        assert len([run async for run in client.list()]) == COUNT
        for number in range(COUNT):
            handle = client.get_handle(f"w-{number}", result_type=int)
            assert await handle.result() == number + 3
            kinds = Counter(e.WhichOneof("event") for e in (await handle.history()).events)
            assert (kinds["activity_completed"], kinds["workflow_completed"]) == (3, 1)


if __name__ == "__main__":
    asyncio.run(start_all(Path(sys.argv[1])))
