"""Steps: which are run, where the code goes on, and what is no longer the same code."""

from __future__ import annotations

import asyncio

import pytest

from perdure import StepError, workflow
from perdure.errors import DeterminismError
from perdure.v1.failure_pb2 import Failure
from perdure.v1.history_pb2 import StepCompleted
from tests.replay.rig import Rig, new_machine
from tests.replay.stepping import gives_up, packed, packs, wrap


@workflow
async def one_step(order: str) -> str:
    return await workflow.step(wrap, order)


@workflow
async def other_step(order: str) -> str:
    return await workflow.step(wrap, order, name="other")


@workflow
async def no_step(order: str) -> str:
    await asyncio.sleep(1)
    return order


@workflow
async def looks_on(order: str) -> str:
    def begin() -> object:
        return workflow.step(wrap, order).send(None)

    workflow.on_query("worse", begin)
    return await workflow.step(wrap, order)


def names(steps):
    return [(step.seq, step.name) for step in steps]


def test_a_step_is_no_command_and_is_taken_once():
    rig = Rig(one_step, "o-1")
    assert rig.machine.run_task(rig.events) == []
    (step,) = rig.machine.take_steps()
    assert (step.seq, step.name, step.code()) == (1, "wrap", "<o-1>")
    assert step.source.startswith(__file__)
    assert rig.machine.take_steps() == []
    assert rig.machine.steps_recorded == 0


def test_the_code_goes_on_with_the_record():
    rig = Rig(one_step, "o-1")
    rig.run()
    assert rig.step_ended(1, "from history").run() == ['complete_workflow "from history"']
    assert rig.machine.steps_recorded == 1
    assert rig.machine.take_steps() == []


def test_what_has_no_record_at_the_end_of_the_history_is_run():
    history = packed().events
    machine = new_machine(packs)
    machine.run_task(history[:2])
    assert names(machine.take_steps()) == [(2, "wrap"), (3, "next")]
    machine = new_machine(packs)
    machine.run_task(history[:4])
    assert names(machine.take_steps()) == [(2, "wrap")]


def test_what_nobody_waits_for_is_not_run_again():
    rig = Rig(gives_up, "o-1")
    rig.run()
    rig.fire(1).run()
    machine = new_machine(gives_up)
    machine.run_task(rig.events)
    assert names(machine.take_steps()) == [(2, "quick")]


def test_a_run_that_has_ended_runs_nothing():
    @workflow
    async def leaves(order: str) -> str:
        left = asyncio.ensure_future(workflow.step(wrap, order))
        await asyncio.sleep(0)
        return f"{order} {left.done()}"

    rig = Rig(leaves, "o-1")
    assert rig.run() == ['complete_workflow "o-1 False"']
    assert rig.machine.take_steps() == []


def test_a_failure_is_raised_with_all_that_is_known_of_it():
    caught = []

    @workflow
    async def tries(order: str) -> str:
        try:
            return await workflow.step(wrap, order)
        except StepError as error:
            caught.append(error)
            return "caught"

    rig = Rig(tries, "o-1")
    rig.run()
    cause = Failure(message="disk full", type="OSError")
    rig.step_failed(1, "no", type="ValueError", cause=cause).run()
    (error,) = caught
    assert str(error) == "step wrap failed on attempt 1: ValueError: no"
    assert (error.step, error.attempt, error.type) == ("wrap", 1, "ValueError")
    assert str(error.__cause__) == "OSError: disk full"


def test_a_step_without_a_result_gives_none():
    @workflow
    async def prints(order: str) -> None:
        return await workflow.step(print, order)

    rig = Rig(prints, "o-1")
    rig.run()
    rig.add(step_completed=StepCompleted(step_seq=1, name="print", attempt=1))
    assert rig.run() == ["complete_workflow null"]


@pytest.mark.parametrize(
    ("definition", "words"),
    [(other_step, r"Step 1 \(other\)"), (no_step, r"StepCompleted 1 \(wrap\)")],
)
def test_another_step_than_the_recorded_one_is_found(definition, words):
    rig = Rig(one_step, "o-1")
    rig.run()
    rig.step_ended(1, "<o-1>")
    with pytest.raises(DeterminismError, match=words) as caught:
        new_machine(definition).run_task(rig.events)
    assert caught.value.source.startswith(__file__)


def test_a_query_begins_no_step():
    rig = Rig(looks_on, "o-1")
    rig.run()
    with pytest.raises(RuntimeError, match="only look"):
        rig.machine.query("worse", None)


def test_code_after_the_last_record_is_new():
    seen = []

    @workflow
    async def watched(order: str) -> str:
        await workflow.step(wrap, order)
        seen.append(workflow.info().history_length)
        seen.append(not rig.machine._run.replaying)
        return await workflow.step(wrap, order)

    rig = Rig(watched, "o-1")
    rig.run()
    rig.step_ended(1, "a").run()
    assert seen == [2, True]
    rig.machine = new_machine(watched)
    rig.machine.run_task(rig.events)
    assert seen == [2, True, 2, True]


def test_the_name_is_that_of_what_is_run():
    from functools import partial

    class Caller:
        def __call__(self) -> str:
            return "called"

    @workflow
    async def three(order: str) -> str:
        await workflow.step(partial(wrap, order))
        await workflow.step(Caller())
        return await workflow.step(lambda: order)

    rig = Rig(three, "o-1")
    said = []
    for seq in (1, 2, 3):
        rig.run()
        said.append(rig.steps[seq])
        rig.step_ended(seq, "x")
    assert said == ["wrap", "Caller", "<lambda>"]


def test_a_change_is_new_only_behind_the_steps_that_old_code_has_begun():
    told = []

    @workflow
    async def changed(order: str) -> str:
        told.append(workflow.patched("early"))
        await workflow.step(wrap, order)
        told.append(workflow.patched("late"))
        return await workflow.step(wrap, order)

    rig = Rig(one_step, "o-1")
    rig.run()
    rig.step_ended(1, "<o-1>")
    machine = new_machine(changed)
    machine.run_task(rig.events)
    assert told == [False, True]
