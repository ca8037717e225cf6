"""A changed workflow is refused with the event, the command and the author's line."""

from __future__ import annotations

import asyncio
import inspect

import pytest

from perdure import activity, signal, workflow
from perdure.errors import DeterminismError, HistoryError
from perdure.v1.failure_pb2 import FailureKind
from perdure.v1.history_pb2 import History, HistoryEvent
from tests.replay.rig import Rig, new_machine, replayed

paid = signal("paid")


@activity
async def charge() -> None: ...


@activity
async def ship() -> None: ...


@workflow(name="shop")
async def shop() -> None:
    await charge()
    await asyncio.sleep(5)
    await paid.wait()


def recorded():
    rig = Rig(shop)
    rig.run()
    rig.complete(1).run()
    rig.fire(1).run()
    rig.signal("paid").run()
    rig.machine.close()
    return rig.events


def line_of(fn, text):
    lines, first = inspect.getsourcelines(fn)
    return f"{__file__}:{first + next(i for i, line in enumerate(lines) if text in line)}"


def refusal(definition):
    with pytest.raises(DeterminismError) as caught:
        replayed(definition, recorded())
    return caught.value


def test_unchanged_code_fits():
    assert replayed(shop, recorded()) == []


def test_another_activity():
    @workflow(name="shop")
    async def changed() -> None:
        await ship()  # here

    error = refusal(changed)
    assert error.event_seq == 2
    assert error.event == "ActivityScheduled 1 (charge)"
    assert error.command == "ScheduleActivity 1 (ship)"
    assert error.source == line_of(changed.fn, "# here")
    for part in (error.event, error.command, error.source, "event 2"):
        assert part in str(error)


def test_another_kind_of_command():
    @workflow(name="shop")
    async def changed() -> None:
        await charge()
        await paid.wait()  # here

    error = refusal(changed)
    assert (error.event_seq, error.event) == (4, "TimerScheduled 1")
    assert error.command == "WaitForSignal 1 (paid)"
    assert error.source == line_of(changed.fn, "# here")


def test_another_signal_through_a_helper():
    async def helper():
        await signal("unpaid").wait()  # here

    @workflow(name="shop")
    async def changed() -> None:
        await charge()
        await asyncio.sleep(5)
        await helper()

    error = refusal(changed)
    assert error.event == "WorkflowAwaitingSignal 1 (paid)"
    assert error.command == "WaitForSignal 1 (unpaid)"
    assert error.source == line_of(helper, "# here")


def test_code_that_asks_for_nothing_names_where_it_waits():
    @workflow(name="shop")
    async def changed() -> None:
        await asyncio.Event().wait()  # here

    error = refusal(changed)
    assert (error.event_seq, error.command) == (2, "")
    assert error.source == line_of(changed.fn, "# here")
    assert "asked for nothing" in str(error)


def test_code_that_ends_too_early():
    @workflow(name="shop")
    async def changed() -> None:
        await charge()

    error = refusal(changed)
    assert (error.event_seq, error.command) == (4, "CompleteWorkflow")


def test_code_that_raises_too_early():
    @workflow(name="shop")
    async def changed() -> None:
        await charge()
        raise ValueError("no money")

    assert refusal(changed).command == "FailWorkflow (ValueError: no money)"


def test_code_that_goes_on_where_the_history_ends():
    @workflow(name="shop")
    async def changed() -> None:
        await charge()
        await asyncio.sleep(5)
        await paid.wait()
        await ship()

    error = refusal(changed)
    assert error.event == "WorkflowCompleted"
    assert error.command == "ScheduleActivity 2 (ship)"


def test_a_command_of_asyncio_alone_names_where_the_main_code_waits():
    @workflow(name="shop")
    async def changed() -> None:
        await asyncio.gather(asyncio.sleep(3))  # here

    error = refusal(changed)
    assert error.command == "ScheduleTimer 1 (3 s)"
    assert error.source == line_of(changed.fn, "# here")


def test_code_that_ended_and_a_history_that_goes_on():
    @workflow(name="shop")
    async def empty() -> None:
        pass

    rig = Rig(empty)
    rig.run()
    extra = HistoryEvent(seq=3, timer_scheduled={"timer_seq": 1})
    with pytest.raises(DeterminismError) as caught:
        replayed(empty, [*rig.events, extra])
    assert caught.value.source == f"{__file__}:{empty.fn.__code__.co_firstlineno}"


@pytest.mark.parametrize(
    ("event", "text"),
    [
        ({"seq": 3, "activity_completed": {}}, "event 3 cannot follow event 1"),
        ({"seq": 2}, "kind that this SDK does not know"),
        ({"seq": 2, "activity_completed": {"activity_seq": 9}}, "activity 9 is not open"),
        ({"seq": 2, "timer_fired": {"timer_seq": 9}}, "timer 9 is not open"),
    ],
)
def test_a_damaged_history_is_said_to_be_so(event, text):
    events = [recorded()[0], HistoryEvent(**event)]
    with pytest.raises(HistoryError, match=text) as caught:
        replayed(shop, events)
    assert not isinstance(caught.value, DeterminismError)


def test_the_engine_may_close_a_run_at_any_point():
    for kind in ("workflow_terminated", "workflow_timed_out"):
        events = [recorded()[0], HistoryEvent(seq=2, **{kind: {}})]
        machine = new_machine(shop)
        assert machine.run_task(events) == []
        assert machine.closed
        machine.close()


def test_the_engine_may_fail_a_run_at_a_limit_and_cancel_one_that_never_ran():
    limit = {"failure": {"kind": FailureKind.FAILURE_KIND_LIMIT, "type": "HISTORY_LIMIT"}}
    assert replayed(shop, [recorded()[0], HistoryEvent(seq=2, workflow_failed=limit)]) == []
    asked = HistoryEvent(seq=2, workflow_cancel_requested={})
    ended = HistoryEvent(seq=3, workflow_cancelled={})
    assert replayed(shop, [recorded()[0], asked, ended]) == []


def test_a_failure_or_cancellation_the_code_did_not_ask_for_is_refused():
    for closing in ({"workflow_failed": {}}, {"workflow_cancelled": {}}):
        events = [*recorded()[:2], HistoryEvent(seq=3, **closing)]
        with pytest.raises(DeterminismError, match="asked for nothing"):
            replayed(shop, events)


def test_events_after_the_end_are_counted_and_ignored():
    @workflow(name="shop")
    async def empty() -> None:
        pass

    rig = Rig(empty)
    rig.think()
    rig.signal("late").cancel().record()
    history = History(events=rig.events)
    machine = new_machine(empty)
    assert machine.run_task(history.events) == []
    assert machine.last_seq == 4
    machine.close()
