"""Who lives, who is silent, and what all servers see."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from perdure_server.core.errors import StaleVersion
from perdure_server.store.contract import ClaimRequest, Committed
from perdure_server.store.shared import SharedStore, is_shared
from tests.store.shared.rig import HOUR_US, LANE, NOW_US, Servers, add_tasks
from tests.support.histories import a_run, alone, starting, stepping
from tests.support.model_store import ModelStore


async def test_it_is_known_to_be_shared(one: SharedStore) -> None:
    assert is_shared(one)
    assert not is_shared(ModelStore())


async def test_what_one_commits_the_other_reads(one: SharedStore, two: SharedStore) -> None:
    (task,) = await add_tasks(one, {})
    ((leased,),) = await two.claim_tasks([ClaimRequest(LANE, 9, "s", "w")], NOW_US)
    assert leased.run_id == task.run_id
    assert await one.claim_tasks([ClaimRequest(LANE, 9, "s", "w")], NOW_US) == [[]]
    assert await one.leased_tasks() == [leased]


async def test_of_two_decisions_on_one_state_one_is_refused(
    one: SharedStore, two: SharedStore
) -> None:
    await add_tasks(one, {})
    change = alone(stepping(replace(a_run(), history_length=1)))
    outcomes = await asyncio.gather(one.commit([change]), two.commit([change]))
    kinds = {type(outcome) for (outcome,) in outcomes}
    assert kinds == {Committed, StaleVersion}


async def test_positions_of_all_servers_are_one_order(one: SharedStore, two: SharedStore) -> None:
    for number in range(1, 5):
        store = (one, two)[number % 2]
        await store.commit([alone(starting(a_run(number)))])
    start = replace(await one.last_position(), commit=0, index=-1)
    assert await one.last_position() == await two.last_position()
    events = await two.read_events(start, limit=9)
    assert [event.run_id for event in events] == [a_run(n).run_id for n in range(1, 5)]
    assert [event.position for event in events] == sorted(event.position for event in events)


async def test_those_that_beat_live(one: SharedStore, three: SharedStore) -> None:
    beat = await one.beat(silent_us=HOUR_US)
    assert beat is not None
    assert (beat.servers, beat.silent) == (3, ())


async def test_time_is_that_of_the_database(servers: Servers) -> None:
    first, second = await servers(), await servers()
    joined_us = await first.join("first")
    later_us = await second.join("second")
    beat = await first.beat(silent_us=HOUR_US)
    assert beat is not None
    assert joined_us <= later_us <= beat.now_us


async def test_who_has_not_beaten_since_is_silent(
    one: SharedStore, two: SharedStore, three: SharedStore
) -> None:
    beat = await one.beat(silent_us=0)
    assert beat is not None
    assert beat.servers == 1
    assert sorted(beat.silent) == ["three", "two"]


async def test_a_server_that_beat_again_is_not_buried(one: SharedStore, two: SharedStore) -> None:
    assert await one.bury("two", silent_us=HOUR_US) is None
    beat = await two.beat(silent_us=HOUR_US)
    assert beat is not None
    assert beat.servers == 2


async def test_a_buried_server_learns_it_and_joins_anew(one: SharedStore, two: SharedStore) -> None:
    assert await one.bury("two", silent_us=0) == []
    assert await two.beat(silent_us=HOUR_US) is None
    assert await two.beat(silent_us=HOUR_US) is None
    beat = await one.beat(silent_us=HOUR_US)
    assert beat is not None
    assert beat.servers == 1
    await two.join("two again")
    beat = await two.beat(silent_us=HOUR_US)
    assert beat is not None
    assert beat.servers == 2


async def test_nobody_is_buried_twice(one: SharedStore, two: SharedStore) -> None:
    assert await one.bury("two", silent_us=0) == []
    assert await one.bury("two", silent_us=0) is None
    assert await one.bury("nobody", silent_us=0) is None


async def test_of_servers_that_bury_the_same_one_has_its_sessions(
    one: SharedStore, two: SharedStore, three: SharedStore
) -> None:
    await three.take_session("s1")
    answers = await asyncio.gather(one.bury("three", silent_us=0), two.bury("three", silent_us=0))
    assert sorted(answers, key=str) == sorted([["s1"], None], key=str)
    winner = one if answers[0] else two
    loser = two if answers[0] else one
    assert not await loser.release_session("s1")
    assert await winner.release_session("s1")


async def test_a_buried_server_buries_nobody(one: SharedStore, two: SharedStore) -> None:
    await one.take_session("s1")
    assert await one.bury("two", silent_us=0) == []
    assert await two.bury("one", silent_us=0) is None
    assert await one.release_session("s1")


async def test_a_server_that_left_is_not_missed(one: SharedStore, two: SharedStore) -> None:
    await two.leave()
    beat = await one.beat(silent_us=0)
    assert beat is not None
    assert (beat.servers, beat.silent) == (1, ())
    assert await one.bury("two", silent_us=0) is None


async def test_leaving_without_having_joined_does_nothing(
    one: SharedStore, servers: Servers
) -> None:
    await (await servers()).leave()
    await one.leave()
    await one.leave()


async def test_a_server_that_closed_without_leaving_grows_silent(
    one: SharedStore, two: SharedStore
) -> None:
    await two.take_session("s1")
    await two.close()
    beat = await one.beat(silent_us=0)
    assert beat is not None
    assert beat.silent == ("two",)
    assert await one.bury("two", silent_us=0) == ["s1"]
