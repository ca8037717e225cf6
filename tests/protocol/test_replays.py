"""Plays the cases of `replays` with the replay machine of the Python SDK."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from google.protobuf import json_format

from perdure import activity, signal, workflow
from perdure._replay.journal import DeterminismError
from perdure._replay.machine import Machine
from perdure.converter import Converter
from perdure.v1.history_pb2 import HistoryEvent, WorkflowStarted
from tests.protocol.cases import as_json, case, names, unlike

CONVERTER = Converter()
FIRST_US = 1_800_000_000_000_000
GO = signal("go", str)


@activity
async def charge(order: str) -> str:
    raise NotImplementedError


@workflow
async def program(steps: list[dict]) -> object:
    """Does what the steps of a case say."""
    return await run(steps)


def never() -> str:
    raise AssertionError("the steps of a replay are run by nobody")


def same(value: str) -> str:
    return value


async def run(steps):
    last = None
    for step in steps:
        match step:
            case {"activity": "charge", "input": order}:
                last = await charge(order)
            case {"sleep": seconds}:
                await workflow.sleep(timedelta(seconds=seconds))
            case {"signal": "go"}:
                last = await GO.wait()
            case {"together": branches}:
                last = list(await asyncio.gather(*map(run, branches)))
            case {"step": name}:
                last = await workflow.step(never, name=name)
            case {"takes": name}:
                workflow.on_update(name, same)
            case {"return": value}:
                last = value
            case _:
                raise ValueError(f"there is no such step: {step}")
    return last


def machine():
    names = {"namespace": "main", "workflow_id": "w", "run_id": "r", "task_queue": "q"}
    return Machine(program, converter=CONVERTER, **names)


def histories_of(given):
    """The events of each task; the first begins with the start, which carries the program."""
    start = WorkflowStarted(
        workflow_type="program",
        task_queue="q",
        input=CONVERTER.encode(given["program"]),
        seed=7,
        attempt=1,
        first_run_id="r",
    )
    events = [HistoryEvent(workflow_started=start)]
    for task in given["tasks"]:
        events += [json_format.ParseDict(event, HistoryEvent()) for event in task["events"]]
        yield events
        events = []


def numbered(tasks):
    seq = 0
    for events in tasks:
        for event in events:
            seq += 1
            event.seq = seq
            event.timestamp.FromMicroseconds(FIRST_US + seq * 60_000_000)
        yield events


def begun_by(machine):
    """The steps that the worker is to run now."""
    return [{"step_seq": str(step.seq), "name": step.name} for step in machine.take_steps()]


def ended(events):
    """The numbers of the steps whose records stand."""
    records = (event.step_completed for event in events if event.HasField("step_completed"))
    return {str(record.step_seq) for record in records}


@pytest.mark.parametrize("name", names("replays"))
def test_the_code_says_what_its_case_says(name):
    given = case("replays", name)
    cached, whole, begun_before = machine(), [], []
    for task, events in zip(given["tasks"], numbered(histories_of(given)), strict=True):
        whole += events
        replayed = machine()
        if "fails" in task:
            with pytest.raises(DeterminismError):
                replayed.run_task(whole)
            continue
        # A run that was kept in memory and one that is replayed from the start are one.
        for commands in (cached.run_task(events), replayed.run_task(whole)):
            assert unlike([as_json(each) for each in commands], task["commands"], "commands") == ""
        assert begun_by(cached) == task.get("begins", [])
        open_steps = [each for each in begun_before if each["step_seq"] not in ended(whole)]
        assert begun_by(replayed) == open_steps + task.get("begins", [])
        begun_before += task.get("begins", [])
        replayed.close()
    cached.close()
