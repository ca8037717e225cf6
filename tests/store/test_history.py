"""Histories: the order of events, and pages bounded by number and by bytes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from perdure_server.store.contract import Store
from tests.support.histories import a_run, alone, an_event, change_of

RUN = a_run(history_length=10)
SIZES = [100, 10, 10, 10, 500, 10, 10, 10, 10, 10]
EVENTS = [an_event(seq, size=size) for seq, size in enumerate(SIZES, 1)]


@pytest.fixture(autouse=True)
async def _history(store: Store) -> None:
    await store.commit([alone(change_of(RUN, expected_version=0, events=EVENTS))])


@pytest.mark.parametrize(
    ("after_seq", "limit", "max_bytes", "expected"),
    [
        (0, 100, 10_000, range(1, 11)),
        (0, 3, 10_000, range(1, 4)),
        (7, 100, 10_000, range(8, 11)),
        (10, 100, 10_000, range(0)),
        (0, 100, 120, range(1, 4)),
        (0, 100, 119, range(1, 3)),
        (0, 100, 1, range(1, 2)),
        (4, 100, 499, range(5, 6)),
        (5, 100, 20, range(6, 8)),
        (5, 1, 20, range(6, 7)),
    ],
)
async def test_a_page_ends_at_its_bounds(
    store: Store, *, after_seq: int, limit: int, max_bytes: int, expected: range
) -> None:
    page = await store.load_history(
        RUN.run_id, after_seq=after_seq, limit=limit, max_bytes=max_bytes
    )
    assert page == [EVENTS[seq - 1] for seq in expected]


async def test_an_unknown_run_has_no_events(store: Store) -> None:
    assert await store.load_history("nobody", after_seq=0, limit=10, max_bytes=10) == []


async def test_frames_are_kept_to_the_byte(store: Store) -> None:
    run = a_run(2, history_length=1)
    event = an_event(1, size=300_000)
    await store.commit([alone(change_of(run, expected_version=0, events=[event]))])
    (stored,) = await store.load_history(run.run_id, after_seq=0, limit=1, max_bytes=1)
    assert stored == event
    assert type(stored.frame) is bytes


async def test_the_newest_events_of_some_kinds_are_found(store: Store) -> None:
    run = a_run(3, history_length=4)
    kinds = ("workflow_started", "signal_received", "timer_fired", "signal_received")
    events = [replace(an_event(seq), kind=kind) for seq, kind in enumerate(kinds, 1)]
    await store.commit([alone(change_of(run, expected_version=0, events=events))])
    found = await store.find_events(run.run_id, ["signal_received"], limit=9)
    assert found == [events[3], events[1]]
    found = await store.find_events(run.run_id, ["timer_fired", "signal_received"], limit=2)
    assert found == [events[3], events[2]]
    assert await store.find_events(run.run_id, [], limit=9) == []
    assert await store.find_events("nobody", ["timer_fired"], limit=9) == []
