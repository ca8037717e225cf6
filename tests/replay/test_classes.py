"""Workflows that are classes: their object, their signal methods, what is wrong with a class."""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass
from datetime import timedelta

import pytest

from perdure import ApplicationError, signal, workflow
from perdure._definition import registry
from perdure._methods import methods_of
from perdure._signal import SignalMethod
from perdure._workflow import Workflow, workflow_of
from tests.replay.rig import Rig, new_machine
from tests.replay.shop import Order, charge, tick


@workflow(task_queue="shop")
class Checkout:
    """Collects approvals."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.approved: list[str] = []

    async def run(self, order: Order) -> list[str]:
        assert order is self.order
        await workflow.wait_condition(lambda: len(self.approved) == order.amount)
        return self.approved

    @signal
    def approve(self, by: str) -> None:
        """Counts."""
        self.approved.append(by)

    @signal(name="approve-slowly")
    async def approve_after_charge(self, by: str) -> None:
        await charge(self.order)
        self.approved.append(by)

    @signal
    def hurry(self) -> None:
        self.order.amount = len(self.approved)


def rig_of(cls, value=None):
    return Rig(workflow_of(cls), value)


def test_a_class_stays_a_class():
    assert isinstance(Checkout, type)
    definition = workflow_of(Checkout)
    assert (definition.name, definition.task_queue) == ("Checkout", "shop")
    assert definition.__doc__ == "Collects approvals."
    checkout = Checkout(Order("o"))
    checkout.approve("ada")
    assert checkout.approved == ["ada"]
    assert registry([Checkout], Workflow) == {"Checkout": definition}


def test_methods_take_signals_in_the_order_of_their_arrival():
    rig = rig_of(Checkout, Order("o", 3))
    assert rig.run() == []
    rig.signal("approve-slowly", "slow").signal("approve", "ada")
    assert rig.run() == ["schedule_activity 1 charge"]
    rig.signal("approve", "bob").complete(1, "ok")
    assert rig.run() == ['complete_workflow ["ada","bob","slow"]']


def test_a_method_without_a_value():
    rig = rig_of(Checkout, Order("o", 3))
    rig.signal("approve", "ada").signal("hurry")
    assert rig.run() == ['complete_workflow ["ada"]']


def test_a_signal_in_the_first_task_finds_the_object():
    rig = rig_of(Checkout, Order("o", 1))
    assert rig.signal("approve", "ada").run() == ['complete_workflow ["ada"]']


def test_a_value_that_a_method_cannot_take_is_logged_and_not_handled(caplog):
    rig = rig_of(Checkout, Order("o", 1))
    rig.signal("approve", 7).signal("approve").signal("hurry", 7)
    assert rig.think() == []
    assert [r.levelno for r in caplog.records] == [logging.ERROR] * 3
    assert "signal 'approve' of workflow w-1 (run r-1): cannot read" in caplog.text
    (command,) = rig.signal("approve", "ada").think()
    left = command.complete_workflow.unconsumed_signals
    assert [one.signal_name for one in left] == ["approve", "approve", "hurry"]
    caplog.clear()
    rig.record()
    new_machine(workflow_of(Checkout)).run_task(rig.events)
    assert caplog.records == []


def test_a_signal_that_no_method_takes_waits_in_the_mailbox():
    other = signal("other", int)

    @workflow
    class Both:
        def __init__(self) -> None:
            self.seen = 0

        async def run(self) -> int:
            return await other.wait() + self.seen

        @signal
        def see(self, number: int) -> None:
            self.seen += number

    rig = rig_of(Both)
    rig.signal("see", 1).signal("other", 10)
    assert rig.run() == ["wait_for_signal 1 other", "complete_workflow 11"]


def test_an_exception_in_a_method_fails_the_workflow():
    @workflow
    class Strict:
        async def run(self) -> None:
            await tick()

        @signal
        async def refuse(self, why: str) -> None:
            await asyncio.sleep(0)
            raise ApplicationError(why, type="Refused")

        @signal
        def leave(self) -> None:
            raise SystemExit(3)

    rig = rig_of(Strict)
    rig.run()
    assert rig.signal("refuse", "no").run() == ["fail_workflow Refused: no"]
    rig = rig_of(Strict)
    assert rig.signal("leave").run() == ["schedule_activity 1 tick", "fail_workflow SystemExit: 3"]


def test_a_method_whose_await_is_cancelled_just_ends():
    @workflow
    class Cancels:
        def __init__(self) -> None:
            self.task: asyncio.Task[None] | None = None

        async def run(self) -> None:
            await workflow.wait_condition(lambda: self.task)
            assert self.task is not None
            self.task.cancel()
            await asyncio.sleep(0)
            await workflow.wait_condition(workflow.all_handlers_finished)

        @signal
        async def tick(self) -> None:
            self.task = asyncio.ensure_future(tick())
            await self.task

    assert rig_of(Cancels).signal("tick").run() == ["complete_workflow null"]


def test_what_a_method_does_when_the_run_ends_is_not_done_unless_awaited():
    @workflow
    class Ends:
        def __init__(self) -> None:
            self.waits = False

        async def run(self) -> None:
            await tick()
            if self.waits:
                await workflow.wait_condition(workflow.all_handlers_finished)

        @signal
        async def slow(self, wait: bool) -> None:
            self.waits = wait
            await workflow.sleep(timedelta(minutes=1))

    for wait, said in ((False, ["complete_workflow null"]), (True, [])):
        rig = rig_of(Ends)
        rig.signal("slow", wait)
        assert rig.run() == ["schedule_activity 1 tick", "schedule_timer 1 60s"]
        assert rig.complete(1).run() == said


def test_a_signal_after_the_end_is_not_handled():
    rig = rig_of(Checkout, Order("o", 0))
    (command,) = rig.signal("approve", "late").think()
    assert len(command.complete_workflow.unconsumed_signals) == 1


def test_init_may_take_nothing_and_run_too():
    @workflow
    @dataclass
    class Plain:
        count: int = 4

        async def run(self) -> int:
            return self.count

    @workflow
    class Bare:
        async def run(self, order: Order) -> str:
            return order.id

    assert rig_of(Plain).run() == ["complete_workflow 4"]
    assert rig_of(Bare, Order("o")).run() == ['complete_workflow "o"']


def test_init_that_raises_fails_the_workflow():
    @workflow
    class Broken:
        def __init__(self) -> None:
            raise ValueError("broken")

        async def run(self) -> None: ...

        @signal
        def any(self) -> None: ...

    assert rig_of(Broken).signal("any").run() == ["fail_workflow ValueError: broken"]


def test_methods_are_inherited_and_replaced_but_being_a_workflow_is_not():
    class Base:
        @signal
        def one(self) -> None: ...

        @signal
        def two(self) -> None: ...

    class Sub(Base):
        one = None  # type: ignore[assignment]

        @signal(name="deux")
        def two(self) -> None: ...

        @signal
        def three(self) -> None: ...

    assert list(methods_of(Sub, SignalMethod)) == ["deux", "three"]

    class Child(Checkout): ...

    with pytest.raises(TypeError, match="not decorated"):
        workflow_of(Child)


def test_what_is_wrong_with_a_class_is_said_where_it_is_written():
    with pytest.raises(TypeError, match="async def run"):

        @workflow
        class NoRun: ...

    with pytest.raises(TypeError, match="async def run"):

        @workflow
        class SyncRun:
            def run(self) -> None: ...

    with pytest.raises(TypeError, match="__init__ must take what run takes, or nothing"):

        @workflow
        class Greedy:
            def __init__(self, order: Order) -> None: ...

            async def run(self) -> None: ...

    with pytest.raises(ValueError, match=r"two methods of .*Twice are named 'one'"):

        @workflow
        class Twice:
            async def run(self) -> None: ...

            @signal
            def one(self) -> None: ...

            @signal(name="one")
            def other(self) -> None: ...

    with pytest.raises(TypeError, match="must take one value or none"):

        class Two:
            @signal
            def one(self, a: int, b: int) -> None: ...

    with pytest.raises(TypeError, match="not decorated"):
        registry([NoDecorator], Workflow)


class NoDecorator: ...


async def test_nobody_waits_for_signals_that_a_method_takes():
    assert repr(Checkout.approve) == "<signal 'approve'>"
    with pytest.raises(RuntimeError, match="approve takes the signals 'approve'"):
        await Checkout.approve.wait()
    with pytest.raises(RuntimeError, match="wait_condition"):
        Checkout.approve.receive_nowait()


def test_forbidden_calls_are_found_in_every_method():
    @workflow
    class Careless:
        limit = 3

        async def run(self) -> None: ...

        @signal
        def roll(self) -> None:
            random.random()

        def helper(self) -> None:
            random.random()

    lines = workflow_of(Careless).warn_of_forbidden_calls()
    assert [line.split(": ")[1].split(" ")[0] for line in lines] == ["random()"] * 2
