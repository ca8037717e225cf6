"""Which worker is asked a query, and what becomes of it when that one is lost."""

from __future__ import annotations

import asyncio

import pytest

from perdure.v1 import interaction_pb2 as asking
from perdure_server.core import limits
from perdure_server.core.errors import LimitExceeded, NoWorker, ShuttingDown
from tests.engine.rig import complete, payload, settle, wait


def query(rig, **fields):
    request = asking.QueryWorkflowRequest(workflow_id="w", query_name="listed")
    request.MergeFrom(asking.QueryWorkflowRequest(**fields))
    return asyncio.create_task(rig.engine.queries.query(request))


async def answering(rig, session_id="s1", **fields):
    return await rig.worker(session_id, answers_queries=True, **fields)


async def answer(hand, text="7"):
    task = hand.queries.pop(0)
    await hand.say(query_answers=[{"query_id": task.query_id, "outcome": {"value": payload(text)}}])
    return task


async def test_who_has_the_run_in_memory_is_asked(rig):
    first, second = await answering(rig), await answering(rig, "s2")
    await rig.start()
    has, has_not = (first, second) if first.workflow_tasks else (second, first)
    await has.command(has.workflow_tasks[0], wait())
    asked = [query(rig) for _ in range(3)]
    await settle()
    assert [task.current_seq for task in has.queries] == [1, 1, 1]
    assert not has_not.queries
    await has.cut()
    # Nobody else has it in memory: the history is to be played.
    assert [task.current_seq for task in has_not.queries] == [0, 0, 0]
    for number in range(3):
        await answer(has_not, str(number))
    assert [(await each).value.data for each in asked] == [b"0", b"1", b"2"]


async def test_a_worker_that_forgot_the_run_is_told_to_play_it(rig):
    hand = await answering(rig)
    run = await rig.start()
    await hand.command(hand.workflow_tasks[0], wait())
    await hand.say(evicted_run_ids=[run.run_id])
    asked = query(rig)
    await settle()
    assert (await answer(hand)).current_seq == 0
    assert (await asked).run_id == run.run_id


async def test_each_worker_is_asked_so_much_at_once(rig, monkeypatch):
    monkeypatch.setattr(limits, "QUERIES_PER_SESSION_MAX", 2)
    first, second = await answering(rig), await answering(rig, "s2")
    await rig.start()
    asked = [query(rig, input=payload(str(number))) for number in range(6)]
    await settle()
    assert (len(first.queries), len(second.queries)) == (2, 2)
    while first.queries or second.queries:
        await answer(first if first.queries else second)
    assert len([await each for each in asked]) == 6


async def test_a_caller_that_left_frees_no_room_at_the_worker(rig, monkeypatch):
    monkeypatch.setattr(limits, "QUERIES_PER_SESSION_MAX", 1)
    hand = await answering(rig)
    await rig.start()
    left, asked = query(rig), query(rig)
    await settle()
    left.cancel()
    await settle()
    assert len(hand.queries) == 1
    assert rig.engine.queries.under_way == 1
    await answer(hand)
    await answer(hand)
    assert (await asked).value.data == b"7"


async def test_a_worker_that_leaves_is_asked_no_more(rig):
    hand = await answering(rig)
    await rig.start()
    await hand.say(draining=True)
    asked = query(rig)
    await settle()
    assert not hand.queries
    other = await answering(rig, "s2")
    await answer(other)
    assert (await asked).value.data == b"7"


async def test_a_worker_that_connects_again_is_asked_again(rig):
    hand = await answering(rig)
    await rig.start()
    asked = query(rig)
    await settle()
    again = await answering(rig)
    assert len(hand.queries) == len(again.queries) == 1
    await answer(again)
    assert (await asked).value.data == b"7"


async def test_bytes_under_way_are_bounded(rig, monkeypatch):
    monkeypatch.setattr(limits, "QUERIES_BYTES_MAX", 100)
    await rig.start()
    with pytest.raises(LimitExceeded, match="the bounds are 1000 and 100"):
        await query(rig, input=payload("1" * 100))
    with pytest.raises(NoWorker):
        await query(rig, wait={})
    assert rig.engine.queries.under_way == 0


async def test_the_latest_run_is_meant(rig):
    hand = await answering(rig)
    first = await rig.start()
    await hand.command(hand.workflow_tasks[0], complete())
    second = await rig.start(reuse_policy="REUSE_POLICY_ALLOW_DUPLICATE")
    asked = [query(rig), query(rig, run_id=first.run_id)]
    await settle()
    assert [task.run_id for task in hand.queries] == [second.run_id, first.run_id]
    await answer(hand)
    await answer(hand)
    assert [(await each).run_id for each in asked] == [second.run_id, first.run_id]


async def test_a_server_that_stops_says_so(rig):
    hand = await answering(rig)
    await rig.start()
    asked = [query(rig), query(rig, namespace="main")]
    await settle()
    assert len(hand.queries) == 2
    assert not rig.engine.is_quiet()
    await rig.engine.drain()
    for each in asked:
        with pytest.raises(ShuttingDown):
            await each
    with pytest.raises(ShuttingDown):
        await query(rig)
