"""Watches at their edges: watchers that lag, commits that are shared, notices between events."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from perdure.v1 import watch_service_pb2 as pb
from perdure.v1.workflow_service_pb2 import SignalWorkflowRequest, TerminateWorkflowRequest
from perdure_server.core import limits
from perdure_server.engine.watches import decode_cursor
from tests.engine.rig import complete, schedule, settle


class Watcher:
    """One `Watch` stream; what it says is kept in order."""

    def __init__(self, rig, **fields):
        self._answers = rig.engine.watches.watch(pb.WatchRequest(**fields))
        self._task = None
        self.said = []

    async def open(self):
        self._task = asyncio.create_task(self._listen())
        await settle()
        return self

    async def close(self):
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def kinds(self):
        return [answer.kind for answer in self.said]

    async def _listen(self):
        async with aclosing(self._answers) as answers:
            async for answer in answers:
                self.said.append(answer)


@pytest.fixture
async def watch(rig):
    watchers = []

    async def open_watcher(**fields):
        watchers.append(await Watcher(rig, **fields).open())
        return watchers[-1]

    yield open_watcher
    for watcher in watchers:
        await watcher.close()


async def signal(rig, workflow_id="w"):
    request = SignalWorkflowRequest(workflow_id=workflow_id, signal_name="go")
    await rig.engine.workflows.signal(request)
    await settle()


async def test_a_run_has_begun_once_and_before_what_its_code_did(rig, watch):
    watcher = await watch()
    hand = await rig.worker()
    await rig.start()
    await signal(rig)
    await hand.command(hand.workflow_tasks[0], schedule())
    await hand.command(hand.workflow_tasks[1])
    assert watcher.kinds() == [
        "",
        "workflow_started",
        "signal_received",
        "workflow_running",
        "activity_scheduled",
    ]


async def test_a_run_that_begins_without_an_event_is_told_too(rig, watch):
    watcher = await watch()
    hand = await rig.worker()
    await rig.start()
    await hand.command(hand.workflow_tasks[0])
    assert watcher.kinds() == ["", "workflow_started", "workflow_running"]
    await signal(rig)
    resumed = await watch(after=watcher.said[1].cursor)
    assert resumed.kinds() == ["", "workflow_running", "signal_received"]
    assert resumed.said[1].event == watcher.said[2].event
    await signal(rig)
    again = await watch(after=watcher.said[3].cursor)
    assert again.kinds() == ["", "signal_received"]


async def test_a_run_that_never_begins_is_not_told(rig, watch):
    watcher = await watch()
    await rig.start()
    await rig.engine.workflows.terminate(TerminateWorkflowRequest(workflow_id="w"))
    await settle()
    assert watcher.kinds() == ["", "workflow_started", "workflow_terminated"]


async def test_a_run_that_begins_and_ends_at_once_begins_first(rig, watch):
    watcher = await watch()
    hand = await rig.worker()
    await rig.start()
    await hand.command(hand.workflow_tasks[0], complete())
    assert watcher.kinds()[2:] == ["workflow_running", "workflow_completed"]


async def test_after_every_cursor_exactly_the_events_that_follow(rig, watch):
    """Many runs in shared commits: positions of notices lie between those of events."""
    watcher = await watch()
    hand = await rig.worker(slots=(100, 100))
    await asyncio.gather(*[rig.start(f"w{number}") for number in range(5)])
    reports = [
        {"report_id": number, "task_token": task.task_token, "workflow_task_completed": {}}
        for number, task in enumerate(hand.workflow_tasks)
    ]
    for report in reports[::2]:
        report["workflow_task_completed"] = {"commands": [schedule()]}
    await hand.say(reports=reports, received_batch=hand.batch)
    assert watcher.kinds().count("workflow_running") == 5
    positions = [decode_cursor(answer.cursor) for answer in watcher.said]
    assert positions == sorted(positions)
    for index, answer in enumerate(watcher.said):
        resumed = await watch(after=answer.cursor)
        follow = [later.event for later in watcher.said[index + 1 :] if later.event.seq]
        assert [later.event for later in resumed.said[1:] if later.event.seq] == follow
        # What a run did is never told without that it has begun.
        for place, later in enumerate(resumed.said[1:], 1):
            if later.kind == "activity_scheduled":
                before = resumed.said[place - 1]
                assert (before.kind, before.run_id) == ("workflow_running", later.run_id)


async def test_a_watcher_of_one_run_is_told_its_history_only(rig):
    hand = await rig.worker()
    await rig.start()
    request = pb.WatchWorkflowRequest(workflow_id="w")
    async with aclosing(rig.engine.watches.watch_workflow(request)) as answers:
        said = [await anext(answers), await anext(answers)]
        await hand.command(hand.workflow_tasks[0], complete())
        said += [answer async for answer in answers]
    assert [answer.kind for answer in said] == ["", "workflow_started", "workflow_completed"]


async def test_who_lags_reads_what_was_dropped(rig, monkeypatch):
    monkeypatch.setattr(limits, "WATCH_BACKLOG_MAX", 3)
    await rig.start("before")
    async with aclosing(rig.engine.watches.watch(pb.WatchRequest())) as answers:
        assert not (await anext(answers)).kind
        for number in range(10):
            await rig.start(f"w{number}")
        ids = [(await anext(answers)).workflow_id for _ in range(10)]
        assert ids == [f"w{number}" for number in range(10)]
        await rig.start("after")
        assert (await anext(answers)).workflow_id == "after"


async def test_who_lags_is_told_that_runs_have_begun(rig, monkeypatch):
    monkeypatch.setattr(limits, "WATCH_BACKLOG_MAX", 2)
    hand = await rig.worker()
    wanted = pb.WatchRequest(kinds=["workflow_running", "workflow_completed"])
    async with aclosing(rig.engine.watches.watch(wanted)) as answers:
        await anext(answers)
        for number in range(3):
            await rig.start(f"w{number}")
            await hand.command(hand.workflow_tasks[number], complete())
        said = [await anext(answers) for _ in range(6)]
    assert [(each.kind, each.workflow_id) for each in said] == [
        (kind, f"w{number}")
        for number in range(3)
        for kind in ("workflow_running", "workflow_completed")
    ]


async def test_nothing_is_read_for_who_begins_now(rig, monkeypatch):
    """What is committed between the first message and the next call is told, notices as well."""

    async def unread(*_args, **_options):
        raise AssertionError

    monkeypatch.setattr(rig.store, "read_events", unread)
    hand = await rig.worker()
    async with aclosing(rig.engine.watches.watch(pb.WatchRequest())) as answers:
        await anext(answers)
        await rig.start()
        await hand.command(hand.workflow_tasks[0], complete())
        kinds = [(await anext(answers)).kind for _ in range(3)]
    assert kinds == ["workflow_started", "workflow_running", "workflow_completed"]
