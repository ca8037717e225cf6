"""Callers that wait for the answer to an update, also at other servers than the one it came to."""

from __future__ import annotations

import asyncio

import pytest

from perdure.v1 import interaction_pb2 as asking
from perdure.v1.command_pb2 import Command
from perdure_server.core.errors import RunClosed, ShuttingDown
from tests.engine.rig import complete, payload, settle, wait


def update(rig, **fields):
    defaults = {"workflow_id": "w", "update_name": "add", "request_id": "r"}
    request = asking.UpdateWorkflowRequest(**(defaults | fields))
    return asyncio.create_task(rig.engine.workflows.updates.update(request))


def answer(seq, text="7"):
    return Command(complete_update={"requested_seq": seq, "result": payload(text)})


async def waiting_run(rig, hand):
    await rig.start()
    await hand.command(hand.workflow_tasks[0], wait("never"))


async def test_callers_at_all_servers_get_the_one_answer(servers):
    hand = await servers[1].worker()
    await waiting_run(servers[0], hand)
    asked = [update(rig) for rig in servers]
    await settle()
    task = hand.workflow_tasks[-1]
    kinds = [event.WhichOneof("event") for event in task.history.events]
    assert kinds.count("update_requested") == 1
    await hand.command(task, answer(3))
    answers = [await each for each in asked]
    assert {(each.event_seq, each.result.data) for each in answers} == {(3, b"7")}


async def test_an_end_at_another_server_is_told(servers):
    hand = await servers[1].worker()
    await waiting_run(servers[0], hand)
    asked = update(servers[2])
    await settle()
    await hand.command(hand.workflow_tasks[-1], complete())
    with pytest.raises(RunClosed):
        await asked


async def test_a_lost_hint_is_made_up_for(servers):
    hand = await servers[1].worker()
    await waiting_run(servers[0], hand)
    asked = update(servers[2])
    await settle()
    servers[2].engine._peers._looking = asyncio.Semaphore(0)
    await hand.command(hand.workflow_tasks[-1], answer(3))
    again = update(servers[2])
    await settle()
    assert (await again).result.data == b"7"
    asked.cancel()
    await settle()
    assert len(servers[2].engine._outcomes) == 0


async def test_a_caller_that_waits_hears_that_the_server_stops(rig):
    hand = await rig.worker()
    await waiting_run(rig, hand)
    asked = update(rig)
    await settle()
    assert len(rig.engine._outcomes) == 1
    await rig.engine.drain()
    with pytest.raises(ShuttingDown):
        await asked
    assert len(rig.engine._outcomes) == 0
