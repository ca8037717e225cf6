"""An answer tells what was so at some instant while its caller waited, whoever else was at work.

What happens here between two steps of one server is what the tests with real servers found.
"""

from __future__ import annotations

import asyncio

import pytest

from perdure.v1 import worker_service_pb2 as worker
from perdure.v1 import workflow_pb2
from perdure.v1 import workflow_service_pb2 as pb
from perdure_server.core.errors import StoreUnavailable, WorkflowNotFound
from tests.engine.gated import GatedStore
from tests.engine.rig import complete, payload, running, settle, wait

ACTIVITY = pb.ScheduleActivityRequest(workflow_id="w", seq=1, name="A")
FULL = StoreUnavailable("the disk is full")
REPLACE = {
    "conflict_policy": workflow_pb2.CONFLICT_POLICY_TERMINATE_EXISTING,
    "reuse_policy": workflow_pb2.REUSE_POLICY_ALLOW_DUPLICATE,
}


def signal(**fields):
    return pb.SignalWorkflowRequest(workflow_id="w", signal_name="go", **fields)


def start(**fields):
    return pb.StartWorkflowRequest(workflow_id="w", workflow_type="W", **fields)


def before(store, call, happen):
    """Lets something happen once, after a call was made and before it reads."""
    read, left = getattr(store, call), [happen]

    async def late(*arguments, **options):
        if left:
            await left.pop()()
        return await read(*arguments, **options)

    setattr(store, call, late)


def after(store, call, happen):
    """Lets something happen once, when a call has read and was not answered yet."""
    read, left = getattr(store, call), [happen]

    async def late(*arguments, **options):
        answer = await read(*arguments, **options)
        if left:
            await left.pop()()
        return answer

    setattr(store, call, late)


def deafen(rig):
    """From now on a server hears nothing of the others."""
    rig.store.hear = lambda _hint: None


async def test_a_signal_reaches_the_run_that_followed_as_it_was_under_way(servers):
    here, there, _ = servers
    await here.start()
    before(there.store, "load_run", lambda: here.start(**REPLACE))
    assert (await there.engine.workflows.signal(signal())).event_seq == 2
    assert await here.kinds() == ["workflow_started", "signal_received"]


async def test_a_signal_to_a_run_by_its_id_does_not_reach_the_next(servers):
    here, there, _ = servers
    first = await here.start()
    await here.start(**REPLACE)
    with pytest.raises(Exception, match="takes no more signals"):
        await there.engine.workflows.signal(signal(run_id=first.run_id))


async def test_what_was_followed_is_not_shown_as_the_latest(servers):
    here, there, _ = servers
    await here.start()
    before(there.store, "summarize_run", lambda: here.start(**REPLACE))
    shown = await there.describe()
    assert shown.workflow.status == workflow_pb2.WORKFLOW_STATUS_PENDING


async def test_a_start_is_not_refused_by_a_run_that_was_never_closed_and_latest(servers):
    here, there, _ = servers
    await here.start()
    before(there.store, "summarize_run", lambda: here.start(**REPLACE))
    answer = await there.start(conflict_policy=workflow_pb2.CONFLICT_POLICY_USE_EXISTING)
    assert not answer.started


async def test_a_start_repeated_while_it_is_under_way_elsewhere_is_answered_the_same(servers):
    here, there, _ = servers
    await here.start()
    await here.engine.workflows.terminate(pb.TerminateWorkflowRequest(workflow_id="w"))
    request = {"request_id": "r", "reuse_policy": REPLACE["reuse_policy"]}
    firsts = []

    async def first():
        firsts.append(await here.start(**request))

    after(there.store, "find_request", first)
    assert [await there.start(**request)] == firsts


async def test_two_servers_that_replace_a_run_at_once_both_do(servers):
    here, there, _ = servers
    await here.start()
    answers = await asyncio.gather(
        *(rig.engine.workflows.start(start(**REPLACE)) for rig in (here, there, here, there))
    )
    assert len({answer.run_id for answer in answers}) == 4


async def test_a_second_cancellation_is_not_confirmed_for_a_run_that_has_closed(servers):
    here, there, _ = servers
    hand = await there.worker()
    await there.start()
    await hand.command(hand.workflow_tasks[0], wait())
    cancel = pb.CancelWorkflowRequest(workflow_id="w")
    await there.engine.workflows.cancel(cancel)
    deafen(there)
    await here.engine.workflows.terminate(pb.TerminateWorkflowRequest(workflow_id="w"))
    with pytest.raises(WorkflowNotFound):
        await there.engine.workflows.cancel(cancel)


@pytest.mark.parametrize("request_id", ["", "r"])
async def test_an_existing_run_is_shown_as_it_is_now(servers, request_id):
    here, there, _ = servers
    await there.start()
    deafen(there)
    poll = worker.PollWorkflowTaskRequest(task_queue="default", worker_id="p")
    polled = worker.PollWorkflowTaskResponse.FromString(
        await here.engine.workers.poll_workflow_task(poll)
    )
    report = worker.CompleteWorkflowTaskRequest(
        task_token=polled.task.task_token, worker_id="p", commands=[wait()]
    )
    await here.engine.workers.complete_workflow_task(report)
    use = workflow_pb2.CONFLICT_POLICY_USE_EXISTING
    answer = await there.start(conflict_policy=use, request_id=request_id)
    assert answer.status == workflow_pb2.WORKFLOW_STATUS_RUNNING


async def test_what_a_request_was_answered_is_recorded_only_while_it_is_so(servers):
    here, there, _ = servers
    await there.start()
    deafen(there)
    commit = there.store.commit

    async def late(changesets):
        there.store.commit = commit
        await here.engine.workflows.terminate(pb.TerminateWorkflowRequest(workflow_id="w"))
        return await commit(changesets)

    use = {"conflict_policy": workflow_pb2.CONFLICT_POLICY_USE_EXISTING, "request_id": "r"}
    before(there.store, "summarize_run", lambda: _set(there.store, "commit", late))
    with pytest.raises(Exception, match="TERMINATED"):
        await there.start(**use)


async def test_an_end_that_comes_between_two_looks_is_told_whole(servers):
    here, there, _ = servers
    hand = await here.worker()
    await here.start()
    reading = there.store.summarize_run
    looks = []

    async def twice(run_id):
        if looks:
            await hand.command(hand.workflow_tasks[0], complete("7"))
        looks.append(run_id)
        there.store.summarize_run = reading if len(looks) == 2 else twice
        return await reading(run_id)

    there.store.summarize_run = twice
    answer = await there.engine.workflows.get_result(pb.GetWorkflowResultRequest(workflow_id="w"))
    assert (answer.closed, answer.result) == (True, payload("7"))


async def test_nobody_is_refused_for_an_end_that_was_not_written():
    store = GatedStore()
    await store.open()
    async with running(store) as rig:
        await rig.start()
        with store.closed("commit"):
            waiting = asyncio.create_task(rig.engine.workflows.signal(signal()))
            await settle()
            ending = asyncio.create_task(
                rig.engine.workflows.terminate(pb.TerminateWorkflowRequest(workflow_id="w"))
            )
            behind = [
                asyncio.create_task(rig.engine.workflows.signal(signal())),
                asyncio.create_task(rig.engine.workflows.schedule_activity(ACTIVITY)),
            ]
            await settle()
            store.refuse_with = FULL
        await settle()
        store.refuse_with = None
        assert (await waiting).event_seq == 2
        for refused in (ending, *behind):
            with pytest.raises(StoreUnavailable):
                await refused


async def _set(owner, name, value):
    setattr(owner, name, value)
