"""One client session: calls that are given up leave nothing behind."""

from __future__ import annotations

import asyncio

from perdure.v1 import workflow_service_pb2 as pb
from perdure_server.api.errors import to_status
from tests.engine.rig import complete, settle


async def test_an_abandoned_wait_is_not_answered_and_holds_nothing(rig):
    hand = await rig.worker()
    await rig.start()
    requests: asyncio.Queue[pb.SessionRequest | None] = asyncio.Queue()
    replies = []

    async def listen():
        async for data in rig.engine.workflows.session(_drain(requests), to_status):
            replies.extend(pb.SessionResponse.FromString(data).replies)

    listening = asyncio.create_task(listen())
    wait = {"workflow_id": "w"}
    requests.put_nowait(
        pb.SessionRequest(calls=[{"call_id": 1, "result": wait}, {"call_id": 2, "result": wait}])
    )
    await settle()
    requests.put_nowait(pb.SessionRequest(abandoned_call_ids=[1, 99]))
    await settle()
    await hand.command(hand.workflow_tasks[0], complete("42"))
    assert [(reply.call_id, reply.result.result.data) for reply in replies] == [(2, b"42")]
    requests.put_nowait(None)
    await listening


async def _drain(requests):
    while (request := await requests.get()) is not None:
        yield request
