"""Every RPC of WatchService: its answer, and each error it documents."""

from __future__ import annotations

from contextlib import aclosing, asynccontextmanager

import pytest

from perdure.v1 import watch_service_pb2 as pb
from tests.api.flows import refused


@asynccontextmanager
async def watching(flows, **fields):
    request = pb.WatchRequest(**fields)
    async with aclosing(flows.stream("WatchService/Watch", request)) as answers:
        yield answers


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

    @pytest.mark.parametrize("cursor", ["nonsense", "é", "1", "a" * 1000])
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


class TestWatchWorkflow:
    async def test_streams_what_stands_and_what_is_added_to_the_end(self, flows):
        started = await flows.start()
        await flows.signal()
        request = pb.WatchWorkflowRequest(workflow_id="w")
        async with aclosing(flows.stream("WatchService/WatchWorkflow", request)) as answers:
            standing = [await anext(answers), await anext(answers)]
            await flows.terminate()
            added = [answer async for answer in answers]
        events = [answer.event for answer in standing + added]
        assert [event.seq for event in events] == [1, 2, 3]
        assert events[-1].WhichOneof("event") == "workflow_terminated"
        assert {answer.run_id for answer in standing + added} == {started.run_id}

    async def test_begins_after_an_event(self, flows):
        await flows.start()
        await flows.signal()
        await flows.terminate()
        request = pb.WatchWorkflowRequest(workflow_id="w", after_seq=2)
        seen = [answer async for answer in flows.stream("WatchService/WatchWorkflow", request)]
        assert [answer.event.seq for answer in seen] == [3]

    async def test_refuses_an_unknown_workflow(self, flows):
        request = pb.WatchWorkflowRequest(workflow_id="w")
        async with refused("NOT_FOUND", "WORKFLOW_NOT_FOUND"):
            await anext(flows.stream("WatchService/WatchWorkflow", request))

    async def test_needs_an_id(self, flows):
        async with refused("INVALID_ARGUMENT", "INVALID_REQUEST", "workflow_id"):
            await anext(flows.stream("WatchService/WatchWorkflow", pb.WatchWorkflowRequest()))
