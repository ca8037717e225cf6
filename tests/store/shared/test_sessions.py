"""Whose session it is, which leases nobody watches over, and what is late."""

from __future__ import annotations

import asyncio

import pytest

from perdure_server.core.errors import StoreUnavailable
from perdure_server.core.model import Task, TimerKind
from perdure_server.store.shared import Hint, Overdue, SharedStore, Taken
from tests.store.shared.rig import LANE, NOW_US, OTHER_LANE, Ear, add_tasks, by_run
from tests.store.test_api_keys import a_key, insert
from tests.support.histories import START_US, a_run, a_timer, alone, starting


async def test_a_session_is_taken_with_what_it_holds(one: SharedStore, two: SharedStore) -> None:
    await add_tasks(one, {"session_id": "s1"}, {"session_id": "s2"}, {"session_id": "s1"}, {})
    taken = await one.take_session("s1")
    assert not taken.was_ours
    assert by_run(taken) == [a_run(1).run_id, a_run(3).run_id]
    assert {task.session_id for task in taken.tasks} == {"s1"}
    again = await two.take_session("s1")
    assert not again.was_ours
    assert by_run(again) == by_run(taken)
    assert await two.take_session("s9") == Taken((), was_ours=False)


async def test_a_session_taken_again_was_ours(one: SharedStore, two: SharedStore) -> None:
    await one.take_session("s1")
    assert await one.take_session("s1") == Taken((), was_ours=True)
    await two.take_session("s1")
    assert await one.take_session("s1") == Taken((), was_ours=False)
    assert await one.release_session("s1")
    assert await one.take_session("s1") == Taken((), was_ours=False)


async def test_who_loses_a_session_to_another_hears_of_it(
    one: SharedStore, two: SharedStore, ear: Ear
) -> None:
    for session_id in ("s1", "s2", "s3"):
        await two.take_session(session_id)
    await one.take_session("s2")
    expected = Hint(sessions=frozenset({"s2"}))
    assert await ear.hear_until(expected) == expected


async def test_only_who_loses_a_session_hears_of_it(
    one: SharedStore, three: SharedStore, ear: Ear
) -> None:
    await one.take_session("s1")
    await three.take_session("s1")
    await three.take_session("s1")
    await three.release_session("s1")
    await insert(one, a_key(1))
    assert await ear.hear_until(Hint(api_keys=True)) == Hint(api_keys=True)


async def test_an_orphan_is_taken_once(one: SharedStore, two: SharedStore) -> None:
    await add_tasks(one, {"session_id": "s1", "lease": 1})
    taken = await one.take_orphan("s1")
    assert taken is not None
    assert by_run(taken) == [a_run(1).run_id]
    assert not taken.was_ours
    assert await two.take_orphan("s1") is None
    again = await one.take_orphan("s1")
    assert again is not None
    assert again.was_ours


async def test_of_those_that_race_for_an_orphan_one_has_it(
    one: SharedStore, two: SharedStore, three: SharedStore
) -> None:
    servers = (one, two, three)
    taken = await asyncio.gather(*(store.take_orphan("s1") for store in servers))
    winners = [store for store, each in zip(servers, taken, strict=True) if each is not None]
    assert [await store.release_session("s1") for store in winners] == [True]


async def test_only_who_has_a_session_releases_it(one: SharedStore, two: SharedStore) -> None:
    await one.take_session("s1")
    await two.take_session("s1")
    assert not await one.release_session("s1")
    assert await two.release_session("s1")
    assert not await two.release_session("s1")


async def test_sessions_of_the_dead_are_taken_over(
    one: SharedStore, two: SharedStore, three: SharedStore
) -> None:
    for session_id in ("s1", "s2"):
        await two.take_session(session_id)
    await three.take_session("s2")
    await three.take_session("s3")
    assert await one.bury("two", silent_us=0) == ["s1"]
    assert await one.release_session("s1")
    assert await three.release_session("s2")


async def test_a_buried_server_takes_no_session(one: SharedStore, two: SharedStore) -> None:
    await one.bury("two", silent_us=0)
    with pytest.raises(StoreUnavailable):
        await two.take_session("s1")
    assert not await two.release_session("s1")
    await two.join("two again")
    assert await two.take_session("s1") == Taken((), was_ours=False)


async def test_a_buried_server_has_lost_its_sessions(one: SharedStore, two: SharedStore) -> None:
    await two.take_session("s1")
    assert await one.bury("two", silent_us=0) == ["s1"]
    assert not await two.release_session("s1")
    await two.join("two again")
    assert not await two.release_session("s1")
    assert await one.release_session("s1")


async def test_leases_here_are_those_of_ours_and_of_nobody(
    one: SharedStore, two: SharedStore
) -> None:
    nobodys, ending, theirs, ours, _ = await add_tasks(
        one,
        {"session_id": "gone", "lease": 1},
        {"session_id": "gone", "lease": 1, "lease_until_us": NOW_US},
        {"session_id": "s2", "lease": 1},
        {"session_id": "s1", "lease": 1},
        {},
    )
    await one.take_session("s1")
    await two.take_session("s2")
    assert await here(one) == [nobodys, ending, ours]
    assert await here(two) == [nobodys, ending, theirs]
    await two.take_session("gone")
    assert await here(one) == [ours]


async def test_leases_of_who_left_stand_and_are_nobodys(one: SharedStore, two: SharedStore) -> None:
    (task,) = await add_tasks(one, {"session_id": "s1", "lease": 1})
    await two.take_session("s1")
    await two.leave()
    assert await one.leased_tasks() == [task]
    assert await here(one) == [task]
    assert not await two.release_session("s1")


async def test_sessions_of_the_silent_are_theirs_until_they_are_buried(
    one: SharedStore, two: SharedStore, three: SharedStore
) -> None:
    (task,) = await add_tasks(one, {"session_id": "s1", "lease": 1})
    await two.take_session("s1")
    await two.close()
    assert await here(one) == []
    assert await one.bury("two", silent_us=0) == ["s1"]
    assert await here(one) == [task]
    assert await here(three) == []
    await one.release_session("s1")
    assert await here(three) == [task]


async def here(store: SharedStore) -> list[Task]:
    return sorted(await store.leases_here(), key=lambda task: task.run_id)


async def test_overdue_is_what_ended_before(one: SharedStore) -> None:
    run = a_run(9)
    change = starting(run)
    timers = [a_timer(run, seq, due_us=due_us) for seq, due_us in enumerate((3, 5, 1), 1)]
    timers.append(a_timer(run, 7, kind=TimerKind.ACTIVITY_TOTAL, due_us=4))
    change.put_timers = {(timer.kind, timer.seq): timer for timer in timers}
    await one.commit([alone(change)])
    held = {"session_id": "s1", "lease": 1}
    tasks = await add_tasks(
        one,
        held | {"lease_until_us": START_US + 3},
        held | {"lease_until_us": START_US + 5},
        held | {"lease_until_us": START_US + 1},
        held,
        {},
    )
    found = await one.overdue(START_US + 5, limit=9)
    assert found == Overdue((timers[2], timers[0], timers[3]), (tasks[2], tasks[0]))
    first = await one.overdue(START_US + 6, limit=1)
    assert first == Overdue((timers[2],), (tasks[2],))
    assert await one.overdue(START_US, limit=9) == Overdue((), ())


async def test_ready_lanes_are_those_with_a_task_to_give(one: SharedStore) -> None:
    await add_tasks(
        one,
        {},
        {},
        {"queue": "other", "ready_at_us": NOW_US},
        {"queue": "later", "ready_at_us": NOW_US + 1},
        {"queue": "held", "session_id": "s1"},
    )
    found = await one.ready_lanes(NOW_US)
    assert sorted(lane.queue for lane in found) == ["other", "shop"]
    assert set(found) == {LANE, OTHER_LANE}
    assert len(await one.ready_lanes(NOW_US + 1)) == 3
