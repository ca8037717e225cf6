"""Activities as workflow code calls them, and the words that activity code says."""

from __future__ import annotations

import asyncio
import contextvars
from datetime import timedelta

import pytest

from perdure import (
    ActivityCancelledError,
    ActivityError,
    ActivityTimeoutError,
    RetryPolicy,
    activity,
    workflow,
)
from perdure._activity import ActivityContext, enter_activity
from perdure.errors import DetachedActivityError
from perdure.v1.task_pb2 import ActivityTask
from tests.replay.rig import CONVERTER, Rig, short
from tests.replay.shop import Order, charge, ended, pack, paid, played, tick


def test_a_call_is_durable_in_a_workflow():
    @workflow
    async def shop(order: Order) -> str:
        return await charge(order)

    rig = Rig(shop, Order("o", 3))
    (command,) = rig.think()
    asked = command.schedule_activity
    assert (asked.seq, asked.name, asked.task_queue, asked.priority) == (1, "charge", "", 0)
    assert CONVERTER.decode(asked.input, Order) == Order("o", 3)
    assert not asked.HasField("options")
    assert command.source == f"{__file__}:{shop.fn.__code__.co_firstlineno + 2}"
    rig.record()
    assert rig.complete(1, "yes").run() == ['complete_workflow "yes"']


async def test_a_call_is_plain_elsewhere():
    assert await charge(Order("o")) == "charged o"
    assert await pack(Order("o", 4)) == 4
    assert pack.fn(Order("o", 5)) == 5
    assert charge.__doc__ == "Charges."
    assert repr(pack) == "<activity 'store.pack'>"


def test_options_add_to_those_of_the_activity():
    @workflow
    async def shop() -> None:
        await pack.options(
            retry=RetryPolicy(max_attempts=5, non_retryable_types=(ValueError, "Refused")),
            schedule_to_close=timedelta(minutes=1),
            heartbeat=timedelta(seconds=2),
            schedule_to_start=timedelta(seconds=3),
            priority=1,
        )(Order("o"))

    (command,) = Rig(shop).think()
    asked = command.schedule_activity
    assert (asked.name, asked.task_queue, asked.priority) == ("store.pack", "store", 1)
    assert asked.options.start_to_close_timeout.seconds == 9
    assert asked.options.schedule_to_close_timeout.seconds == 60
    assert asked.options.schedule_to_start_timeout.seconds == 3
    assert asked.options.heartbeat_timeout.seconds == 2
    assert asked.options.retry_policy.max_attempts == 5
    assert asked.options.retry_policy.non_retryable_types == ["ValueError", "Refused"]
    assert not asked.options.retry_policy.HasField("backoff_coefficient")


@pytest.mark.parametrize(
    "options",
    [
        {"priority": 6},
        {"heartbeat": timedelta(seconds=-1)},
        {"retry": RetryPolicy(max_attempts=-1)},
        {"retry": RetryPolicy(backoff_coefficient=0.5)},
        {"retry": RetryPolicy(initial_interval=timedelta(-1))},
    ],
)
def test_bad_options_are_refused_at_once(options):
    with pytest.raises(ValueError):
        charge.options(**options)


def test_more_than_one_value_is_refused_with_advice():
    @workflow
    async def shop() -> str:
        errors = []
        for call in (
            lambda: charge(1, 2),
            lambda: tick(1),
            lambda: charge(wrong=1),
        ):
            with pytest.raises(TypeError) as caught:
                await call()
            errors.append(str(caught.value))
        return " ".join(errors)

    assert "dataclass" in ended(shop)


def test_a_value_goes_by_keyword_too():
    @workflow
    async def shop() -> None:
        await charge(order=Order("o"))

    (command,) = Rig(shop).think()
    assert command.schedule_activity.input.data == b'{"id":"o","amount":1}'


def test_a_failed_activity_raises_with_everything_recorded():
    seen = []

    @workflow
    async def shop() -> None:
        try:
            await charge(Order("o"))
        except ActivityError as error:
            seen.append(error)
            raise

    rig, _ = played(shop)
    details = CONVERTER.encode({"code": 7})
    cause = {"type": "KeyError", "message": "x"}
    rig.fail(1, "refused", type="Refused", details=details, cause=cause, stack_trace="st")
    assert rig.run() == [
        "fail_workflow ActivityError: activity charge failed on attempt 3: Refused: refused"
    ]
    (error,) = seen
    assert type(error) is ActivityError
    assert (error.activity, error.attempt, error.type, error.kind) == (
        "charge",
        3,
        "Refused",
        "application",
    )
    assert (error.details, error.stack_trace, error.timeout) == ({"code": 7}, "st", "")
    assert str(error.__cause__) == "KeyError: x"
    failure = rig.events[-1].workflow_failed.failure
    assert failure.cause.type == "Refused"
    assert failure.cause.cause.type == "KeyError"


def test_a_timeout_and_a_foreign_cancellation_have_their_own_classes():
    @workflow
    async def shop() -> str:
        try:
            await tick()
        except ActivityTimeoutError as error:
            first = error.timeout
        try:
            await tick()
        except ActivityCancelledError as error:
            return f"{first} {error.kind}"
        return "?"

    rig, _ = played(shop)
    rig.time_out(1).run()
    assert rig.confirm_cancel(2).run() == ['complete_workflow "start_to_close cancelled"']


def test_a_result_of_another_type_is_a_payload_error():
    @workflow
    async def shop() -> str:
        return await charge(Order("o"))

    rig, _ = played(shop)
    (said,) = rig.complete(1, [1]).run()
    assert said.startswith("fail_workflow PayloadError: cannot read the value as str")


def test_a_result_may_be_absent():
    @workflow
    async def shop() -> None:
        await tick()

    rig, _ = played(shop)
    rig.activities.clear()
    rig.add(activity_completed={"activity_seq": 1, "name": "tick"})
    assert rig.run() == ["complete_workflow null"]


def test_undone_in_one_activation_leaves_no_trace_and_no_gap():
    @workflow
    async def shop() -> None:
        task = asyncio.create_task(charge(Order("no")))
        timer = asyncio.create_task(asyncio.sleep(5))
        wait = asyncio.create_task(paid.wait(timeout=5))
        await asyncio.sleep(0)
        for undone in (task, timer, wait):
            undone.cancel()
        await asyncio.sleep(0)
        await asyncio.gather(charge(Order("yes")), asyncio.sleep(7), paid.wait())

    assert played(shop)[1] == [
        "schedule_activity 1 charge",
        "schedule_timer 1 7s",
        "wait_for_signal 1 paid",
    ]


def test_undone_before_it_is_recorded_is_a_command_of_its_own():
    @workflow
    async def shop() -> str:
        try:
            return await asyncio.wait_for(charge(Order("o")), timeout=5)
        except TimeoutError:
            await asyncio.Event().wait()
            return ""

    rig = Rig(shop)
    assert [short(command) for command in rig.think()] == [
        "schedule_timer 1 5s",
        "schedule_activity 1 charge",
    ]
    rig.record()
    rig.fire(1)
    assert rig.run() == ["cancel_activity 1"]
    rig.complete(1, "late")
    assert rig.run() == []


def context(**fields):
    beats = []
    made = ActivityContext(
        ActivityTask(name="charge", attempt=2, **fields), CONVERTER, beats.append
    )
    return made, beats


def test_the_words_of_an_activity():
    details = CONVERTER.encode({"row": 5})
    made, beats = context(heartbeat_details=details, options={"heartbeat_timeout": {"seconds": 3}})

    def code():
        enter_activity(made)
        activity.heartbeat()
        activity.heartbeat({"row": 6})
        assert activity.heartbeat_details() == {"row": 5}
        assert not activity.is_cancelled()
        made.cancel()
        assert activity.is_cancelled()
        info = activity.info()
        assert (info.name, info.attempt) == ("charge", 2)
        assert info.heartbeat_timeout == timedelta(seconds=3)
        assert info.start_to_close_timeout is None
        with pytest.raises(DetachedActivityError):
            activity.detach()

    contextvars.copy_context().run(code)
    assert beats == [None, CONVERTER.encode({"row": 6})]


def test_heartbeat_details_may_be_absent():
    def code():
        enter_activity(context()[0])
        return activity.heartbeat_details(Order)

    assert contextvars.copy_context().run(code) is None


def test_the_words_of_an_activity_need_one():
    with pytest.raises(RuntimeError, match="no activity is running"):
        activity.info()
