"""What operators do to a pending activity, through the handle of its workflow."""

from __future__ import annotations

from datetime import timedelta

import pytest

from perdure import RetryPolicy, activity, workflow
from perdure.errors import ActivityNotFoundError
from perdure.v1 import workflow_service_pb2 as pb
from perdure.worker import Worker


@activity
async def charge(order: str) -> str:
    return f"charged {order}"


@workflow
async def checkout(order: str) -> str:
    return await charge(order)


async def test_a_pending_activity_is_held_back_changed_and_goes_on(client):
    async with Worker(client, "shop", [checkout], []):
        handle = await client.start(checkout, "o-1", id="w", task_queue="shop")
        async for event in handle.watch():
            if event.HasField("activity_scheduled"):
                break
    pending = handle.activity(1)
    assert (await pending.pause("look", identity="ann")).paused
    changed = await pending.update_options(
        retry=RetryPolicy(max_attempts=9),
        priority=1,
        start_to_close=timedelta(seconds=7),
        schedule_to_start=timedelta(0),
    )
    assert changed.options.start_to_close_timeout.seconds == 7
    assert changed.options.retry_policy.max_attempts == 9
    assert (await pending.reset(drop_heartbeat_details=True)).attempt == 1
    assert not (await pending.unpause()).paused
    with pytest.raises(ActivityNotFoundError):
        await handle.activity(2).pause()
    async with Worker(client, "shop", [checkout], [charge]):
        assert await handle.result() == "charged o-1"


async def test_one_from_outside_too(client):
    handle = await client.start(checkout, "o-1", id="w", task_queue="shop")
    await client.connection.unary(
        "WorkflowService/ScheduleActivity",
        pb.ScheduleActivityRequest(workflow_id="w", seq=7, name="audit"),
        pb.ScheduleActivityResponse,
    )
    paused = await handle.activity(7, external=True).pause()
    assert (paused.name, paused.seq, paused.external, paused.paused) == ("audit", 7, True, True)
    with pytest.raises(ActivityNotFoundError, match="no pending activity 8 from outside"):
        await handle.activity(8, external=True).pause()
