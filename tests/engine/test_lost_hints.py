"""What a server does that may have missed what the others told it."""

from __future__ import annotations

import asyncio

from perdure.v1.command_pb2 import Command
from perdure_server.store.shared import Hint
from tests.engine.rig import complete, settle


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
