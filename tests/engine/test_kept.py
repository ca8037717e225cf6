"""Workflow tasks that their workers keep: a stale report of one does it no harm."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from perdure.v1 import workflow_service_pb2 as pb
from perdure.v1.command_pb2 import Command
from perdure_server.core.token import TaskToken
from tests.engine.rig import payload, settle


async def keep(hand, task, seq):
    """Reports a step for a task that is kept; returns the task as it goes on, or the refusal."""
    step = Command(record_step={"seq": seq, "name": "fetch", "result": payload()})
    report = {"commands": [step], "keep_task": True}
    result = await hand.report(task, workflow_task_completed=report)
    return result.kept if result and result.HasField("kept") else result


async def test_what_happens_beside_a_stale_report_is_told(rig, store):
    hand = await rig.worker()
    await rig.start()
    kept = await keep(hand, hand.workflow_tasks[0], 1)
    token = TaskToken.decode(kept.task_token)
    other = replace(token, lease=token.lease + 1).encode()
    with store.closed("commit"):
        signals = []
        for name in "ab":
            request = pb.SignalWorkflowRequest(workflow_id="w", signal_name=name)
            signals.append(asyncio.create_task(rig.engine.workflows.signal(request)))
            await settle()
        await keep(hand, type(kept)(task_token=other), 2)
    await asyncio.gather(*signals)
    await settle()
    assert [result.reason for result in hand.results] == ["", "STALE_TASK"]
    events = [event for task in hand.kept_tasks for event in task.history.events]
    assert [event.signal_received.signal_name for event in events] == ["a", "b"]


async def test_a_task_whose_report_comes_again_late_is_not_lost_with_its_worker(rig):
    hand = await rig.worker()
    await rig.start()
    first = hand.workflow_tasks[0]
    second = await keep(hand, first, 1)
    await keep(hand, second, 2)
    assert (await keep(hand, first, 1)).reason == "STALE_TASK"
    await hand.cut()
    await rig.advance(15)
    other = await rig.worker("other")
    assert [task.run_id for task in other.workflow_tasks] == [first.run_id]
