"""Who hears of what: hints lose nothing, and say no more than they must."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from perdure_server.store.contract import ClaimRequest
from perdure_server.store.shared import Hint, SharedStore
from tests.store.shared.rig import HOUR_US, LANE, NOW_US, OTHER_LANE, Ear, add_tasks
from tests.store.test_api_keys import a_key, insert
from tests.support.histories import a_run, a_task, alone, starting, stepping


async def test_the_first_hint_is_everything(one: SharedStore, two: SharedStore) -> None:
    await add_tasks(one, {})
    for store in (one, two):
        ear = Ear(store)
        assert (await ear.hear()).everything
        await ear.close()


async def test_a_commit_is_hinted_to_the_others(
    one: SharedStore, two: SharedStore, ear: Ear
) -> None:
    await add_tasks(one, {}, {"queue": "other", "ready_at_us": NOW_US + HOUR_US})
    runs = frozenset({a_run(1).run_id, a_run(2).run_id})
    expected = Hint(runs=runs, lanes=frozenset({LANE, OTHER_LANE}))
    assert await ear.hear_until(expected) == expected
    assert await two.load_run(a_run(2).run_id) is not None


async def test_a_task_that_is_committed_with_its_lease_is_no_work(
    one: SharedStore, ear: Ear
) -> None:
    await add_tasks(one, {"session_id": "s1", "lease": 1})
    expected = Hint(runs=frozenset({a_run(1).run_id}))
    assert await ear.hear_until(expected) == expected


async def test_a_claim_is_nobodys_news(one: SharedStore, ear: Ear) -> None:
    await add_tasks(one, {}, {"queue": "other"})
    await ear.hear_until(Hint(runs=frozenset({a_run(1).run_id, a_run(2).run_id})))
    await one.claim_tasks([ClaimRequest(LANE, 9, "s1", "w")], NOW_US)
    await insert(one, a_key(1))
    assert await ear.hear_until(Hint(api_keys=True)) == Hint(api_keys=True)


async def test_that_tasks_are_to_stop_is_heard_of_runs_that_go_on(
    one: SharedStore, ear: Ear
) -> None:
    await add_tasks(one, {}, {})
    runs = [replace(a_run(number), history_length=1) for number in (1, 2)]
    await ear.hear_until(Hint(runs=frozenset(run.run_id for run in runs)))
    changes = [stepping(runs[0]), stepping(runs[1], closed_at_us=NOW_US)]
    changes[1].closes = True
    for change in changes:
        change.stops = True
    await one.commit([alone(change) for change in changes])
    expected = Hint(
        runs=frozenset(run.run_id for run in runs),
        closed=frozenset({runs[1].run_id}),
        stopped=frozenset({runs[0].run_id}),
    )
    assert await ear.hear_until(expected) == expected


async def test_a_run_that_closes_gives_no_lane_work(one: SharedStore, ear: Ear) -> None:
    await add_tasks(one, {})
    await ear.hear_until(Hint(lanes=frozenset({LANE})))
    run = replace(a_run(), history_length=1)
    change = stepping(run, a_task(run), closed_at_us=NOW_US)
    change.closes = True
    await one.commit([alone(change)])
    expected = Hint(runs=frozenset({run.run_id}), closed=frozenset({run.run_id}))
    assert await ear.hear_until(expected) == expected


async def test_who_asks_to_be_alone_with_a_run_is_heard(one: SharedStore, ear: Ear) -> None:
    async with one.alone_with("run-1"):
        expected = Hint(wanted=frozenset({"run-1"}))
        assert await ear.hear_until(expected) == expected


async def test_changes_of_keys_are_hinted(one: SharedStore, ear: Ear) -> None:
    await insert(one, a_key(1))
    assert await ear.hear_until(Hint(api_keys=True)) == Hint(api_keys=True)
    await one.delete_api_key(a_key(1).prefix)
    assert await ear.hear_until(Hint(api_keys=True)) == Hint(api_keys=True)


async def test_what_wrote_nothing_is_not_hinted(one: SharedStore, ear: Ear) -> None:
    await insert(one, a_key(1))
    await ear.hear_until(Hint(api_keys=True))
    await one.commit([alone(stepping(a_run(5)))])
    await one.claim_tasks([ClaimRequest(LANE, 9, "s1", "w")], NOW_US)
    await insert(one, a_key(1))
    await one.delete_api_key("nobody's")
    await add_tasks(one, {})
    heard = await ear.hear()
    assert heard == Hint(runs=frozenset({a_run(1).run_id}), lanes=frozenset({LANE}))


async def test_a_server_does_not_hear_itself(one: SharedStore, two: SharedStore, ear: Ear) -> None:
    await two.commit([alone(starting(a_run(1)))])
    await one.commit([alone(starting(a_run(2)))])
    expected = Hint(runs=frozenset({a_run(2).run_id}))
    assert await ear.hear_until(expected) == expected


async def test_hints_wait_for_who_does_not_listen_yet(one: SharedStore, ear: Ear) -> None:
    for number in range(1, 4):
        await one.commit([alone(starting(a_run(number)))])
    await insert(one, a_key(1))
    runs = frozenset(a_run(number).run_id for number in range(1, 4))
    expected = Hint(runs=runs, api_keys=True)
    assert await ear.hear_until(expected) == expected


async def test_many_runs_of_one_commit_are_hinted(one: SharedStore, ear: Ear) -> None:
    """More than fit into one message of some backend: then it may say `everything`."""
    runs = [a_run(number) for number in range(1, 1001)]
    await one.commit([alone(starting(run)) for run in runs])
    expected, heard = {run.run_id for run in runs}, set[str]()
    while not heard >= expected:
        hint = await ear.hear()
        heard |= expected if hint.everything else hint.runs


async def test_hints_end_with_the_store(two: SharedStore, ear: Ear) -> None:
    ending = asyncio.create_task(ear.hear())
    await asyncio.sleep(0)
    await two.close()
    with pytest.raises(StopAsyncIteration):
        await ending


@pytest.mark.parametrize("size", [0, 1, 5_700, 5_701, 3_000_000])
async def test_a_note_reaches_one_server_whole(
    one: SharedStore, two: SharedStore, three: SharedStore, ear: Ear, *, size: int
) -> None:
    note = bytes(number % 256 for number in range(size))
    await one.send_note("three", b"for another")
    await one.send_note("two", note)
    await three.send_note("two", b"next")
    await one.send_note("nobody", note)
    heard: list[bytes] = []
    while len(heard) < 2:
        heard += (await ear.hear()).notes
    assert sorted(heard) == sorted([note, b"next"])


async def test_notes_of_one_sender_keep_their_order(
    one: SharedStore, two: SharedStore, ear: Ear
) -> None:
    notes = [bytes([number]) * 9_000 for number in range(5)]
    for note in notes:
        await one.send_note("two", note)
    heard: list[bytes] = []
    while len(heard) < len(notes):
        heard += (await ear.hear()).notes
    assert heard == notes
