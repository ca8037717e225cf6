"""Every RPC of WatchService: its answer, and each error it documents."""

from __future__ import annotations

import base64
from contextlib import aclosing, asynccontextmanager

import pytest

from perdure.v1 import watch_service_pb2 as pb
from perdure.v1.history_pb2 import HistoryEvent
from perdure.v1.workflow_pb2 import ReusePolicy
from tests.api.flows import complete_workflow, refused, wait_for

RUNNING = "workflow_running"


@asynccontextmanager
async def watching(flows, **fields):
    request = pb.WatchRequest(**fields)
    async with aclosing(flows.stream("WatchService/Watch", request)) as answers:
        yield answers


@asynccontextmanager
async def watching_run(flows, workflow_id="w", **fields):
    request = pb.WatchWorkflowRequest(workflow_id=workflow_id, **fields)
    async with aclosing(flows.stream("WatchService/WatchWorkflow", request)) as answers:
        yield answers


async def seqs(flows, **fields):
    async with watching_run(flows, **fields) as answers:
        return [answer.event.seq async for answer in answers]


def packed(text):
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


async def next_kinds(answers, count):
    return [(await anext(answers)).kind for _ in range(count)]


class TestWatch:
    async def test_begins_now_with_a_cursor(self, flows):
        await flows.start("before")
        async with watching(flows) as answers:
            first = await anext(answers)
            assert first.cursor
            assert not first.kind
            started = await flows.start()
            answer = await anext(answers)
        assert (answer.kind, answer.workflow_id) == ("workflow_started", "w")
        assert (answer.namespace, answer.run_id) == ("main", started.run_id)
        assert answer.workflow_type == "checkout"
        assert answer.event.seq == 1

    async def test_resumes_after_a_cursor(self, flows):
        async with watching(flows) as answers:
            cursor = (await anext(answers)).cursor
        await flows.start()
        await flows.signal()
        async with watching(flows, after=cursor) as answers:
            await anext(answers)
            first = await anext(answers)
            assert first.kind == "workflow_started"
        await flows.terminate()
        async with watching(flows, after=first.cursor) as answers:
            await anext(answers)
            assert await next_kinds(answers, 2) == ["signal_received", "workflow_terminated"]

    async def test_filters(self, flows):
        async with (
            watching(flows, workflow_id="b") as by_id,
            watching(flows, workflow_type="refund") as by_type,
            watching(flows, kinds=["signal_received"]) as by_kind,
            watching(flows, namespace="other") as by_namespace,
        ):
            for answers in (by_id, by_type, by_kind, by_namespace):
                await anext(answers)
            await flows.start("a")
            await flows.start("b")
            await flows.start("c", workflow_type="refund")
            await flows.start("d", namespace="other")
            await flows.signal("a")
            assert (await anext(by_id)).workflow_id == "b"
            assert (await anext(by_type)).workflow_id == "c"
            assert (await anext(by_kind)).event.signal_received.signal_name == "go"
            assert (await anext(by_namespace)).workflow_id == "d"

    @pytest.mark.parametrize(
        "cursor",
        ["nonsense", "é", "1", "a" * 1000, packed("2.1.1.1"), packed(f"1.1.{10**30}.0")],
    )
    async def test_refuses_a_cursor_that_is_none(self, flows, cursor):
        async with (
            refused("INVALID_ARGUMENT", "INVALID_CURSOR"),
            watching(flows, after=cursor) as answers,
        ):
            await anext(answers)

    async def test_refuses_a_field_out_of_range(self, flows):
        async with (
            refused("INVALID_ARGUMENT", "LIMIT_EXCEEDED", "workflow_id"),
            watching(flows, workflow_id="a" * 256) as answers,
        ):
            await anext(answers)

    async def test_tells_that_a_run_has_begun(self, flows):
        async with watching(flows) as answers, watching(flows, kinds=[RUNNING]) as running:
            for stream in (answers, running):
                await anext(stream)
            started = await flows.start()
            assert (await anext(answers)).kind == "workflow_started"
            await flows.complete_workflow_task(await flows.poll_workflow_task(), wait_for("go"))
            notice = await anext(answers)
            assert (notice.kind, notice.namespace, notice.workflow_id) == (RUNNING, "main", "w")
            assert (notice.run_id, notice.workflow_type) == (started.run_id, "checkout")
            begun = (await flows.get()).workflow.started_at
            assert notice.event == HistoryEvent(timestamp=begun)
            assert (await anext(answers)).kind == "workflow_awaiting_signal"
            await flows.signal()
            await flows.complete_workflow_task(await flows.poll_workflow_task())
            await flows.terminate()
            assert await next_kinds(answers, 2) == ["signal_received", "workflow_terminated"]
            assert (await anext(running)) == notice
            await flows.start("again")
            await flows.complete_workflow_task(
                await flows.poll_workflow_task(), complete_workflow()
            )
            assert (await anext(running)).workflow_id == "again"
        async with watching(flows, after=notice.cursor) as answers:
            assert (await anext(answers)).cursor == notice.cursor
            assert await next_kinds(answers, 2) == [RUNNING, "workflow_awaiting_signal"]

    async def test_tells_that_a_run_was_continued(self, flows):
        async with watching(flows) as answers:
            beginning = (await anext(answers)).cursor
            await flows.start()
            continued = await flows.continue_as_new()
            live = [await anext(answers) for _ in range(4)]
        assert [answer.kind for answer in live] == [
            "workflow_started",
            "workflow_continued",
            "workflow_continued_as_new",
            "workflow_started",
        ]
        _, notice, closing, _ = live
        assert (notice.event.seq, notice.run_id) == (0, closing.run_id)
        told = notice.event.workflow_continued_as_new
        assert told == closing.event.workflow_continued_as_new
        assert told.new_run_id == continued.run_id
        async with watching(flows, after=beginning) as answers:
            await anext(answers)
            assert [await anext(answers) for _ in live] == live
        async with watching(flows, after=beginning, kinds=["workflow_continued"]) as answers:
            await anext(answers)
            assert await anext(answers) == notice

    @pytest.mark.parametrize(
        "wanted",
        [
            {"kinds": ["signal_received", "timer_fired"]},
            {"workflow_type": "refund", "kinds": ["signal_received"]},
            {"workflow_id": "b", "kinds": ["signal_received", "workflow_running"]},
        ],
    )
    async def test_filters_alike_what_stands_and_what_is_added(self, flows, wanted):
        async with watching(flows) as answers:
            cursor = (await anext(answers)).cursor
        async with watching(flows, **wanted) as live:
            await anext(live)
            for name, kind in (("a", "checkout"), ("b", "refund")):
                await flows.start(name, workflow_type=kind)
                await flows.signal(name, "first")
            await flows.signal("b", "last")
            seen = [await anext(live)]
            while seen[-1].event.signal_received.signal_name != "last":
                seen.append(await anext(live))
        async with watching(flows, after=cursor, **wanted) as replayed:
            await anext(replayed)
            assert [await anext(replayed) for _ in seen] == seen
        assert {answer.kind for answer in seen} == {"signal_received"}

    async def test_refuses_a_kind_that_is_none(self, flows):
        async with (
            refused("INVALID_ARGUMENT", "INVALID_REQUEST", "kinds[1]"),
            watching(flows, kinds=["schedule_triggered", "nonsense"]) as answers,
        ):
            await anext(answers)


class TestWatchWorkflow:
    async def test_streams_what_stands_and_what_is_added_to_the_end(self, flows):
        started = await flows.start()
        await flows.signal()
        async with watching_run(flows) as answers:
            standing = [await anext(answers) for _ in range(3)]
            await flows.terminate()
            added = [answer async for answer in answers]
        answers = standing + added
        assert [answer.event.seq for answer in answers] == [0, 1, 2, 3]
        assert [answer.kind for answer in answers] == [
            "",
            "workflow_started",
            "signal_received",
            "workflow_terminated",
        ]
        assert [answer.cursor for answer in answers] == [f"{started.run_id}:{n}" for n in range(4)]
        places = {(answer.namespace, answer.workflow_id, answer.run_id) for answer in answers}
        assert places == {("main", "w", started.run_id)}
        assert not answers[0].HasField("event")

    async def test_begins_at_once_with_a_cursor(self, flows):
        started = await flows.start()
        async with watching_run(flows, after_seq=1) as answers:
            first = await anext(answers)
        assert first == pb.WatchWorkflowResponse(
            cursor=f"{started.run_id}:1", namespace="main", workflow_id="w", run_id=started.run_id
        )

    async def test_begins_after_an_event(self, flows):
        await flows.start()
        await flows.signal()
        await flows.terminate()
        assert await seqs(flows, after_seq=2) == [0, 3]

    async def test_resumes_after_a_cursor_in_the_run_of_the_cursor(self, flows):
        started = await flows.start()
        await flows.signal()
        await flows.terminate()
        policy = ReusePolicy.REUSE_POLICY_ALLOW_DUPLICATE
        later = await flows.start(reuse_policy=policy)
        cursor = f"{started.run_id}:1"
        assert await seqs(flows, after=cursor, after_seq=3, run_id=later.run_id) == [0, 2, 3]

    async def test_ends_at_once_after_the_end(self, flows):
        started = await flows.start()
        await flows.terminate()
        async with watching_run(flows, after=f"{started.run_id}:2") as answers:
            assert [answer.cursor async for answer in answers] == [f"{started.run_id}:2"]

    @pytest.mark.parametrize(
        "cursor",
        ["nonsense", ":1", "{0}", "{0}:", "{0}:-1", "{0}:1.5", "{0}:²", "{0}:٣", "{0}:99",
         "{0}:" + "9" * 40, "x" * 300 + ":1", "other:1", "{1}:1"],
    )  # fmt: skip
    async def test_refuses_a_cursor_of_something_else(self, flows, cursor):
        first, other = await flows.start(), await flows.start("other")
        async with (
            refused("INVALID_ARGUMENT", "INVALID_CURSOR"),
            watching_run(flows, after=cursor.format(first.run_id, other.run_id)) as answers,
        ):
            await anext(answers)

    @pytest.mark.parametrize("fields", [{}, {"run_id": "none"}, {"after": "none:1"}])
    async def test_refuses_an_unknown_workflow(self, flows, fields):
        async with (
            refused("NOT_FOUND", "WORKFLOW_NOT_FOUND"),
            watching_run(flows, **fields) as answers,
        ):
            await anext(answers)

    async def test_needs_an_id(self, flows):
        async with (
            refused("INVALID_ARGUMENT", "INVALID_REQUEST", "workflow_id"),
            watching_run(flows, "") as answers,
        ):
            await anext(answers)
