"""Signals as workflow code takes them."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from perdure import (
    signal,
    workflow,
)
from tests.replay.shop import paid, played, tick


def test_signals_are_taken_in_order_and_kept_before_the_wait():
    @workflow
    async def shop() -> list[str]:
        await tick()
        return [(await paid.wait()).id, (await paid.wait()).id, (await paid.wait()).id]

    rig, _ = played(shop)
    rig.signal("paid", {"id": "a"}).signal("paid", {"id": "b"}).complete(1)
    assert rig.run() == ["wait_for_signal 1 paid"]
    assert rig.signal("paid", {"id": "c"}).run() == ['complete_workflow ["a","b","c"]']


def test_a_signal_without_a_value_or_with_null_reads_as_none():
    @workflow
    async def shop() -> list[bool]:
        return [await paid.wait() is None, await paid.wait() is None]

    rig, _ = played(shop)
    rig.signal("paid").run()
    rig.add(signal_received={"signal_name": "paid", "payload": {"data": b"null"}})
    assert rig.run() == ["complete_workflow [true,true]"]


def test_a_wait_with_a_timeout_names_its_timer_and_undoes_it():
    @workflow
    async def shop() -> str:
        try:
            return (await paid.wait(timeout=timedelta(seconds=5))).id
        except TimeoutError as error:
            return str(error)

    rig, said = played(shop)
    assert said == ["schedule_timer 1 5s", "wait_for_signal 1 paid timer 1"]
    assert rig.signal("paid", {"id": "a"}).run() == ["cancel_timer 1", 'complete_workflow "a"']
    rig, _ = played(shop)
    assert rig.fire(1).run() == ["complete_workflow \"no signal 'paid' came in time\""]


def test_a_wait_of_no_time_takes_what_is_there():
    @workflow
    async def shop() -> str:
        try:
            await paid.wait(timeout=0)
        except TimeoutError:
            return "none"
        return "?"

    assert played(shop)[1] == ['complete_workflow "none"']


def test_receive_nowait():
    @workflow
    async def shop() -> str:
        with pytest.raises(LookupError, match="no signal 'paid' has arrived"):
            paid.receive_nowait()
        await tick()
        return paid.receive_nowait().id

    rig, _ = played(shop)
    assert rig.signal("paid", {"id": "a"}).complete(1).run() == ['complete_workflow "a"']


def test_a_signal_handed_to_a_task_that_is_cancelled_meanwhile_is_not_lost():
    @workflow
    async def shop() -> list[str]:
        loop = asyncio.get_running_loop()
        waits: list[asyncio.Task] = []

        async def wait():
            return await paid.wait()

        async def sentry():
            await paid.wait()
            for task in waits:
                task.cancel()

        first = asyncio.create_task(sentry())
        waits += [asyncio.create_task(wait()) for _ in range(2)]
        await asyncio.sleep(0)
        await signal("stop").wait()
        assert loop.time() >= 0
        done = await asyncio.gather(first, *waits, return_exceptions=True)
        kept = [paid.receive_nowait().id for _ in range(2)]
        return [*kept, *[type(one).__name__ for one in done]]

    rig, _ = played(shop)
    run = rig.machine._run
    rig.signal("paid", {"id": "a"})
    rig.run()
    # The sentry cancelled two waiters that stood in line: later signals stay in the box.
    rig.signal("paid", {"id": "b"}).signal("paid", {"id": "c"}).run()
    assert seqs(run.mailbox.unconsumed()) == [rig.events[-2].seq, rig.events[-1].seq]
    assert rig.signal("stop").run() == [
        'complete_workflow ["b","c","NoneType","CancelledError","CancelledError"]'
    ]


def test_a_signal_after_the_end_finds_a_waiter_that_was_cancelled_and_stays_unconsumed():
    @workflow
    async def shop() -> None:
        beside = asyncio.create_task(paid.wait())
        await tick()
        beside.cancel()

    rig, _ = played(shop)
    rig.complete(1).signal("paid")
    (command,) = rig.think()
    assert seqs(command.complete_workflow.unconsumed_signals) == [rig.events[-1].seq]


def test_what_was_not_consumed_is_in_the_closing_command():
    @workflow
    async def shop() -> None:
        await paid.wait()

    rig, _ = played(shop)
    rig.signal("other").signal("paid").signal("paid")
    (command,) = rig.think()
    left = command.complete_workflow.unconsumed_signals
    assert [(one.event_seq, one.signal_name) for one in left] == [(3, "other"), (5, "paid")]


def test_a_signal_needs_a_name_and_a_workflow():
    with pytest.raises(ValueError):
        signal("")
    with pytest.raises(RuntimeError, match="in a workflow only"):
        paid.receive_nowait()
    assert repr(paid) == "<signal 'paid'>"


async def test_a_wait_outside_a_workflow_is_refused():
    with pytest.raises(RuntimeError, match="in a workflow only"):
        await paid.wait()


def seqs(signals):
    """The events of signals."""
    return [signal.event_seq for signal in signals]
