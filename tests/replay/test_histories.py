"""Golden histories: what was recorded once is replayed by today's code, however it is split."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from perdure._replay.replayer import replay
from perdure.v1.history_pb2 import HistoryEvent, WorkflowStarted
from tests.replay import workflows
from tests.replay.races import RACES
from tests.replay.rig import is_recorded_command, new_machine, parse, replayed, same_when_cached

HISTORIES = Path(__file__).parent / "histories"


@pytest.fixture(params=sorted(RACES))
def stored(request):
    """One stored history as text, with the name of its race."""
    path = HISTORIES / f"{request.param}.json"
    if request.config.getoption("--regenerate"):
        path.write_text(json.dumps(RACES[request.param]().export(), indent=1) + "\n")
    return request.param, path.read_text()


def definition_of(history):
    name = history.events[0].workflow_started.workflow_type
    return next(workflow for workflow in workflows.ALL if workflow.name == name)


def test_the_code_makes_the_stored_history_again(stored):
    name, text = stored
    made = json.loads(json.dumps(RACES[name]().export()))
    kept = json.loads(text)
    assert made == kept


def test_a_closed_history_replays_and_leaves_nothing(stored):
    _, text = stored
    assert replay(text, workflows.ALL) == []


def test_a_run_in_memory_and_a_replayed_one_stand_the_same_at_every_prefix(stored):
    history, _ = parse(stored[1])
    definition = definition_of(history)
    for end in range(1, len(history.events) + 1):
        for split in range(1, end):
            same_when_cached(definition, history.events[:end], split)


def test_task_by_task_the_run_in_memory_sends_what_the_history_then_records(stored):
    history, tasks = parse(stored[1])
    machine = new_machine(definition_of(history))
    sent = []
    for start, end in zip([0, *tasks], [*tasks, len(history.events)], strict=True):
        sent += machine.run_task(history.events[start:end])
        assert machine.last_seq == end
    machine.close()
    assert machine.closed
    assert len(sent) == sum(map(is_recorded_command, history.events))


def test_pages_of_one_task_are_one_task(stored):
    history, _ = parse(stored[1])
    definition = definition_of(history)
    for end in range(1, len(history.events) + 1):
        machine = new_machine(definition)
        for seq in range(1, end):
            assert machine.run_task(history.events[seq - 1 : seq], last=False) == []
        left = machine.run_task(history.events[end - 1 : end])
        assert left == replayed(definition, history.events[:end])
        machine.close()


def test_every_race_is_stored():
    assert {path.stem for path in HISTORIES.glob("*.json")} == set(RACES)


EVENTS = HistoryEvent.DESCRIPTOR.oneofs_by_name["event"].fields
LATER = frozenset()
"""Kinds of events without a golden history: write one for each new kind, and it is replayed by all
versions to come."""


def recorded_events():
    for path in HISTORIES.glob("*.json"):
        yield from parse(path.read_text())[0].events


@pytest.mark.parametrize("kind", sorted({field.name for field in EVENTS} - LATER))
def test_every_kind_of_event_is_recorded(kind):
    assert kind in {event.WhichOneof("event") for event in recorded_events()}


@pytest.mark.parametrize("field", WorkflowStarted.DESCRIPTOR.fields_by_name)
def test_whatever_a_run_may_begin_with_is_recorded(field):
    firsts = [event.workflow_started for event in recorded_events() if event.seq == 1]
    assert any(field in {known.name for known, _ in first.ListFields()} for first in firsts)
