"""Workers that die, block, or compute for ever."""

from __future__ import annotations

import asyncio

import pytest

from perdure.v1.workflow_service_pb2 import GetWorkflowRequest, GetWorkflowResponse
from tests.crash.blocked import OTHERS, SECONDS
from tests.crash.histories import attempts, faults_of
from tests.crash.stage import PLAY_S
from tests.crash.worker import ENDLESS, compute, gather_at_gates
from tests.support.processes import PATIENCE_S

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(PLAY_S + 20)]


async def test_the_tasks_of_a_killed_worker_run_elsewhere(stage):
    first = await stage.start_worker()
    async with stage.client() as client:
        handle = await client.start(gather_at_gates, ["gate"] * 5, id="gates")
        await stage.until_executing(10)
        second = await stage.start_worker()
        first.kill()
        stage.open_gate("gate")
        assert await handle.result() == [*range(5), *range(5)]
        history = await handle.history()

    assert faults_of(history) == []
    assert attempts(history) == [2] * 10
    assert all(pids == [first.pid, second.pid] for pids in stage.executing_processes().values())


async def test_an_endless_loop_is_reported_with_its_stack_and_retried_elsewhere(stage):
    endless = await stage.start_worker(**{ENDLESS: "1"})
    async with stage.client() as client:
        handle = await client.start(compute, 21, id="compute")
        task = await until_reported(client, handle)
        assert task.last_failure.type == "WorkflowTaskTimeout"
        assert "in compute" in task.last_failure.stack_trace
        assert "in compute" in endless.complaints()

        await stage.start_worker()
        assert await handle.result() == 42
        assert faults_of(await handle.history()) == []
        assert endless.is_running


async def test_a_blocked_loop_loses_no_activity(blocked):
    history, executions = await blocked
    assert faults_of(history) == []
    assert attempts(history) == [1] * (OTHERS + 1)
    assert executions == {("blocked", seq): 1 for seq in range(1, OTHERS + 2)}
    last = [e for e in history.events if e.HasField("activity_completed")][-1]
    spent = last.timestamp.ToDatetime() - history.events[0].timestamp.ToDatetime()
    assert spent.total_seconds() > SECONDS


async def until_reported(client, handle):
    """Waits until a workflow task has failed; returns how the server describes it."""
    request = GetWorkflowRequest(namespace="main", workflow_id=handle.workflow_id)
    async with asyncio.timeout(PATIENCE_S):
        while True:
            answer = await client.connection.unary(
                "WorkflowService/GetWorkflow", request, GetWorkflowResponse
            )
            if answer.pending_workflow_task.HasField("last_failure"):
                return answer.pending_workflow_task
            await asyncio.sleep(0.1)
