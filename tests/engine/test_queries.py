"""Which worker is asked a query, and what becomes of it when that one is lost."""

from __future__ import annotations

import asyncio

import pytest

from perdure.v1 import interaction_pb2 as asking
from perdure.v1 import workflow_service_pb2 as pb
from perdure_server.core import limits
from perdure_server.core.errors import (
    LimitExceeded,
    NoWorker,
    QueryFailed,
    ShuttingDown,
    StoreUnavailable,
)
from perdure_server.engine import errands
from tests.engine.gated import GatedStore
from tests.engine.rig import complete, payload, running, settle, wait


async def signal(rig):
    request = pb.SignalWorkflowRequest(workflow_id="w", signal_name="else")
    await rig.engine.workflows.signal(request)


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


async def elsewhere(servers, **fields):
    """Starts a run at one server, whose worker is at another."""
    hand = await answering(servers[1], **fields)
    await servers[0].start()
    return hand


async def shared(database):
    """Lets the servers know one another's workers."""
    await database.advance(4)


async def asked_of(hand, count=1):
    """Returns when a worker was asked so often."""
    async with asyncio.timeout(30):
        while len(hand.queries) < count:
            await settle()


async def test_a_worker_at_another_server_answers(servers, database):
    hand = await elsewhere(servers)
    await hand.command(hand.workflow_tasks[0], wait())
    await shared(database)
    asked = query(servers[0], input=payload("5"))
    await asked_of(hand)
    task = await answer(hand)
    assert (task.input.data, task.current_seq) == (b"5", 1)
    assert (await asked).value.data == b"7"
    # It sees what the third server has taken a moment ago.
    await signal(servers[2])
    asked = query(servers[2])
    await asked_of(hand)
    assert (await answer(hand)).current_seq == 3
    assert (await asked).value.data == b"7"


async def test_a_worker_that_comes_to_another_server_answers(servers, database):
    await servers[0].start()
    asked = query(servers[0])
    await settle()
    hand = await answering(servers[1])
    await shared(database)
    await asked_of(hand)
    await answer(hand)
    assert (await asked).value.data == b"7"


async def test_a_worker_that_comes_here_answers(servers, database):
    hand = await elsewhere(servers)
    await shared(database)
    asked = query(servers[0])
    await asked_of(hand)
    here = await answering(servers[0], "s2")
    await asked_of(here)
    await answer(here)
    assert (await asked).value.data == b"7"


async def test_a_question_goes_on_to_the_next_server(servers, database):
    hands = [await answering(servers[number], f"s{number}") for number in (1, 2)]
    await servers[0].start()
    await shared(database)
    asked = query(servers[0])
    async with asyncio.timeout(30):
        while not any(hand.queries for hand in hands):
            await settle()
    hands.sort(key=lambda hand: bool(hand.queries))
    await hands[1].cut()
    await asked_of(hands[0])
    await answer(hands[0])
    assert (await asked).value.data == b"7"


async def test_nobody_anywhere_answers(servers, database):
    hand = await elsewhere(servers, workflows=("other",))
    await shared(database)
    with pytest.raises(NoWorker, match="is connected"):
        await query(servers[0], wait={"nanos": 50_000_000})
    other = await answering(servers[1], "s2")
    await shared(database)
    with pytest.raises(NoWorker, match="has answered"):
        await query(servers[0], wait={"seconds": 1})
    assert (len(hand.queries), len(other.queries)) == (0, 1)


async def test_failures_and_large_answers_come_over(servers, database):
    hand = await elsewhere(servers)
    await shared(database)
    for outcome, text in (
        ({"failure": {"message": "no room", "type": "Full"}}, "no room"),
        ({"value": {"data": b"x" * 5_000_000}}, "the bound is 2097152"),
    ):
        asked = query(servers[0])
        await asked_of(hand)
        task = hand.queries.pop()
        await hand.say(query_answers=[{"query_id": task.query_id, "outcome": outcome}])
        with pytest.raises(QueryFailed, match=text):
            await asked


async def test_what_others_ask_is_bounded(servers, database, monkeypatch):
    hand = await elsewhere(servers)
    await shared(database)
    monkeypatch.setattr(limits, "QUERIES_MAX", 1)
    asked = [query(servers[number]) for number in (0, 2)]
    await asked_of(hand)
    await answer(hand)
    await asked_of(hand)
    await answer(hand)
    assert [(await each).value.data for each in asked] == [b"7", b"7"]


async def test_a_question_whose_note_was_lost_is_put_again(servers, database, monkeypatch):
    hand = await elsewhere(servers)
    await shared(database)
    send, lost = servers[0].store.send_note, []

    async def lose_first(server_id, note):
        if lost:
            await send(server_id, note)
        lost.append(note)

    monkeypatch.setattr(servers[0].store, "send_note", lose_first)
    asked = query(servers[0])
    await asked_of(hand)
    await answer(hand)
    assert (await asked).value.data == b"7"
    assert len(lost) == 2


async def test_a_note_that_nobody_can_read_makes_no_server_deaf(servers, database):
    await servers[0].store.send_note(servers[1].engine._peers.server_id, b"no note")
    await settle()
    hand = await elsewhere(servers)
    await shared(database)
    asked = query(servers[0])
    await asked_of(hand)
    await answer(hand)
    assert (await asked).value.data == b"7"


async def test_who_has_left_is_forgotten(servers, database, monkeypatch):
    monkeypatch.setattr(errands, "_FORGET_S", 0.0)
    monkeypatch.setattr(errands, "_AGAIN_S", 0.01)
    hand = await elsewhere(servers)
    await shared(database)
    asked = query(servers[0])
    await asked_of(hand)
    asked.cancel()
    async with asyncio.timeout(30):
        while servers[1].engine._errands._asked:
            await settle()


async def test_a_server_that_stops_gives_questions_of_others_back(servers, database):
    hand = await elsewhere(servers)
    await shared(database)
    asked = query(servers[0])
    await asked_of(hand)
    await servers[1].engine.drain()
    here = await answering(servers[0], "s2")
    await asked_of(here)
    await answer(here)
    assert (await asked).value.data == b"7"


async def test_many_that_wait_look_as_seldom_as_one(servers, database, monkeypatch):
    looks, look = [], servers[0].store.list_workers

    async def counted(namespace, **named):
        looks.append(named["queue"])
        return await look(namespace, **named)

    monkeypatch.setattr(servers[0].store, "list_workers", counted)
    monkeypatch.setattr(errands, "_FRESH_S", 100.0)
    monkeypatch.setattr(errands, "_QUEUES_MAX", 1)
    for workflow_id, queue in (("w", "default"), ("v", "other")):
        await servers[0].start(workflow_id, task_queue=queue)
    asked = [query(servers[0]) for _ in range(100)]
    await settle()
    assert looks == ["default"]
    request = asking.QueryWorkflowRequest(workflow_id="v", query_name="listed")
    other = asyncio.create_task(servers[0].engine.queries.query(request))
    await settle()
    assert looks == ["default", "other"]
    for each in (*asked, other):
        each.cancel()


async def test_a_run_that_cannot_be_read_keeps_nobody_waiting(monkeypatch):
    monkeypatch.setattr(limits, "QUERY_WAIT_US", 1_000)
    store = GatedStore()
    await store.open()
    async with running(store) as rig:
        hand = await answering(rig)
        await rig.start()
        store.refuse_with = StoreUnavailable("away")
        with pytest.raises(StoreUnavailable):
            await signal(rig)  # what was in memory may be out of date now
        with pytest.raises(StoreUnavailable, match="could not be read"):
            await query(rig)
        assert not hand.queries
