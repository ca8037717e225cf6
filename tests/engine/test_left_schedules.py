"""What becomes of a schedule whose caller leaves before the answer: it is served all the same."""

from __future__ import annotations

import asyncio

from perdure.v1 import schedule_service_pb2 as pb
from perdure.v1 import workflow_service_pb2
from perdure.v1.schedule_pb2 import OverlapPolicy, ScheduleSpec
from perdure_server.store.contract import ListFilter
from tests.engine.rig import settle

BUFFER_ALL = OverlapPolicy.OVERLAP_POLICY_BUFFER_ALL


def creation(*, paused=False):
    spec = ScheduleSpec(workflow_type="W", cron_expr="* * * * *", overlap_policy=BUFFER_ALL)
    return pb.CreateScheduleRequest(name="s", spec=spec, paused=paused)


async def unheard(store, call):
    """Has a caller leave before what it asked for is answered."""
    with store.closed("commit"):
        asking = asyncio.create_task(call)
        await settle()
        asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await settle()


async def started(store):
    runs = await store.list_runs(ListFilter("main"), after=None, limit=1000)
    return [each.run.workflow_id for each in reversed(runs)]


async def test_it_is_served_when_it_was_created(rig, store):
    await unheard(store, rig.engine.schedules.create(creation()))
    await rig.advance(60)
    assert len(await started(store)) == 1


async def test_it_is_served_when_it_was_resumed(rig, store):
    await rig.engine.schedules.create(creation(paused=True))
    await unheard(store, rig.engine.schedules.resume(pb.ResumeScheduleRequest(name="s")))
    await rig.advance(60)
    assert len(await started(store)) == 1


async def test_a_start_that_waits_for_another_comes(rig, store):
    await rig.engine.schedules.create(creation(paused=True))
    await rig.engine.schedules.trigger(pb.TriggerScheduleRequest(name="s"))
    await unheard(store, rig.engine.schedules.trigger(pb.TriggerScheduleRequest(name="s")))
    (first,) = await started(store)
    request = workflow_service_pb2.TerminateWorkflowRequest(workflow_id=first)
    await rig.engine.workflows.terminate(request)
    await rig.advance(1)
    assert len(await started(store)) == 2
