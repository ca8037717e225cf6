"""The worker of the chaos tests: `python -m tests.chaos.flows TARGET`, and its workflows.

A trip has one of each: a step, a timer, a child that signals it, signals, a step. What comes next
is known at every moment, so its history shows for how long it was left lying. An errand has what
leaves rows of every kind: updates, a snapshot, search attributes, a child, a step; some are left
with all of it pending.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from datetime import timedelta

from perdure import Client, RetryPolicy, Worker, activity, query, update, workflow
from perdure import signal as signal_of
from tests.chaos.attic import BRIEF, LASTING, make_namespaces

QUEUE = "chaos"
SIGNALS = 2
"""What a caller tells a trip; its child tells it one thing more."""
STEPS = 2
STEP_S_MAX = 0.3
"""The longest that a step takes."""
TIMER_S_MAX = 1.5
THINGS = 3
"""What an errand takes."""

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


@workflow(task_queue=QUEUE)
async def stroll(number: int) -> int:
    """Does nothing."""
    return number


@workflow(task_queue=QUEUE)
class Errand:
    """Takes things one by one until it has all of them, and returns them."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.things: list[int] = []

    async def run(self, number: int) -> list[int]:
        """Ends by itself, unless it is to linger."""
        workflow.upsert_search_attributes({"errand": str(number)})
        await workflow.wait_condition(lambda: len(self.things) == THINGS)
        if lingers(number):
            await asyncio.gather(asyncio.sleep(3600), double.options(task_queue="nobody")(number))
        await asyncio.gather(stroll(number), double(number))
        return self.things

    @update
    def put(self, thing: int) -> int:
        """Takes one more; says how many there are."""
        self.things.append(thing)
        return len(self.things)

    @query
    def size(self) -> int:
        """How many there are."""
        return len(self.things)


def lingers(number: int) -> bool:
    """Whether an errand never ends by itself, with a timer and an activity pending."""
    return number % 4 == 0


def trip_id(number: int) -> str:
    """Returns the workflow id of a trip."""
    return f"trip-{number}"


def result_of(number: int) -> int:
    """What a trip returns that hears its number with each signal."""
    return (STEPS * 2 + SIGNALS + 2) * number


async def main(target: str) -> None:
    """Works in every namespace until it is told to stop."""
    async with contextlib.AsyncExitStack() as stack:
        working = []
        for namespace in ("main", BRIEF, LASTING):
            client = await stack.enter_async_context(
                Client.connect(target, patience=timedelta(minutes=5), namespace=namespace)
            )
            if not working:
                await make_namespaces(client)
            worker = Worker(client, QUEUE, [trip, leg, stroll, Errand], [double])
            working.append(asyncio.create_task(worker.run()))
        everything = asyncio.gather(*working, return_exceptions=True)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, everything.cancel)
        print("ready", flush=True)
        with contextlib.suppress(asyncio.CancelledError):
            await everything


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
