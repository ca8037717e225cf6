"""Messages of runs to one another: none is lost, none counts twice, none overtakes another."""

from __future__ import annotations

import asyncio

import pytest

from perdure.v1 import explanation_pb2
from perdure.v1 import worker_service_pb2 as worker
from perdure.v1 import workflow_service_pb2 as pb
from perdure.v1.command_pb2 import Command
from perdure_server.core import limits
from perdure_server.core.errors import StoreBusy, StoreUnavailable
from perdure_server.core.frames import parse_frame
from tests.engine.rig import complete, running, settle, wait
from tests.engine.test_cluster import kill


def signal_to(seq, workflow_id="other", **fields):
    sent = {"seq": seq, "workflow_id": workflow_id, "signal_name": f"s-{seq}"}
    return Command(signal_workflow=sent | fields)


def child(seq, **fields):
    sent = {"seq": seq, "workflow_id": f"c-{seq}", "workflow_type": "W", "task_queue": "away"}
    return Command(start_child_workflow=sent | fields)


async def start_other(rig, workflow_id="other"):
    await rig.start(workflow_id, task_queue="away")


async def heard(rig, workflow_id="other"):
    """The names of the signals that a workflow has."""
    run_id = await rig.store.find_run("main", workflow_id, None)
    rows = await rig.store.load_history(run_id, after_seq=0, limit=1000, max_bytes=10**8)
    found = [row for row in rows if row.kind == "signal_received"]
    return [parse_frame(row.frame).signal_received.signal_name for row in found]


async def is_empty(rig):
    inbox = rig.engine._inbox
    left = await rig.store.read_inbox(after=None, before_us=2**62, limit=10)
    return not (left or inbox._lines or inbox._sizes or inbox._bytes or inbox._ready)


def failing(store, times, error):
    """Has the store refuse the next deliveries of messages; returns how it was."""
    real, left = store.commit, [times]

    async def commit(changesets):
        outcomes = []
        for changeset in changesets:
            if changeset.taken and left[0]:
                left[0] -= 1
                outcomes.append(error)
            else:
                outcomes += await real([changeset])
        return outcomes

    store.commit = commit
    return real


@pytest.mark.parametrize("error", [StoreBusy("full"), StoreUnavailable("away")])
@pytest.mark.parametrize("times", [1, 2, 3])
async def test_a_later_message_does_not_overtake_one_that_is_tried_again(store, error, times):
    async with running(store) as rig:
        hand = await rig.worker()
        await start_other(rig)
        await rig.start()
        failing(store, times, error)
        await hand.command(hand.workflow_tasks[0], *map(signal_to, range(1, 6)), wait("go"))
        go = pb.SignalWorkflowRequest(workflow_id="w", signal_name="go")
        await rig.engine.workflows.signal(go)
        await settle()
        await hand.command(hand.workflow_tasks[1], *map(signal_to, range(6, 11)))
        await rig.advance(8)
        assert await heard(rig) == [f"s-{seq}" for seq in range(1, 11)]
        assert await is_empty(rig)


async def test_what_a_child_says_comes_before_its_end(store):
    async with running(store) as first:
        hand = await first.worker()
        await first.start()
        await hand.command(hand.workflow_tasks[0], child(1))
        clock = first.clock
    # The parent is in the memory of nobody now: who it is must be looked up for the signal only.
    async with running(store, clock) as rig:
        hand = await rig.worker("s2", workflows=("W",), activities=())
        poll = await work_away(rig)
        await rig.engine.workers.complete_workflow_task(
            done(poll, signal_to(1, "w"), complete("7"))
        )
        await settle()
        kinds = [kind for kind in await rig.kinds() if not kind.startswith("workflow_task")]
        assert kinds[-2:] == ["signal_received", "child_workflow_completed"]
        assert await is_empty(rig)


async def work_away(rig):
    request = worker.PollWorkflowTaskRequest(task_queue="away", worker_id="p")
    answer = await rig.engine.workers.poll_workflow_task(request)
    return worker.PollWorkflowTaskResponse.FromString(answer).task


def done(task, *commands):
    return worker.CompleteWorkflowTaskRequest(task_token=task.task_token, commands=commands)


async def test_the_run_that_goes_on_hears_what_was_on_its_way(store):
    async with running(store) as rig:
        hand = await rig.worker()
        await start_other(rig)
        other = await work_away(rig)
        await rig.start()
        again = Command(continue_as_new={})
        with store.closed("commit"):
            sent = asyncio.create_task(hand.command(hand.workflow_tasks[0], signal_to(1)))
            await settle()
            on = asyncio.create_task(rig.engine.workers.complete_workflow_task(done(other, again)))
            await settle()
        await asyncio.gather(sent, on)
        await settle()
        assert await heard(rig) == ["s-1"]
        assert (await rig.kinds())[-1] == "signal_workflow_delivered"
        assert await is_empty(rig)


async def test_a_child_that_went_on_ends_with_its_parent(store):
    async with running(store) as rig:
        hand = await rig.worker()
        await rig.start()
        await hand.command(hand.workflow_tasks[0], child(1))
        task = await work_away(rig)
        end = pb.TerminateWorkflowRequest(workflow_id="w", reason="enough")
        with store.closed("commit"):
            ended = asyncio.create_task(rig.engine.workflows.terminate(end))
            await settle()
            on = asyncio.create_task(
                rig.engine.workers.complete_workflow_task(done(task, Command(continue_as_new={})))
            )
            await settle()
        await asyncio.gather(ended, on)
        await settle()
        assert (await rig.kinds("c-1"))[-1] == "workflow_terminated"
        assert await is_empty(rig)


@pytest.mark.parametrize("many", [1, 3, 30])
async def test_what_finds_no_room_waits_in_the_store(store, monkeypatch, many):
    monkeypatch.setattr(limits, "INBOX_MESSAGES_MAX", 4)
    monkeypatch.setattr(limits, "INBOX_LINES_MAX", 2)
    monkeypatch.setattr(limits, "INBOX_BATCH_MAX", 3)
    async with running(store) as rig:
        hand = await rig.worker()
        names = [f"other-{number}" for number in range(4)]
        for name in names:
            await start_other(rig, name)
        await rig.start()
        sent = [signal_to(seq, names[seq % 4]) for seq in range(1, 4 * many + 1)]
        await hand.command(hand.workflow_tasks[0], *sent)
        for _ in range(20):
            await settle()
        for number, name in enumerate(names):
            assert await heard(rig, name) == [
                f"s-{seq}" for seq in range(1, 4 * many + 1) if seq % 4 == number
            ]
        assert (await rig.kinds()).count("signal_workflow_delivered") == 4 * many
        assert await is_empty(rig)
        assert rig.engine._inbox._places == 2


async def test_many_children_end_with_their_parent(store, monkeypatch):
    monkeypatch.setattr(limits, "INBOX_MESSAGES_MAX", 50)
    async with running(store) as rig:
        hand = await rig.worker()
        await rig.start()
        await hand.command(hand.workflow_tasks[0], *map(child, range(1, 301)))
        end = pb.TerminateWorkflowRequest(workflow_id="w", reason="enough")
        await rig.engine.workflows.terminate(end)
        for _ in range(40):
            await settle()
        for seq in range(1, 301):
            assert (await rig.kinds(f"c-{seq}"))[-1] == "workflow_terminated"
        assert await is_empty(rig)


async def test_what_a_server_left_is_recorded_once_by_the_next(store):
    async with running(store) as first:
        hand = await first.worker()
        await start_other(first)
        await first.start()
        real = failing(store, 10**6, StoreUnavailable("away"))
        await hand.command(hand.workflow_tasks[0], *map(signal_to, range(1, 4)))
        clock = first.clock
    store.commit = real
    async with running(store, clock) as rig:
        await settle()
        assert await heard(rig) == ["s-1", "s-2", "s-3"]
        assert await is_empty(rig)


async def test_the_messages_of_a_dead_server_reach_their_run_once(servers, database):
    await start_other(servers[0])
    hand = await servers[0].worker()
    await servers[0].start()
    failing(servers[0].store, 10**6, StoreUnavailable("away"))
    await hand.command(hand.workflow_tasks[0], *map(signal_to, range(1, 6)))
    await kill(servers.pop(0))
    await database.advance(4)
    assert await heard(servers[0]) == [f"s-{seq}" for seq in range(1, 6)]
    assert await servers[1].store.read_inbox(after=None, before_us=2**62, limit=1) == []


@pytest.mark.parametrize("pause", [0.5, 2])
async def test_the_messages_of_a_dead_server_reach_a_busy_run_after_a_while(
    servers, database, pause
):
    hand = await servers[1].worker(slots=(1, 0))
    await servers[1].start()
    await hand.command(hand.workflow_tasks[0], child(1), wait("go"))
    failing(servers[0].store, 10**6, StoreUnavailable("away"))
    task = await work_away(servers[0])
    await servers[0].engine.workers.complete_workflow_task(done(task, complete("1")))
    await settle()
    await kill(servers.pop(0))
    other = pb.SignalWorkflowRequest(workflow_id="w", signal_name="other")
    told = []
    for _ in range(int(12 / pause)):
        await servers[0].engine.workflows.signal(other)
        await database.advance(pause)
        told.append((await servers[0].kinds()).count("child_workflow_completed"))
    # While its receiver changes, a message may stand in a line; once it is old, it is taken over.
    assert sum(told[: int(8 / pause)]) == 0
    assert told[-1] == 1
    assert await is_empty(servers[1])


async def test_children_that_close_on_three_servers_are_told_once_each(servers, database):
    hand = await servers[0].worker(slots=(1, 0))
    await servers[0].start()
    await hand.command(hand.workflow_tasks[0], *map(child, range(1, 61)), wait("go"))
    closing = []
    for number in range(60):
        rig = servers[number % 3]
        task = await work_away(rig)
        closing.append(rig.engine.workers.complete_workflow_task(done(task, complete("1"))))
    await asyncio.gather(*closing)
    await database.advance(3)
    assert (await servers[1].kinds()).count("child_workflow_completed") == 60
    for rig in servers:
        assert await is_empty(rig)


async def test_a_child_id_that_another_server_took_is_an_event(servers):
    await start_other(servers[1], "c-2")
    hand = await servers[0].worker()
    await servers[0].start()
    await hand.command(hand.workflow_tasks[0], child(1), child(2), child(3))
    kinds = await servers[2].kinds()
    assert [kind for kind in kinds if kind.startswith("child")] == [
        "child_workflow_started",
        "child_workflow_failed",
        "child_workflow_started",
    ]


async def test_a_message_reaches_a_run_that_another_server_changes_all_the_time(servers, database):
    await start_other(servers[1])
    hand = await servers[0].worker()
    await servers[0].start()
    go = pb.SignalWorkflowRequest(workflow_id="other", signal_name="go")
    busy = [servers[1].engine.workflows.signal(go) for _ in range(50)]
    told = hand.command(hand.workflow_tasks[0], *map(signal_to, range(1, 21)))
    await asyncio.gather(told, *busy)
    await database.advance(2)
    names = await heard(servers[2])
    assert names.count("go") == 50
    assert [name for name in names if name != "go"] == [f"s-{seq}" for seq in range(1, 21)]


async def why(rig, workflow_id):
    request = explanation_pb2.ExplainWorkflowRequest(workflow_id=workflow_id)
    causes = (await rig.engine.workflows.explain(request)).causes
    kind = explanation_pb2.CauseKind.CAUSE_KIND_MESSAGE
    return [cause.text for cause in causes if cause.kind == kind]


async def test_what_is_on_its_way_explains_both_sides(store):
    async with running(store) as rig:
        hand = await rig.worker()
        await start_other(rig)
        await rig.start()
        await start_other(rig, "third")
        failing(store, 1_000, StoreBusy("full"))
        cancel = Command(cancel_child={"seq": 1, "workflow_id": "other"})
        await hand.command(hand.workflow_tasks[0], signal_to(1), cancel, child(1), wait("go"))
        run_id = await store.find_run("main", "w", None)
        sent, cancelled = await why(rig, "w")
        assert sent.startswith("a signal is on its way to workflow 'other' since 20")
        assert cancelled.startswith("a cancellation is on its way to workflow 'other' since 20")
        assert sent.endswith(" and not recorded there yet")
        received, _ = await why(rig, "other")
        assert received.startswith(f"a signal is on its way from run {run_id} since 20")
        assert await why(rig, "third") == []


async def test_an_answer_on_its_way_explains_both_sides(store):
    async with running(store) as rig:
        hand = await rig.worker()
        await start_other(rig)
        await rig.start()
        delivered = store.commit

        async def commit(changesets):
            kinds = [message.kind for each in changesets for message in sent_by(each)]
            outcomes = await delivered(changesets)
            if "answer" in kinds:
                failing(store, 1_000, StoreBusy("full"))
            return outcomes

        store.commit = commit
        await hand.command(hand.workflow_tasks[0], signal_to(1), wait("go"))
        run_id, other_id = [await store.find_run("main", each, None) for each in ("w", "other")]
        (answer,) = await why(rig, "w")
        assert answer.startswith("the answer to a signal or a cancellation is on its way from run")
        assert other_id in answer
        (told,) = await why(rig, "other")
        assert f"is on its way to run {run_id} since 20" in told


def sent_by(changeset):
    return [message for change in changeset.changes for message in change.messages]
