"""Timers: the order in which they fall due, read page by page."""

from __future__ import annotations

from perdure_server.core.model import Timer, TimerKind
from perdure_server.store.contract import Store
from tests.support.histories import a_run, a_timer, alone, starting


async def commit_timers(store: Store) -> list[Timer]:
    """Commits timers of three runs; returns them in their order."""
    runs = [a_run(number) for number in (1, 2, 3)]
    timers = [
        a_timer(runs[2], due_us=1),
        a_timer(runs[0], 2, kind=TimerKind.ACTIVITY_QUEUE, due_us=5),
        a_timer(runs[0], 2, kind=TimerKind.USER, due_us=5),
        a_timer(runs[0], 10, kind=TimerKind.USER, due_us=5),
        a_timer(runs[1], 1, kind=TimerKind.USER, due_us=5),
        a_timer(runs[0], 1, kind=TimerKind.USER, due_us=9),
    ]
    for run in runs:
        change = starting(run)
        change.put_timers = {
            (timer.kind, timer.seq): timer for timer in timers if timer.run_id == run.run_id
        }
        await store.commit([alone(change)])
    return timers


async def test_the_earliest_come_first(store: Store) -> None:
    timers = await commit_timers(store)
    assert await store.due_timers(after=None, limit=100) == timers
    assert await store.due_timers(after=None, limit=2) == timers[:2]


async def test_pages_follow_one_another(store: Store) -> None:
    timers = await commit_timers(store)
    for number, timer in enumerate(timers, 1):
        assert await store.due_timers(after=timer, limit=2) == timers[number : number + 2]


async def test_a_page_goes_on_after_a_timer_that_is_gone(store: Store) -> None:
    timers = await commit_timers(store)
    gone = Timer(timers[1].run_id, TimerKind.ACTIVITY_TOTAL, 1, timers[1].due_at_us)
    assert await store.due_timers(after=gone, limit=100) == timers[2:]


async def test_without_timers_nothing_is_due(store: Store) -> None:
    assert await store.due_timers(after=None, limit=10) == []
