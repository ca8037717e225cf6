"""What stands in for activities in tests."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from unittest.mock import AsyncMock

import pytest

from perdure import RetryPolicy, activity, inject, workflow
from perdure.errors import WorkflowFailedError
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
