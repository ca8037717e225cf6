"""What stands in for activities in tests."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from unittest.mock import AsyncMock

import pytest

from perdure import RetryPolicy, activity, inject, workflow
from perdure.errors import ChildWorkflowError, WorkflowFailedError
from perdure.testing import Environment, Mock

ONCE = RetryPolicy(max_attempts=1)


@dataclass
class Order:
    cents: int


@dataclass
class Receipt:
    cents: int


@activity(retry=ONCE)
async def charge(order: Order) -> Receipt:
    raise AssertionError("a test must not charge")


@activity(task_queue="gpu")
def render(frame: int = 1) -> int:
    raise AssertionError("a test must not render")


@activity
async def stamp(db: object = inject()) -> str:
    raise AssertionError("a test has no database")


@workflow
async def checkout(order: Order) -> int:
    return (await charge(order)).cents


@workflow
async def film() -> list[int | str]:
    return [await render(), await render(7), await stamp()]


async def test_a_fake_stands_in_and_keeps_its_calls():
    async with Environment([checkout], [charge], mocks={charge: lambda _: Receipt(9)}) as env:
        assert await env.client.execute(checkout, Order(5)) == 9
        assert env.mocks["charge"].calls == [Order(5)]


async def test_a_fake_may_be_async_and_named():
    async def fake(order: Order) -> Receipt:
        return Receipt(order.cents * 2)

    async with Environment([checkout], mocks={"charge": fake}) as env:
        assert await env.client.execute(checkout, Order(5)) == 10
        assert env.mocks["charge"].calls == [Order(5)]


async def test_a_mock_of_the_standard_library_gets_the_value_as_it_came():
    fake = AsyncMock(return_value={"cents": 3})
    async with Environment([checkout], mocks={"charge": fake}) as env:
        assert await env.client.execute(checkout, Order(5)) == 3
    fake.assert_awaited_once_with({"cents": 5})


async def test_a_fake_keeps_queue_and_defaults_and_needs_no_resources():
    mocks = {render: lambda frame=0: frame, stamp: lambda: "now"}
    async with Environment([film], mocks=mocks) as env:
        assert await env.client.execute(film) == [0, 7, "now"]
        assert env.mocks["render"].calls == [None, 7]
        assert env.mocks["stamp"].calls == [None]


async def test_a_fake_that_fails_is_tried_again():
    answers = iter([ValueError("not yet"), Receipt(1)])

    def flaky(order: Order) -> Receipt:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    @workflow
    async def patient(order: Order) -> int:
        retry = RetryPolicy(initial_interval=timedelta(hours=1), max_attempts=2)
        return (await charge.options(retry=retry)(order)).cents

    fake = Mock(charge, flaky)
    async with Environment([patient], [fake]) as env:
        assert await env.client.execute(patient, Order(5)) == 1
    assert fake.calls == [Order(5)] * 2


async def test_a_fake_may_refuse():
    def refuse(order: Order) -> Receipt:
        raise ValueError("no money")

    async with Environment([checkout], mocks={charge: refuse}) as env:
        with pytest.raises(WorkflowFailedError, match="on attempt 1: ValueError: no money"):
            await env.client.execute(checkout, Order(5))


async def test_it_runs_outside_of_workflows_too():
    fake = Mock(charge, lambda order: Receipt(order.cents))
    assert await fake(Order(4)) == Receipt(4)
    assert fake.calls == [Order(4)]


async def test_the_next_attempts_can_fail_or_hang():
    @workflow
    async def patient(order: Order) -> int:
        retry = RetryPolicy(initial_interval=timedelta(hours=1), max_attempts=4)
        slow = charge.options(retry=retry, start_to_close=timedelta(days=1))
        return (await slow(order)).cents

    async with Environment([patient], [charge], mocks={charge: lambda _: Receipt(7)}) as env:
        env.mocks["charge"].fail(OSError("down"), times=2)
        env.mocks["charge"].hang()
        begun = env.now()
        assert await env.client.execute(patient, Order(5)) == 7
        # Three waits of an hour, and a day until the silent attempt was given up.
        assert env.now() - begun == timedelta(days=1, hours=3)
        assert env.mocks["charge"].calls == [Order(5)] * 4


def weigh(item: str, *, times: int = 1) -> int:
    raise AssertionError("a test has no scales")


async def label(item: str, grams: int) -> str:
    raise AssertionError("a test has no printer")


@workflow
async def pack(item: str) -> str:
    grams = await workflow.step(weigh, item)
    await workflow.sleep(3600)
    return await workflow.step(label, item, grams, name=f"label {item}")


@pytest.mark.parametrize("max_cached_runs", [0, 1000])
async def test_steps_have_fakes_by_function_and_by_name(max_cached_runs):
    async def fake_label(item: str, grams: int) -> str:
        return f"{item} {grams}"

    steps = {weigh: len, "label cup": fake_label}
    async with Environment([pack], steps=steps, max_cached_runs=max_cached_runs) as env:
        assert await env.client.execute(pack, "cup") == "cup 3"
        assert env.steps["weigh"].calls == [("cup",)]
        assert env.steps["label cup"].calls == [("cup", 3)]
        assert repr(env.steps["weigh"]) == "<mock of step 'weigh'>"


async def test_a_step_without_a_fake_is_run():
    @workflow
    async def both() -> list[int]:
        return [await workflow.step(len, "four"), await workflow.step(weigh, "cup")]

    async with Environment([both], steps={weigh: AsyncMock(return_value=9)}) as env:
        assert await env.client.execute(both) == [4, 9]


async def test_the_fake_of_a_step_can_fail_and_is_tried_again():
    @workflow
    async def once(item: str) -> int:
        return await workflow.step(weigh, item)

    @workflow
    async def again(item: str) -> int:
        return await workflow.step(weigh, item, retry=RetryPolicy(max_attempts=3))

    async with Environment([once, again], steps={weigh: len}) as env:
        scales = env.steps["weigh"]
        scales.fail(OSError("no battery"))
        with pytest.raises(WorkflowFailedError, match="OSError: no battery"):
            await env.client.execute(once, "cup")
        scales.fail(OSError("no battery"), times=2)
        assert await env.client.execute(again, "cup") == 3
        assert scales.calls == [("cup",)] * 4


@workflow(task_queue="money")
async def refund(order: Order) -> Receipt:
    raise AssertionError("a test must not refund")


@workflow
class Audit:
    async def run(self) -> str:
        raise AssertionError("a test has no auditors")


@workflow
async def returns(order: Order) -> list[int | str]:
    receipt = await refund(order)
    audit = workflow.start_child(Audit)
    posted = await workflow.execute_child("post", "book")
    return [receipt.cents, await audit.result(), posted]


@pytest.mark.parametrize("max_cached_runs", [0, 1000])
async def test_children_have_fakes(max_cached_runs):
    async def slowly() -> str:
        await workflow.sleep(timedelta(days=30))
        return "fine"

    children = {refund: lambda order: Receipt(order.cents), Audit: slowly, "post": lambda _: 1}
    async with Environment(
        [returns, refund, Audit], children=children, max_cached_runs=max_cached_runs
    ) as env:
        begun = env.now()
        assert await env.client.execute(returns, Order(5)) == [5, "fine", 1]
        assert env.now() - begun == timedelta(days=30)
        called = {name: fake.calls for name, fake in env.children.items()}
        assert called == {"refund": [Order(5)], "Audit": [None], "post": ["book"]}
        assert repr(env.children["post"]) == "<mock of workflow 'post'>"


@pytest.mark.parametrize("max_cached_runs", [0, 1000])
async def test_the_fake_of_a_child_can_fail(max_cached_runs):
    @workflow
    async def insists(order: Order) -> int:
        try:
            await refund(order)
        except ChildWorkflowError:
            await workflow.sleep(60)
        return (await refund(order)).cents

    children = {refund: lambda order: Receipt(order.cents)}
    async with Environment([insists], children=children, max_cached_runs=max_cached_runs) as env:
        env.children["refund"].fail(OSError("closed"))
        assert await env.client.execute(insists, Order(5)) == 5
        assert env.children["refund"].calls == [Order(5)] * 2
