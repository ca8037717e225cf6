"""Workflow code that goes on with a new history."""

from __future__ import annotations

from contextlib import suppress

import pytest

from perdure import workflow
from perdure.errors import DeterminismError
from tests.replay.rig import Rig, replayed
from tests.replay.shop import paid, played, tick


def test_the_code_ends_and_the_new_input_is_told():
    @workflow
    async def shop() -> None:
        await tick()
        workflow.continue_as_new({"page": 2})

    rig, _ = played(shop)
    assert rig.complete(1).run() == ['continue_as_new {"page":2}']


def test_type_queue_and_no_input():
    @workflow
    async def other(page: int) -> None:
        pass

    @workflow
    async def shop() -> None:
        workflow.continue_as_new(workflow=other, task_queue="q")

    assert played(shop)[1] == ["continue_as_new other"]

    @workflow(name="shop")
    async def by_name() -> None:
        workflow.continue_as_new(5, workflow="another")

    assert played(by_name)[1] == ["continue_as_new another 5"]


def test_code_that_catches_every_exception_does_not_catch_it():
    @workflow
    async def shop() -> None:
        with suppress(Exception):
            workflow.continue_as_new(1)

    assert played(shop)[1] == ["continue_as_new 1"]


def test_an_input_that_cannot_be_encoded_fails_the_workflow():
    @workflow
    async def shop() -> None:
        workflow.continue_as_new(object())

    (said,) = played(shop)[1]
    assert said.startswith("fail_workflow PayloadError")


def test_signals_that_the_code_has_not_taken_are_named():
    @workflow
    async def shop() -> None:
        await tick()
        await paid.wait()
        workflow.continue_as_new()

    rig, _ = played(shop)
    rig.signal("paid", {"id": "a"}).signal("paid", {"id": "b"}).complete(1)
    command = rig.think()[-1]
    assert [s.event_seq for s in command.continue_as_new.unconsumed_signals] == [4]


def test_outside_of_a_workflow_the_word_means_nothing():
    with pytest.raises(RuntimeError, match="no workflow is running here"):
        workflow.continue_as_new()


def test_a_history_that_went_on_where_the_code_ends_is_told():
    @workflow
    async def shop() -> str:
        return "done"

    rig = Rig(shop)
    rig.add(workflow_continued_as_new={"new_run_id": "run-2"})
    with pytest.raises(DeterminismError, match="Continued"):
        replayed(shop, rig.events)


def test_a_history_that_ended_where_the_code_goes_on_is_told():
    @workflow
    async def shop() -> None:
        workflow.continue_as_new(1)

    rig = Rig(shop)
    rig.add(workflow_completed={})
    with pytest.raises(DeterminismError, match="ContinueAsNew"):
        replayed(shop, rig.events)
