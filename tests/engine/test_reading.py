"""What of a run a server reads again when others have changed it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from perdure.v1 import workflow_service_pb2 as pb
from perdure.v1.command_pb2 import Command
from perdure_server.core.errors import StoreUnavailable
from perdure_server.store.shared import Hint
from tests.engine.rig import complete, settle, wait

MANY = 120


class Reads:
    """Notes as of which event a run was known whenever a server reads it from now on."""

    def __init__(self, rig):
        self._load = rig.store.load_run
        self.known = []
        rig.store.load_run = self

    async def __call__(self, run_id, *, known_seq=None):
        self.known.append(known_seq)
        return await self._load(run_id, known_seq=known_seq)


def child(seq):
    ids = {"workflow_id": f"child-{seq}", "workflow_type": "nobody's", "task_queue": "default"}
    return Command(start_child_workflow={"seq": seq, **ids})


async def signal(rig):
    await rig.engine.workflows.signal(pb.SignalWorkflowRequest(workflow_id="w", signal_name="s"))
    await settle()


async def parent(servers, children):
    """Has a run with children change at two servers; returns its id and what the first reads."""
    hand = await servers[2].worker()
    await servers[2].start()
    await hand.command(hand.workflow_tasks[0], *map(child, range(1, children + 1)), wait("a"))
    reads = Reads(servers[0])
    await signal(servers[0])
    await signal(servers[1])
    return hand, hand.workflow_tasks[0].run_id, reads


def memory(rig):
    return rig.engine._runs._actors


async def test_what_is_known_of_a_large_run_is_not_read_again(servers):
    _, run_id, reads = await parent(servers, MANY)
    for _ in range(3):
        await signal(servers[1])
        await signal(servers[0])
    assert reads.known[0] is None
    assert None not in reads.known[1:]
    assert sorted(set(reads.known[1:])) == reads.known[1:]
    state = memory(servers[0])[run_id].state
    stored = await servers[0].store.load_run(run_id)
    assert state == stored
    assert len(state.children) == MANY


async def test_of_a_small_run_nothing_is_kept(servers):
    _, run_id, reads = await parent(servers, 3)
    assert run_id not in memory(servers[0])
    await signal(servers[0])
    assert set(reads.known) == {None}


async def test_a_run_that_another_server_closes_is_forgotten(servers):
    _, run_id, _ = await parent(servers, MANY)
    assert run_id in memory(servers[0])
    await servers[1].engine.workflows.terminate(pb.TerminateWorkflowRequest(workflow_id="w"))
    await settle()
    assert run_id not in memory(servers[0])


async def test_what_was_known_before_hints_were_lost_is_not_relied_on(servers):
    _, run_id, reads = await parent(servers, MANY)
    servers[0].engine._peers._hear(Hint(everything=True))
    await settle()
    assert run_id not in memory(servers[0])
    await signal(servers[0])
    assert reads.known[-1] is None


async def test_the_ends_of_children_are_read_with_the_events_that_tell_them(servers):
    hand, run_id, reads = await parent(servers, MANY)
    ending = await servers[1].worker("s9", workflows=("nobody's",), slots=(MANY, 1))
    for task in ending.workflow_tasks[:7]:
        await ending.command(task, complete())
    await settle()
    await signal(servers[0])
    assert reads.known[-1] is not None
    state = memory(servers[0])[run_id].state
    assert state == await servers[0].store.load_run(run_id)
    assert sum(row.closed for row in state.children.values()) == 7
    assert not hand.cancels


def during_reads(rig, happen, times=10):
    """Has something happen at the end of each of the next reads of a run."""
    load, left = rig.store.load_run, iter(range(times))

    async def loaded(run_id, **known):
        state = await load(run_id, **known)
        if next(left, None) is not None:
            await happen()
        return state

    rig.store.load_run = loaded


async def test_who_looks_while_a_run_is_read_sees_it_as_it_is_after(servers):
    run_id = (await servers[0].start()).run_id
    runs, seen = servers[0].engine._runs, []

    async def changed_and_looked_at():
        # What has just been read knows nothing of this signal.
        await signal(servers[1])
        least = (await servers[1].store.load_run(run_id)).run.history_length
        runs.look(run_id, lambda state: seen.append((state.run.history_length, least)))

    during_reads(servers[0], changed_and_looked_at)
    await changed_and_looked_at()
    while len(seen) < 11:
        await settle()
    assert all(length >= least for length, least in seen)


async def test_what_is_asked_of_a_run_that_is_looked_at_all_the_time_is_done(servers):
    run_id = (await servers[0].start()).run_id
    runs, seen = servers[0].engine._runs, []

    async def looked_at():
        runs.look(run_id, seen.append)

    during_reads(servers[0], looked_at)
    await looked_at()
    await signal(servers[0])
    while len(seen) < 11:
        await settle()
    assert None not in seen
    assert (await servers[0].store.load_run(run_id)).run.history_length == 2


async def test_who_looks_while_a_turn_does_not_come_sees_the_run_as_it_is(servers, database):
    run_id = (await servers[0].start()).run_id
    runs, seen, refused = servers[0].engine._runs, [], asyncio.Event()

    @asynccontextmanager
    async def alone_with(_run_id):
        await refused.wait()
        raise StoreUnavailable("the turn did not come")
        yield

    servers[0].store.alone_with = alone_with
    runs.contend([run_id])
    asking = asyncio.create_task(signal(servers[0]))
    await settle()
    await signal(servers[1])
    runs.look(run_id, seen.append)
    refused.set()
    with pytest.raises(StoreUnavailable):
        await asking
    await database.advance(2)
    (state,) = seen
    assert state.run.history_length == 2
