"""Workflows whose histories are kept in `histories/`, one per race or way of waiting."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from perdure import ActivityError, SearchAttributeKey, activity, query, signal, update, workflow
from perdure._scope import CancelScope
from perdure._workflow import workflow_of
from tests.replay.beginnings import BEGINNINGS
from tests.replay.changes import CHANGES
from tests.replay.family import FAMILY
from tests.replay.stepping import STEPPING

approvals = signal("approvals", str)
STAGE = SearchAttributeKey.keyword("stage")
TAGS = SearchAttributeKey.keyword_list("tags")
DUE = datetime(2026, 3, 29, 1, tzinfo=UTC)


@activity
async def charge(order: str) -> str:
    return f"charged {order}"


@activity
def refund(order: str) -> str:
    return f"refunded {order}"


@workflow
async def one_activity(order: str) -> str:
    return await charge(order)


@workflow
async def timer_or_signal(order: str) -> str:
    try:
        return f"{order}: {await approvals.wait(timeout=timedelta(hours=1))}"
    except TimeoutError:
        return f"{order}: nobody answered"


@workflow
async def impatient(order: str) -> str:
    try:
        return await asyncio.wait_for(charge(order), timeout=30)
    except TimeoutError:
        return await refund(order)


@workflow
async def compensating(order: str) -> str:
    try:
        charged = await charge(order)
        await approvals.wait()
    except asyncio.CancelledError:
        await refund(order)
        raise
    return charged


@workflow
async def closing(order: str) -> str:
    return await approvals.wait() + order


@workflow
async def fan_out(count: int) -> list[str]:
    return list(await asyncio.gather(*(charge(str(n)) for n in range(count))))


@workflow
async def group(count: int) -> str:
    ended = "all charged"
    try:
        async with asyncio.TaskGroup() as tasks:
            for n in range(count):
                tasks.create_task(charge(str(n)))
    except* ActivityError as errors:
        ended = f"{len(errors.exceptions)} failed"
    return ended


@workflow
async def first_of(count: int) -> str:
    tasks = {asyncio.ensure_future(charge(str(n))) for n in range(count)}
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    return ",".join([task.result() for task in done])


@workflow
async def failing(order: str) -> str:
    await asyncio.sleep(60)
    raise ValueError(f"{order} is wrong")


@workflow
class Basket:
    """Takes what callers say by methods, until it is paid or given up."""

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.things: list[str] = []
        self.paid = False

    async def run(self, owner: str) -> str:
        try:
            await workflow.wait_condition(lambda: self.paid, timeout=timedelta(days=1))
        except TimeoutError:
            return f"{owner} went away"
        await workflow.wait_condition(workflow.all_handlers_finished)
        return f"{owner} has {', '.join(self.things)}"

    @signal
    def put(self, thing: str) -> None:
        self.things.append(thing)

    @signal
    async def pay(self) -> None:
        self.paid = True
        self.things.append(await charge(self.owner))


@workflow
class Cart:
    """Does what callers ask for until it is paid, and answers each."""

    def __init__(self) -> None:
        self.things: list[str] = []
        self.paid = False

    async def run(self) -> list[str]:
        await workflow.wait_condition(lambda: self.paid)
        await workflow.wait_condition(workflow.all_handlers_finished)
        return self.things

    @update
    def add(self, thing: str) -> int:
        self.things.append(thing)
        return len(self.things)

    @add.validator
    def check_add(self, thing: str) -> None:
        if len(self.things) == 2:
            raise ValueError(f"no room for {thing}")

    @update
    async def pay(self) -> str:
        receipt = await charge("cart")
        self.paid = True
        return receipt

    @query
    def size(self) -> int:
        return len(self.things)

    @query
    def has(self, thing: str) -> bool:
        return thing in self.things


@workflow
async def stoppable(order: str) -> str:
    async with workflow.scope() as scope:
        stopping = asyncio.create_task(stop_on_approval(scope))
        await charge(order)
        stopping.cancel()
    return await refund(order) if scope.cancelled else "charged"


async def stop_on_approval(scope: CancelScope) -> None:
    await approvals.wait()
    scope.cancel()


@workflow
async def as_they_come(count: int) -> list[str]:
    return [await one for one in workflow.as_completed(charge(str(n)) for n in range(count))]


@workflow
async def found_by_what_it_does(order: str) -> dict[str, str]:
    workflow.upsert_search_attributes({STAGE: "charging", "order": order, "attempts": 1})
    await charge(order)
    workflow.upsert_search_attributes({STAGE: "waiting", "attempts": None})
    decision = await approvals.wait()
    workflow.upsert_search_attributes({STAGE: decision, TAGS: ["paid", "b"], "due": DUE})
    return {name: str(value) for name, value in workflow.search_attributes().items()}


@workflow
async def counting(count: int) -> str:
    if await approvals.wait() != "stop":
        workflow.continue_as_new(count + 1)
    return f"stopped at {count}"


ALL = [
    *BEGINNINGS,
    *FAMILY,
    *CHANGES,
    *STEPPING,
    one_activity,
    timer_or_signal,
    impatient,
    compensating,
    closing,
    fan_out,
    group,
    first_of,
    failing,
    workflow_of(Basket),
    workflow_of(Cart),
    stoppable,
    as_they_come,
    found_by_what_it_does,
    counting,
]
