"""What a server does that may have missed what the others told it."""

from __future__ import annotations

import asyncio

import pytest

from perdure.v1 import worker_service_pb2 as worker
from perdure.v1 import workflow_service_pb2 as pb
from perdure.v1.command_pb2 import Command
from perdure_server.engine.results import Ticket
from perdure_server.store.shared import Hint
from tests.engine.rig import complete, payload, schedule, settle


def child(seq):
    return Command(
        start_child_workflow={
            "seq": seq,
            "workflow_id": f"child-{seq}",
            "workflow_type": "W",
            "task_queue": "default",
        }
    )


async def test_runs_that_are_being_created_are_not_read_because_hints_were_lost(servers):
    rig = servers[1]
    hand = await rig.worker()
    await rig.start()
    commit, opened = rig.store.commit, asyncio.Event()

    async def held_back(changesets):
        outcomes = await commit(changesets)
        await opened.wait()
        return outcomes

    rig.store.commit = held_back
    await hand.command(hand.workflow_tasks[0], *map(child, range(1, 10)))
    loaded, load = [], rig.store.load_run

    async def counted(run_id, **known):
        loaded.append(run_id)
        return await load(run_id, **known)

    rig.store.load_run = counted
    rig.engine._peers._hear(Hint(everything=True))
    opened.set()
    await settle()
    assert len(hand.workflow_tasks) == 10
    # Others may have changed the one that creates them; they were not there before.
    assert loaded == [hand.workflow_tasks[0].run_id]
    for task in hand.workflow_tasks[1:]:
        assert not (await hand.command(task, complete())).reason
    await settle()
    kinds = await rig.kinds()
    assert kinds.count("child_workflow_completed") == 9


def held_back(rig):
    """Has the answers to a server's commits wait; returns what lets them through."""
    commit, opened = rig.store.commit, asyncio.Event()

    async def answered_late(changesets):
        outcomes = await commit(changesets)
        await opened.wait()
        return outcomes

    rig.store.commit = answered_late
    return opened


def execute(rig, workflow_id="w"):
    """Starts a workflow as a client session does; returns what it is answered with."""
    request = pb.StartWorkflowRequest(workflow_id=workflow_id, workflow_type="W")
    answers = []
    rig.engine.workflows.begin_execute(request, Ticket(), answers.append, answers.append)
    return answers


@pytest.mark.parametrize("gap", [False, True])
async def test_an_end_is_told_that_came_before_the_start_was_known_to_stand(servers, gap):
    opened = held_back(servers[0])
    hand = await servers[1].worker()
    if gap:
        servers[0].store.hear = lambda _hint: None
    answers = execute(servers[0])
    await settle()
    await hand.command(hand.workflow_tasks[0], complete("7"))
    if gap:
        servers[0].engine._peers._hear(Hint(everything=True))
    await settle()
    opened.set()
    await settle()
    (answer,) = answers
    assert answer.result.data == b"7"


async def test_an_end_is_told_of_a_run_that_followed_before_that_was_known(servers):
    hand = await servers[1].worker()
    answers = execute(servers[0])
    await settle()
    opened = held_back(servers[0])
    going = asyncio.create_task(
        servers[0].engine.workflows.continue_as_new(pb.ContinueAsNewRequest(workflow_id="w"))
    )
    await settle()
    await hand.command(hand.workflow_tasks[-1], complete("7"))
    opened.set()
    await going
    await settle()
    (answer,) = answers
    assert answer.result.data == b"7"


async def test_a_lease_that_was_prolonged_elsewhere_when_it_seemed_to_end_is_held_on(
    servers, database
):
    hand = await servers[0].worker()
    await servers[0].start()
    await hand.command(hand.workflow_tasks[0], schedule(heartbeat_timeout={"seconds": 3}))
    (task,) = hand.activity_tasks
    held = servers[0].engine._dispatcher.held_keys(None)
    await database.advance(2.5)
    hear, servers[0].store.hear = servers[0].store.hear, lambda _hint: None
    beat = worker.HeartbeatActivityRequest(task_token=task.task_token)
    await servers[1].engine.workers.heartbeat_activity(beat)
    await database.advance(1)
    servers[0].store.hear = hear
    assert servers[0].engine._dispatcher.held_keys(None) == held
    report = await hand.report(task, activity_completed={"result": payload()})
    assert not report.reason
