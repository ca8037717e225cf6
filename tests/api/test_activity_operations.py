"""PauseActivity, UnpauseActivity, ResetActivity, UpdateActivityOptions: answers and errors."""

from __future__ import annotations

import pytest

from perdure.v1 import workflow_service_pb2 as pb
from tests.api.flows import refused, schedule_activity

OPERATIONS = ["PauseActivity", "UnpauseActivity", "ResetActivity", "UpdateActivityOptions"]


async def operate(flows, name, workflow_id="w", activity_seq=1, **fields):
    kind = getattr(pb, f"{name}Request")
    request = kind(workflow_id=workflow_id, activity_seq=activity_seq, **fields)
    return (await flows.call(f"WorkflowService/{name}", request)).activity


async def scheduled(flows):
    await flows.start()
    await flows.complete_workflow_task(await flows.poll_workflow_task(), schedule_activity())


async def test_a_paused_one_is_kept_from_workers(flows):
    await scheduled(flows)
    assert (await operate(flows, "PauseActivity", reason="look", identity="ann")).paused
    assert not (await flows.poll_activity_task(wait=None)).task_token
    (shown,) = (await flows.get()).pending_activities
    assert shown.paused
    assert (await flows.get_activity(shown.activity_id)).paused
    assert not (await operate(flows, "UnpauseActivity")).paused
    await flows.complete_activity(await flows.poll_activity_task())
    assert (await flows.kinds())[2:] == [
        "activity_paused",
        "activity_unpaused",
        "activity_completed",
    ]


async def test_attempts_count_anew_without_the_wait(flows):
    task = await flows.activity(retry_policy={"initial_interval": {"seconds": 900}})
    await flows.fail_activity(task, message="no")
    assert not (await flows.poll_activity_task(wait=None)).task_token
    assert (await operate(flows, "ResetActivity")).attempt == 1
    assert (await flows.poll_activity_task()).attempt == 1


async def test_the_report_of_an_attempt_under_way_is_taken(flows):
    task = await flows.activity()
    shown = await operate(flows, "ResetActivity", drop_heartbeat_details=True)
    assert shown.activity_id == task.task_token
    await operate(flows, "PauseActivity")
    await flows.complete_activity(task)
    assert (await flows.kinds())[-1] == "activity_completed"


async def test_options_reach_the_next_attempt(flows):
    await scheduled(flows)
    options = {"start_to_close_timeout": {"seconds": 7}, "retry_policy": {"max_attempts": 9}}
    await operate(flows, "UpdateActivityOptions", options=options, priority=1)
    task = await flows.poll_activity_task()
    assert task.options.start_to_close_timeout.seconds == 7
    assert task.options.retry_policy.max_attempts == 9
    event = (await flows.history()).history.events[-1].activity_options_updated
    assert (event.options, event.priority) == (task.options, 1)


@pytest.mark.parametrize("name", OPERATIONS)
async def test_the_same_request_is_done_once(flows, name):
    await scheduled(flows)
    first = await operate(flows, name, request_id="r")
    length = len(await flows.kinds())
    assert await operate(flows, name, request_id="r") == first
    assert len(await flows.kinds()) == length
    async with refused("INVALID_ARGUMENT", "REQUEST_ID_REUSED"):
        await operate(flows, name, request_id="r", reason="other")


@pytest.mark.parametrize("name", OPERATIONS)
async def test_what_is_refused(flows, name):
    async with refused("NOT_FOUND", "WORKFLOW_NOT_FOUND"):
        await operate(flows, name)
    await scheduled(flows)
    async with refused("NOT_FOUND", "ACTIVITY_NOT_FOUND", "no pending activity 2"):
        await operate(flows, name, activity_seq=2)
    async with refused("INVALID_ARGUMENT", "INVALID_REQUEST", "activity_seq"):
        await operate(flows, name, activity_seq=0)
    await flows.terminate()
    async with refused("FAILED_PRECONDITION", "WORKFLOW_CLOSED"):
        await operate(flows, name)


async def test_one_from_outside_is_held_back_changed_and_goes_on(flows):
    """Under its number with a minus sign; the code hears of none of it."""
    await flows.start()
    await flows.complete_workflow_task(await flows.poll_workflow_task(), schedule_activity(1))
    await flows.poll_activity_task()
    later = {"retry_policy": {"initial_interval": {"seconds": 900}, "max_attempts": 5}}
    await flows.schedule_outside(1, options=later)
    await flows.fail_activity(await flows.poll_activity_task(), message="no")
    paused = await operate(flows, "PauseActivity", activity_seq=-1, reason="look", identity="ann")
    assert (paused.seq, paused.external, paused.paused, paused.attempt) == (1, True, True, 2)
    options = {"start_to_close_timeout": {"seconds": 7}}
    await operate(flows, "UpdateActivityOptions", activity_seq=-1, options=options, priority=1)
    assert (await operate(flows, "ResetActivity", activity_seq=-1)).attempt == 1
    assert not (await flows.poll_activity_task(wait=None)).task_token
    assert not (await operate(flows, "UnpauseActivity", activity_seq=-1)).paused

    task = await flows.poll_activity_task()
    assert (task.activity_seq, task.attempt) == (-1, 1)
    assert task.options.start_to_close_timeout.seconds == 7
    await flows.complete_activity(task)
    assert (await flows.kinds())[3:] == [
        "activity_paused",
        "activity_options_updated",
        "activity_reset",
        "activity_unpaused",
        "activity_completed",
    ]
    assert not (await flows.poll_workflow_task(wait=None)).task_token
    async with refused("NOT_FOUND", "ACTIVITY_NOT_FOUND", "no pending activity 1 from outside"):
        await operate(flows, "PauseActivity", activity_seq=-1)
