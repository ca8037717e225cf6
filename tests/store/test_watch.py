"""Positions: the one order of committed events, read from any point."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from perdure_server.core.changeset import Changeset
from perdure_server.core.errors import StaleVersion
from perdure_server.store.contract import Committed, Position, Store, WatchedEvent
from tests.support.histories import a_request, a_run, alone, an_event, starting, stepping


async def test_without_events_the_last_position_is_before_the_first(store: Store) -> None:
    assert await store.last_position() == Position(store.epoch, 0, -1)
    assert await store.read_events(Position(store.epoch, 0, -1), limit=10) == []


async def test_events_stand_where_the_commit_says(store: Store) -> None:
    first, second = replace(a_run(1), history_length=1), a_run(2)
    await store.commit([alone(starting(first))])
    both = Changeset([stepping(first), starting(second)])
    third = a_run(3)
    one, other = await store.commit([both, alone(starting(third))])
    assert isinstance(one, Committed)
    assert other == Committed(replace(one.first, index=2))
    events = await store.read_events(Position(store.epoch, 0, -1), limit=10)
    assert [(event.position, event.run_id) for event in events[1:]] == [
        (replace(one.first, index=0), first.run_id),
        (replace(one.first, index=1), second.run_id),
        (replace(one.first, index=2), third.run_id),
    ]
    assert events[0].position < one.first
    assert events[1] == WatchedEvent(
        one.first,
        first.namespace,
        first.workflow_id,
        first.run_id,
        first.workflow_type,
        an_event(2),
    )
    assert await store.last_position() == events[-1].position


async def test_reading_resumes_anywhere(store: Store) -> None:
    for number in range(1, 4):
        batch = [alone(starting(a_run(10 * number + each))) for each in range(3)]
        await store.commit(batch)
    whole = await store.read_events(Position(store.epoch, 0, -1), limit=100)
    assert len(whole) == 9
    for number, event in enumerate(whole, 1):
        rest = await store.read_events(event.position, limit=2)
        assert rest == whole[number : number + 2]
    after_first = replace(whole[0].position, index=99)
    assert await store.read_events(after_first, limit=100) == whole[3:]


async def test_a_position_of_another_epoch_is_before_or_after_all(store: Store) -> None:
    await store.commit([alone(starting(a_run()))])
    assert len(await store.read_events(Position(store.epoch - 1, 9, 9), limit=10)) == 1
    assert await store.read_events(Position(store.epoch + 1, 0, -1), limit=10) == []


async def test_a_commit_without_events_moves_no_position(store: Store) -> None:
    run = replace(a_run(), history_length=1)
    await store.commit([alone(starting(run))])
    last = await store.last_position()
    quiet = stepping(run)
    quiet.events = []
    outcomes = await store.commit([alone(quiet, a_request(run)), alone(stepping(run))])
    assert isinstance(outcomes[0], Committed)
    assert outcomes[0].first > last
    assert isinstance(outcomes[1], StaleVersion)
    assert await store.last_position() == last
    again = replace(run, version=2)
    (outcome,) = await store.commit([alone(stepping(again))])
    assert isinstance(outcome, Committed)
    assert await store.last_position() == outcome.first >= outcomes[0].first


async def test_racing_commits_have_one_order(store: Store) -> None:
    runs = [a_run(number) for number in range(1, 51)]
    answers = await asyncio.gather(*(store.commit([alone(starting(run))]) for run in runs))
    told = {
        run.run_id: outcome.first
        for run, (outcome,) in zip(runs, answers, strict=True)
        if isinstance(outcome, Committed)
    }
    events = await store.read_events(Position(store.epoch, 0, -1), limit=100)
    assert {event.run_id: event.position for event in events} == told
    positions = [event.position for event in events]
    assert positions == sorted(set(positions))
    assert len(positions) == 50


@pytest.mark.parametrize("later_us", [0, 1], ids=["at once", "later"])
async def test_the_first_event_since_a_run_began_says_when(store: Store, later_us: int) -> None:
    run = a_run()
    await store.commit([alone(starting(run))])
    began_at_us = an_event(3).at_us - later_us
    for _ in range(4):
        run = replace(run, history_length=max(run.history_length, 1))
        change = stepping(run, started_at_us=began_at_us if run.history_length > 1 else None)
        if later_us and change.events[0].seq == 2:
            change.events = [replace(change.events[0], at_us=began_at_us - 1)]
        await store.commit([alone(change)])
        run = change.run
    events = await store.read_events(Position(store.epoch, 0, -1), limit=10)
    assert [event.began_at_us for event in events] == [None, None, began_at_us, None, None]
    rest = await store.read_events(events[2].position, limit=1)
    assert rest == events[3:4]


async def test_the_first_event_of_all_is_before_a_run_began(store: Store) -> None:
    """Also when all of it is of one instant, as it is when time stands still."""
    run = a_run(started_at_us=an_event(1).at_us)
    await store.commit([alone(starting(run))])
    await store.commit([alone(stepping(replace(run, history_length=1)))])
    events = await store.read_events(Position(store.epoch, 0, -1), limit=10)
    assert [event.began_at_us for event in events] == [None, run.started_at_us]
