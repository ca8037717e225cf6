"""The worker that the crash tests run: `python -m tests.crash.worker HOST:PORT`.

Its activities note each execution in a file, so that tests see also those that no history shows.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from perdure import Client, RetryPolicy, Worker, activity, workflow
from perdure import signal as signal_of

FOLDER = "CRASH_TEST_FOLDER"
ENDLESS = "CRASH_TEST_ENDLESS"
QUEUE = "crash"
EXECUTIONS = "executions"

word = signal_of("word", int)


@dataclass(frozen=True)
class Wait:
    """Says to wait until a file exists."""

    number: int
    gate: str


@dataclass(frozen=True)
class Block:
    """Says to stop the whole event loop, beside some other steps."""

    seconds: float
    others: int


@activity(retry=RetryPolicy(max_attempts=5))
async def double(number: int) -> int:
    note_execution()
    await asyncio.sleep(number % 7 / 100)
    return 2 * number


@activity(retry=RetryPolicy(max_attempts=5))
def double_in_thread(number: int) -> int:
    note_execution()
    time.sleep(number % 5 / 100)
    return 2 * number


@activity(retry=RetryPolicy(max_attempts=5))
async def wait_at(wait: Wait) -> int:
    note_execution()
    gate = folder() / wait.gate
    while not gate.exists():
        await asyncio.sleep(0.02)
    return wait.number


@activity(retry=RetryPolicy(max_attempts=5))
def wait_in_thread(wait: Wait) -> int:
    note_execution()
    gate = folder() / wait.gate
    while not gate.exists():
        time.sleep(0.02)
    return wait.number


@activity(retry=RetryPolicy(max_attempts=5))
async def block_the_loop(seconds: float) -> int:
    note_execution()
    time.sleep(seconds)  # noqa: ASYNC251
    return 0


@workflow(task_queue=QUEUE)
async def journey(number: int) -> int:
    """A bit of everything: a step, two side by side, a timer, a signal, a step; 12 x number."""
    first = await double(number)
    second, third = await asyncio.gather(double(first), double_in_thread(first))
    await asyncio.sleep(number % 3 / 20)
    said = await word.wait()
    last = await double(number)
    return first // 2 + second + third + said + last


@workflow(task_queue=QUEUE)
async def gather_at_gates(gates: list[str]) -> list[int]:
    """Waits at every gate twice: in a step on the loop, and in one in a thread."""
    waits = [Wait(number, gate) for number, gate in enumerate(gates)]
    return await asyncio.gather(*map(wait_at, waits), *map(wait_in_thread, waits))


@workflow(task_queue=QUEUE)
async def block_beside_others(block: Block) -> int:
    """Blocks the worker's loop while other steps run, on the loop and in threads."""
    gates = [Wait(number, "unblocked") for number in range(block.others // 2)]
    others = asyncio.gather(*map(wait_at, gates), *map(wait_in_thread, gates))
    await word.wait()
    await block_the_loop(block.seconds)
    return len(await others)


@workflow(task_queue=QUEUE)
async def compute(number: int) -> int:
    """Never waits again on workers that are told so."""
    doubled = await double(number)
    while os.environ.get(ENDLESS):
        doubled = abs(doubled)
    return doubled


async def add_noted(total: int, number: int) -> int:
    note("stairs", number, 1)
    await asyncio.sleep(0.005)
    return total + number


@workflow(task_queue=QUEUE)
async def climb(count: int) -> int:
    """Local steps one after another; the sum of their numbers."""
    total = 0
    for number in range(1, count + 1):
        total = await workflow.step(add_noted, total, number)
    return total


def folder() -> Path:
    """The folder that tests and workers share."""
    return Path(os.environ[FOLDER])


def note_execution() -> None:
    """Notes that an activity begins to run."""
    info = activity.info()
    note(info.workflow_id, info.activity_seq, info.attempt)


def note(workflow_id: str, number: int, attempt: int) -> None:
    """Notes that something begins to run in this process."""
    line = f"{workflow_id} {number} {attempt} {os.getpid()}\n"
    file = os.open(folder() / EXECUTIONS, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(file, line.encode())
    os.close(file)


async def main(address: str) -> None:
    """Works until it is told to stop."""
    async with Client.connect(address) as client:
        worker = Worker(
            client,
            QUEUE,
            [journey, gather_at_gates, block_beside_others, compute, climb],
            [double, double_in_thread, wait_at, wait_in_thread, block_the_loop],
            workflow_task_timeout=timedelta(seconds=1),
        )
        working = asyncio.create_task(worker.run())
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, working.cancel)
        print("ready", flush=True)
        await asyncio.gather(working, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
