"""Side effects return at once and only once; changes are known by what is recorded."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from functools import partial

import pytest

from perdure import DeterminismError, workflow
from perdure._replay.forbidden import forbidden_calls
from tests.replay import changes
from tests.replay.rig import CONVERTER, Rig, new_machine, replayed


@dataclass
class Lot:
    number: int


def draw() -> Lot:
    return Lot(7)


def other_clock() -> float:
    return time.time()


@workflow
async def drawing() -> list[object]:
    lot = workflow.side_effect(draw, name="lot")
    return [lot.number, workflow.side_effect(partial(int, "3"))]


def test_a_value_is_made_once_and_has_its_type():
    rig = Rig(drawing)
    assert rig.run() == [
        "record_side_effect 1 lot",
        "record_side_effect 2",
        "complete_workflow [7,3]",
    ]
    rig.events[1].side_effect_recorded.value.CopyFrom(CONVERTER.encode(Lot(9)))
    rig.events[2].side_effect_recorded.ClearField("value")
    machine = new_machine(drawing)
    assert [c.complete_workflow.result.data for c in machine.run_task(rig.events[:3])] == [
        b"[9,null]"
    ]


def test_it_is_made_again_until_it_is_recorded():
    made = []

    @workflow
    async def counting() -> int:
        return workflow.side_effect(lambda: made.append(1) or len(made))

    rig = Rig(counting)
    assert rig.think()[1].complete_workflow.result.data == b"1"
    again = new_machine(counting)
    assert again.run_task(rig.events)[1].complete_workflow.result.data == b"2"
    rig.record()
    assert replayed(counting, rig.events) == []
    assert len(made) == 2


def test_inside_of_it_no_workflow_runs():
    @workflow
    async def nested() -> str:
        def clock() -> str:
            with pytest.raises(RuntimeError, match="no workflow is running"):
                workflow.now()
            with pytest.raises(RuntimeError):
                asyncio.get_running_loop()
            return "outside"

        return workflow.side_effect(clock) + str(bool(workflow.now()))

    assert Rig(nested).run()[-1] == 'complete_workflow "outsideTrue"'


def test_an_async_function_is_refused():
    async def slow() -> int:
        return 1

    @workflow
    async def wrong() -> None:
        workflow.side_effect(slow)

    assert "a side effect is a plain function" in Rig(wrong).run()[-1]


def test_another_name_or_none_is_another_step():
    rig = Rig(drawing)
    rig.run()

    @workflow(name="drawing")
    async def changed() -> int:
        return workflow.side_effect(lambda: 1, name="card")

    with pytest.raises(DeterminismError) as caught:
        replayed(changed, rig.events)
    assert caught.value.event == "SideEffectRecorded 1 (lot)"
    assert caught.value.command == "RecordSideEffect 1 (card)"


def test_what_is_given_to_it_is_not_complained_of():
    async def fine() -> float:
        return workflow.side_effect(lambda: time.time() + 1) + workflow.side_effect(time.time)

    async def wrong() -> float:
        return workflow.side_effect(other_clock) + time.time()

    assert forbidden_calls(fine) == []
    assert len(forbidden_calls(wrong)) == 1


def test_words_belong_to_workflow_code():
    for word in (lambda: workflow.side_effect(draw), lambda: workflow.patched("a")):
        with pytest.raises(RuntimeError, match="no workflow is running"):
            word()


OLD, NEW = changes.begun_before_the_change, changes.begun_with_the_change
DEPRECATED = changes.begun_with_the_change_deprecated


@pytest.mark.parametrize(
    ("race", "definition"),
    [
        (OLD, changes.before_change),
        (OLD, changes.changing),
        (NEW, changes.changing),
        (NEW, changes.change_deprecated),
        (DEPRECATED, changes.changing),
        (DEPRECATED, changes.change_deprecated),
        (DEPRECATED, changes.change_removed),
    ],
)
def test_code_replays_the_histories_that_it_may_meet(race, definition):
    events = race().events
    for end in range(1, len(events) + 1):
        replayed(definition, events[:end])
    assert replayed(definition, events) == []


@pytest.mark.parametrize(
    ("race", "definition"),
    [
        (NEW, changes.before_change),
        (NEW, changes.change_removed),
        (OLD, changes.change_deprecated),
    ],
)
def test_code_does_not_replay_others(race, definition):
    with pytest.raises(DeterminismError):
        replayed(definition, race().events)


def test_a_run_begun_before_a_change_goes_on_without_it():
    rig = Rig(changes.before_change, "o-1")
    rig.run()
    rig.definition, rig.machine = changes.changing, new_machine(changes.changing)
    rig.after(1).complete(1, "charged").run()
    assert rig.signal("go", "on").run() == ['complete_workflow "o-1 1 on False"']


def test_numbers_go_on_behind_a_change_that_was_removed():
    @workflow(name="late")
    async def with_call(order: str) -> str:
        first = workflow.side_effect(lambda: 1)
        workflow.deprecate_patch("late")
        await changes.go.wait()
        return f"{first} {workflow.side_effect(lambda: 2)}"

    @workflow(name="late")
    async def without(order: str) -> str:
        first = workflow.side_effect(lambda: 1)
        await changes.go.wait()
        return f"{first} {workflow.side_effect(lambda: 2)}"

    rig = Rig(with_call, "o-1")
    assert rig.run()[:2] == ["record_side_effect 1", "record_side_effect 2 patch:late"]
    rig.signal("go", "on")
    rig.definition, rig.machine = without, new_machine(without)
    assert rig.run() == ["record_side_effect 3", 'complete_workflow "1 2"']
    assert replayed(with_call, rig.events) == []
    assert replayed(without, rig.events) == []


def test_code_comes_first_to_a_signal_that_came_while_a_worker_had_it():
    @workflow
    async def late(order: str) -> bool:
        workflow.side_effect(lambda: order)
        await changes.go.wait()
        return workflow.patched("late")

    rig = Rig(late, "o-1")
    rig.think()
    rig.signal("go", "on").record()
    rig.machine = new_machine(late)
    assert rig.run() == ["record_side_effect 2 patch:late", "complete_workflow true"]
    assert replayed(late, rig.events) == []


@pytest.mark.parametrize("deprecated", [False, True])
def test_code_that_went_on_from_such_a_signal_has_no_later_change(deprecated):
    @workflow(name="late")
    async def before(order: str) -> str:
        if deprecated:
            workflow.deprecate_patch("earlier")
        workflow.side_effect(lambda: order)
        await changes.go.wait()
        return await changes.charge(order)

    @workflow(name="late")
    async def after(order: str) -> str:
        workflow.side_effect(lambda: order)
        await changes.go.wait()
        receipt = "none" if workflow.patched("late") else await changes.charge(order)
        return receipt + str(workflow.patched("late"))

    rig = Rig(before, "o-1")
    rig.think()
    rig.signal("go", "on").record()
    assert rig.run() == ["schedule_activity 1 charge"]
    rig.definition, rig.machine = after, new_machine(after)
    assert rig.run() == []
    assert rig.after(1).complete(1, "charged").run() == ['complete_workflow "chargedFalse"']
    assert replayed(after, rig.events) == []
