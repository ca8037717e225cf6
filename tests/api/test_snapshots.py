"""RecordSnapshot, GetSnapshot and GetSnapshotValue."""

from __future__ import annotations

from perdure.v1 import interaction_pb2 as asking
from perdure.v1.command_pb2 import Command
from tests.api.flows import complete_workflow, json_payload, refused, wait_for

STATE = '{"z": 1.50, "a":[12345678901234567890.5, null]}'


def record_snapshot(text):
    return Command(record_snapshot={"state": json_payload(text)})


async def published(flows, *commands):
    await flows.start()
    await flows.complete_workflow_task(await flows.poll_workflow_task(), *commands)


async def snapshot(flows, workflow_id="w"):
    request = asking.GetSnapshotRequest(workflow_id=workflow_id)
    return await flows.call("WorkflowService/GetSnapshot", request)


async def value(flows, name, workflow_id="w"):
    request = asking.GetSnapshotValueRequest(workflow_id=workflow_id, name=name)
    return await flows.call("WorkflowService/GetSnapshotValue", request)


class TestGetSnapshot:
    async def test_it_is_what_was_published_last(self, flows):
        await published(flows, wait_for("go"), record_snapshot("1"), record_snapshot(STATE))
        answer = await snapshot(flows)
        assert (answer.state.data, answer.event_seq) == (STATE.encode(), 2)
        assert answer.HasField("created_at")
        assert await flows.kinds() == ["workflow_started", "workflow_awaiting_signal"]

    async def test_a_later_task_replaces_it(self, flows):
        await published(flows, wait_for("go"), record_snapshot("1"))
        await flows.signal()
        task = await flows.poll_workflow_task()
        await flows.complete_workflow_task(task, record_snapshot("2"))
        answer = await snapshot(flows)
        assert (answer.state.data, answer.event_seq) == (b"2", 3)

    async def test_it_stands_after_the_end(self, flows):
        await published(flows, record_snapshot(STATE), complete_workflow())
        assert (await snapshot(flows)).state.data == STATE.encode()

    async def test_a_run_that_published_nothing_has_none(self, flows):
        await flows.start()
        async with refused("NOT_FOUND", "SNAPSHOT_NOT_FOUND"):
            await snapshot(flows)

    async def test_an_unknown_workflow(self, flows):
        async with refused("NOT_FOUND", "WORKFLOW_NOT_FOUND"):
            await snapshot(flows)


class TestGetSnapshotValue:
    async def test_it_is_one_value_digit_for_digit(self, flows):
        await published(flows, record_snapshot(STATE))
        answer = await value(flows, "a")
        assert (answer.value.data, answer.event_seq) == (b"[12345678901234567890.5, null]", 1)

    async def test_a_key_that_is_not_there(self, flows):
        await published(flows, record_snapshot(STATE))
        async with refused("NOT_FOUND", "SNAPSHOT_NOT_FOUND", "'b'"):
            await value(flows, "b")

    async def test_a_run_that_published_nothing_has_none(self, flows):
        await flows.start()
        async with refused("NOT_FOUND", "SNAPSHOT_NOT_FOUND"):
            await value(flows, "a")

    async def test_an_unknown_workflow(self, flows):
        async with refused("NOT_FOUND", "WORKFLOW_NOT_FOUND"):
            await value(flows, "a")

    async def test_without_a_name(self, flows):
        async with refused("INVALID_ARGUMENT", "INVALID_REQUEST", "name"):
            await value(flows, "")
