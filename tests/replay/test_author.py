"""What workflow code can know, and how a workflow ends."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from perdure import (
    ApplicationError,
    activity,
    workflow,
)
from perdure._definition import registry
from perdure._workflow import Workflow
from perdure.v1.failure_pb2 import FailureKind
from tests.replay.rig import START_US, Rig, new_machine
from tests.replay.shop import Order, charge, ended, played, tick


def test_time_is_that_of_the_event_being_applied():
    @workflow
    async def shop() -> list[str]:
        times = [workflow.now()]
        await workflow.sleep(timedelta(seconds=90))
        return [str(at) for at in [*times, workflow.now(), asyncio.get_running_loop().time()]]

    rig, _ = played(shop)
    (said,) = rig.fire(1).run()
    start = datetime.fromtimestamp(START_US / 1e6, UTC)
    assert said == f'complete_workflow ["{start}","{start + timedelta(seconds=90)}","90.0"]'


def test_randomness_is_the_same_in_every_replay():
    @workflow
    async def shop() -> list[str]:
        value = workflow.uuid4()
        assert isinstance(value, UUID)
        assert value.version == 4
        return [str(value), str(workflow.random().randint(0, 10**9)), str(workflow.uuid4())]

    assert ended(shop) == ended(shop)
    assert len(set(ended(shop).split('"')[1::2])) == 3


def test_info_says_whose_run_it_is():
    @workflow
    async def shop() -> list[str]:
        info = workflow.info()
        assert info.started_at == workflow.now()
        return [
            info.namespace,
            info.workflow_id,
            info.run_id,
            info.workflow_type,
            info.task_queue,
            str(info.attempt),
            info.first_run_id,
        ]

    assert ended(shop) == 'complete_workflow ["main","w-1","r-1","shop","queue","1","r-1"]'


def test_the_words_of_a_workflow_need_one():
    for word in (workflow.now, workflow.info, workflow.random, workflow.uuid4):
        with pytest.raises(RuntimeError, match="no workflow is running"):
            word()


def test_the_logger_is_silent_while_replaying(caplog):
    @workflow
    async def shop() -> None:
        workflow.logger.info("started")
        await tick()
        workflow.logger.info("ticked")

    caplog.set_level(logging.INFO)
    rig, _ = played(shop)
    rig.complete(1).run()
    assert [record.message for record in caplog.records] == ["started", "ticked"]
    assert caplog.records[0].workflow_id == "w-1"
    caplog.clear()
    machine = new_machine(shop)
    machine.run_task(rig.events[:3])
    assert [record.message for record in caplog.records] == ["ticked"]
    machine.close()
    workflow.logger.info("outside")
    assert caplog.records[-1].message == "outside"


def test_an_activity_from_outside_does_not_silence_the_logger(caplog):
    """Its schedule is no command: what stands before it may be new to the code."""

    @workflow
    async def shop() -> None:
        await tick()
        workflow.logger.info("ticked")

    caplog.set_level(logging.INFO)
    rig, _ = played(shop)
    rig.complete(1).schedule_outside(1).complete(-1).think()
    machine = new_machine(shop)
    machine.run_task(rig.events)
    machine.close()
    assert [record.message for record in caplog.records] == ["ticked", "ticked"]


def test_a_workflow_without_input_output_or_steps():
    @workflow
    async def nothing() -> None:
        pass

    assert ended(nothing) == "complete_workflow null"


def test_input_is_read_by_its_type_and_may_have_a_default():
    @workflow
    async def shop(order: Order) -> int:
        return order.amount

    @workflow
    async def lazy(order: Order = Order("x", 8)) -> int:  # noqa: B008
        return order.amount

    assert ended(shop, Order("o", 3)) == "complete_workflow 3"
    assert ended(lazy) == "complete_workflow 8"
    assert "PayloadError" in ended(shop, "not an order")
    assert "PayloadError" in ended(shop)


def test_input_for_a_workflow_that_takes_none_is_refused_unless_null():
    @workflow
    async def nothing() -> None:
        pass

    assert "takes no value" in ended(nothing, 3)
    rig = Rig(nothing)
    rig.events[0].workflow_started.input.data = b"null"
    assert rig.run() == ["complete_workflow null"]


def test_a_result_that_cannot_be_encoded_fails_the_workflow():
    @workflow
    async def shop() -> object:
        return {"a": [object()]}

    assert "PayloadError: value['a'][0]: cannot encode object" in ended(shop)


def test_an_exception_fails_the_workflow_with_its_wishes():
    @workflow
    async def shop() -> None:
        raise ApplicationError(
            "no", type="Refused", non_retryable=True, next_retry_delay=timedelta(seconds=2)
        )

    rig, said = played(shop)
    assert said == ["fail_workflow Refused: no"]
    failure = rig.events[-1].workflow_failed.failure
    assert failure.non_retryable
    assert failure.next_retry_delay.seconds == 2
    assert "test_author.py" in failure.stack_trace


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_even_the_errors_that_asyncio_lets_through(error):
    @workflow
    async def shop() -> None:
        raise error("stop")

    @workflow
    async def beside() -> None:
        async def other() -> None:
            raise error("stop")

        task = asyncio.create_task(other())
        await task

    for definition in (shop, beside):
        assert ended(definition) == f"fail_workflow {error.__name__}: stop"


def test_a_cancellation_nobody_asked_for_is_a_failure():
    @workflow
    async def shop() -> None:
        raise asyncio.CancelledError("me")

    rig, said = played(shop)
    assert said == ["fail_workflow CancelledError: me"]
    failure = rig.events[-1].workflow_failed.failure
    assert failure.kind == FailureKind.FAILURE_KIND_CANCELLED


def test_a_cancellation_is_told_once_with_its_reason():
    @workflow
    async def shop() -> str:
        try:
            await tick()
        except asyncio.CancelledError as error:
            await tick()
            return str(error)
        return "?"

    rig, _ = played(shop)
    assert rig.cancel("because").cancel("again").run() == [
        "cancel_activity 1",
        "schedule_activity 2 tick",
    ]
    assert rig.complete(2).run() == ['complete_workflow "because"']


def test_what_runs_beside_ends_with_the_main_code():
    @workflow
    async def shop() -> str:
        task = asyncio.create_task(tick())
        await asyncio.sleep(0)
        asyncio.create_task(tick())  # noqa: RUF006 -- never begins
        return str(task.done())

    assert played(shop)[1] == ["schedule_activity 1 tick", 'complete_workflow "False"']


async def test_a_workflow_can_be_called_in_a_test():
    @workflow(name="n", task_queue="q")
    async def shop(order: Order) -> str:
        return await charge(order)

    assert await shop(Order("o")) == "charged o"
    assert (shop.name, shop.task_queue, repr(shop)) == ("n", "q", "<workflow 'n'>")


def test_a_definition_takes_one_value_and_is_async():
    with pytest.raises(TypeError, match="async function"):
        workflow(lambda: 1)
    for bad in (
        lambda a, b: 1,
        lambda *a: 1,
        lambda **a: 1,
        lambda *, a: 1,
    ):
        with pytest.raises(TypeError, match="one value or none"):
            activity(bad)


def test_a_registry_refuses_doubles_and_plain_functions():
    @workflow(name="same")
    async def one() -> None: ...

    @workflow(name="same")
    async def two() -> None: ...

    assert registry([one, one], Workflow) == {"same": one}
    with pytest.raises(ValueError, match="two definitions are named 'same'"):
        registry([one, two], Workflow)
    with pytest.raises(TypeError, match="not decorated with @workflow"):
        registry([charge], Workflow)


def test_types_of_a_signature():
    assert charge.signature.input_type is Order
    assert charge.signature.result_type is str
    assert tick.signature.result_type is None
