"""The worker of the chaos tests: `python -m tests.chaos.flows TARGET`, and its workflows.

A trip has one of each: a step, a timer, a child that signals it, signals, a step. What comes next
is known at every moment, so its history shows for how long it was left lying.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from datetime import timedelta

from perdure import Client, RetryPolicy, Worker, activity, workflow
from perdure import signal as signal_of

QUEUE = "chaos"
SIGNALS = 2
"""What a caller tells a trip; its child tells it one thing more."""
STEPS = 2
STEP_S_MAX = 0.3
"""The longest that a step takes."""
TIMER_S_MAX = 1.5

word = signal_of("word", int)


@activity(
    retry=RetryPolicy(
        max_attempts=0, initial_interval=timedelta(milliseconds=50), backoff_coefficient=1
    )
)
async def double(number: int) -> int:
    await asyncio.sleep(number % 4 / 3 * STEP_S_MAX)
    return 2 * number


@workflow(task_queue=QUEUE)
async def leg(number: int) -> int:
    """Signals its parent, then ends."""
    await workflow.external(trip_id(number)).signal(word, number)
    return number


@workflow(task_queue=QUEUE)
async def trip(number: int) -> int:
    """Returns `result_of(number)`."""
    first = await double(number)
    await asyncio.sleep((number % 4 + 1) / 4 * TIMER_S_MAX)
    gone = await leg(number)
    said = [await word.wait() for _ in range(SIGNALS + 1)]
    return first + gone + sum(said) + await double(number)


def trip_id(number: int) -> str:
    """Returns the workflow id of a trip."""
    return f"trip-{number}"


def result_of(number: int) -> int:
    """What a trip returns that hears its number with each signal."""
    return (STEPS * 2 + SIGNALS + 2) * number


async def main(target: str) -> None:
    """Works until it is told to stop."""
    async with Client.connect(target, patience=timedelta(minutes=5)) as client:
        working = asyncio.create_task(Worker(client, QUEUE, [trip, leg], [double]).run())
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, working.cancel)
        print("ready", flush=True)
        await asyncio.gather(working, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
