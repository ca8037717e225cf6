"""Servers that are cut off from their database, or too old for it: they say so."""

from __future__ import annotations

import asyncio

import pytest

from perdure.v1 import worker_service_pb2 as worker
from perdure_server.core.errors import SchemaTooNew, ShuttingDown, StoreUnavailable
from tests.engine.rig import settle


async def test_who_is_cut_off_says_so_until_it_is_not(servers, database):
    here, standing = servers[0], servers[0].engine.standing
    await database.advance(1)
    beat = here.store.beat

    async def fail(*, silent_us):
        here.store.is_cut_off = True
        raise StoreUnavailable("the database is away")

    here.store.beat = fail
    lost = asyncio.create_task(standing.until_lost())
    await settle()
    assert not lost.done()
    await database.advance(2)
    assert lost.done()
    assert standing.has_others
    reached = asyncio.create_task(standing.until_reached())
    await database.advance(2)
    assert not reached.done()
    here.store.beat, here.store.is_cut_off = beat, False
    await database.advance(2)
    assert reached.done()


async def test_a_refused_beat_is_no_cut(servers, database):
    async def fail(*, silent_us):
        raise StoreUnavailable("the disk is full")

    servers[0].store.beat = fail
    await database.advance(2)
    await servers[0].engine.standing.until_reached()


async def test_polls_may_be_told_to_ask_another(servers):
    request = worker.PollWorkflowTaskRequest(task_queue="default", worker_id="p")
    request.wait.seconds = 60
    polling = asyncio.create_task(servers[0].engine.workers.poll_workflow_task(request))
    await settle()
    servers[0].engine.turn_away(ShuttingDown("elsewhere"))
    with pytest.raises(ShuttingDown):
        await polling


@pytest.mark.parametrize("is_buried", [False, True])
async def test_a_database_that_needs_a_newer_server_ends_this_one(servers, database, is_buried):
    here = servers[0]

    async def refuse(*_, **__):
        raise SchemaTooNew("start a newer server")

    if is_buried:
        del database.contents.beats[here.store._server_id]
        here.store.join = refuse
    else:
        here.store.beat = refuse
    over = asyncio.create_task(here.engine.standing.until_over())
    await settle()
    assert not over.done()
    await database.advance(2)
    with pytest.raises(SchemaTooNew):
        await over
    await here.engine.standing.until_lost()
