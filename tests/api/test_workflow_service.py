"""Every RPC of WorkflowService: its answer, and each error it documents."""

from __future__ import annotations

import asyncio

import pytest

from perdure.v1 import workflow_service_pb2 as pb
from perdure.v1.command_pb2 import Command
from perdure.v1.workflow_pb2 import ConflictPolicy, ReusePolicy, WorkflowStatus
from tests.api.flows import complete_workflow, json_payload, refused, schedule_activity

MEBIBYTE = 1024 * 1024
ASC = pb.HistoryOrder.HISTORY_ORDER_ASC
DESC = pb.HistoryOrder.HISTORY_ORDER_DESC
PENDING = WorkflowStatus.WORKFLOW_STATUS_PENDING
RUNNING = WorkflowStatus.WORKFLOW_STATUS_RUNNING
COMPLETED = WorkflowStatus.WORKFLOW_STATUS_COMPLETED
CANCELLED = WorkflowStatus.WORKFLOW_STATUS_CANCELLED
TERMINATED = WorkflowStatus.WORKFLOW_STATUS_TERMINATED


class TestStart:
    async def test_answers_with_the_run(self, flows):
        answer = await flows.start("w", input=json_payload("[1]"))
        assert (answer.workflow_id, answer.status, answer.started) == ("w", PENDING, True)
        run = (await flows.get("w", run_id=answer.run_id)).workflow
        assert (run.workflow_type, run.task_queue, run.namespace) == ("checkout", "shop", "main")
        assert run.input.data == b"[1]"
        assert run.history_length == 1

    async def test_makes_an_id_when_none_is_given(self, flows):
        first, second = await flows.start(""), await flows.start("")
        assert first.workflow_id
        assert first.workflow_id != second.workflow_id

    async def test_refuses_an_open_workflow_of_the_same_id(self, flows):
        await flows.start()
        async with refused("ALREADY_EXISTS", "WORKFLOW_ALREADY_EXISTS", "'w'"):
            await flows.start()

    async def test_refuses_a_closed_workflow_of_the_same_id(self, flows):
        await flows.start()
        await flows.terminate()
        async with refused("ALREADY_EXISTS", "WORKFLOW_ALREADY_EXISTS"):
            await flows.start()

    async def test_may_use_the_open_run(self, flows):
        first = await flows.start()
        policy = ConflictPolicy.CONFLICT_POLICY_USE_EXISTING
        again = await flows.start(conflict_policy=policy)
        assert (again.run_id, again.started) == (first.run_id, False)

    async def test_may_terminate_the_open_run(self, flows):
        first = await flows.start()
        policy = ConflictPolicy.CONFLICT_POLICY_TERMINATE_EXISTING
        again = await flows.start(conflict_policy=policy)
        assert again.started
        assert again.run_id != first.run_id
        assert (await flows.get(run_id=first.run_id)).workflow.status == TERMINATED
        assert (await flows.get()).workflow.run_id == again.run_id

    async def test_may_follow_a_closed_run(self, flows):
        first = await flows.start()
        await flows.terminate()
        again = await flows.start(reuse_policy=ReusePolicy.REUSE_POLICY_ALLOW_DUPLICATE)
        assert again.run_id != first.run_id

    async def test_may_follow_only_a_run_that_did_not_complete(self, flows):
        policy = ReusePolicy.REUSE_POLICY_ALLOW_DUPLICATE_FAILED_ONLY
        await flows.start()
        await flows.terminate()
        assert (await flows.start(reuse_policy=policy)).started
        await flows.complete_workflow_task(await flows.poll_workflow_task(), complete_workflow())
        async with refused("ALREADY_EXISTS", "WORKFLOW_ALREADY_EXISTS"):
            await flows.start(reuse_policy=policy)

    async def test_repeated_with_the_same_request_id_gives_the_first_answer(self, flows):
        first = await flows.start(request_id="r")
        assert await flows.start(request_id="r") == first
        await flows.terminate()
        assert await flows.start(request_id="r") == first

    async def test_refuses_a_request_id_with_other_content(self, flows):
        await flows.start(request_id="r")
        async with refused("INVALID_ARGUMENT", "REQUEST_ID_REUSED", "'r'"):
            await flows.start(request_id="r", priority=1)

    async def test_namespaces_are_apart(self, flows):
        await flows.start(namespace="a")
        assert (await flows.start(namespace="b")).started
        async with refused("NOT_FOUND", "WORKFLOW_NOT_FOUND"):
            await flows.get(namespace="c")

    async def test_refuses_a_payload_above_the_bound(self, flows):
        async with refused("INVALID_ARGUMENT", "PAYLOAD_TOO_LARGE", "input"):
            await flows.start(input={"data": b"1" * (2 * MEBIBYTE + 1)})
        async with refused("NOT_FOUND", "WORKFLOW_NOT_FOUND"):
            await flows.get()

    @pytest.mark.parametrize(
        ("fields", "reason", "name"),
        [
            ({"workflow_type": ""}, "INVALID_REQUEST", "workflow_type"),
            ({"workflow_id": "a\nb"}, "INVALID_REQUEST", "workflow_id"),
            ({"workflow_id": "a" * 256}, "LIMIT_EXCEEDED", "workflow_id"),
            ({"request_id": "a" * 256}, "LIMIT_EXCEEDED", "request_id"),
            ({"priority": 6}, "INVALID_REQUEST", "priority"),
            ({"run_timeout": {"seconds": -1}}, "INVALID_REQUEST", "run_timeout"),
            ({"start_delay": {"seconds": -1}}, "INVALID_REQUEST", "start_delay"),
            ({"conflict_policy": 9}, "INVALID_REQUEST", "conflict_policy"),
        ],
    )
    async def test_refuses_a_bad_field_by_name(self, flows, fields, reason, name):
        async with refused("INVALID_ARGUMENT", reason, name):
            await flows.start(**({"workflow_id": "w"} | fields))


class TestExecute:
    def request(self, seconds, **fields):
        start = pb.StartWorkflowRequest(
            workflow_id="w", workflow_type="checkout", task_queue="shop", **fields
        )
        return pb.ExecuteWorkflowRequest(start=start, wait={"seconds": seconds})

    async def test_waits_for_the_result(self, flows):
        waiting = asyncio.create_task(
            flows.call("WorkflowService/ExecuteWorkflow", self.request(30))
        )
        task = await flows.poll_workflow_task()
        await flows.complete_workflow_task(task, complete_workflow("42"))
        run = (await waiting).workflow
        assert (run.status, run.result.data) == (COMPLETED, b"42")

    async def test_answers_with_the_open_run_when_the_wait_is_over(self, flows):
        answer = await flows.call("WorkflowService/ExecuteWorkflow", self.request(0))
        assert answer.workflow.status == PENDING

    async def test_repeated_with_the_same_request_id_waits_for_the_same_run(self, flows):
        request = self.request(0, request_id="r")
        first = await flows.call("WorkflowService/ExecuteWorkflow", request)
        again = await flows.call("WorkflowService/ExecuteWorkflow", request)
        assert again.workflow.run_id == first.workflow.run_id

    async def test_refuses_what_start_refuses(self, flows):
        async with refused("INVALID_ARGUMENT", "INVALID_REQUEST", "workflow_type"):
            await flows.call("WorkflowService/ExecuteWorkflow", pb.ExecuteWorkflowRequest())
        await flows.start()
        async with refused("ALREADY_EXISTS", "WORKFLOW_ALREADY_EXISTS"):
            await flows.call("WorkflowService/ExecuteWorkflow", self.request(0))

    async def test_refuses_a_wait_above_the_bound(self, flows):
        async with refused("INVALID_ARGUMENT", "LIMIT_EXCEEDED", "wait"):
            await flows.call("WorkflowService/ExecuteWorkflow", self.request(301))


class TestGet:
    async def test_shows_what_is_pending(self, flows):
        await flows.start()
        assert (await flows.get()).HasField("pending_workflow_task")
        task = await flows.poll_workflow_task()
        timer = {"schedule_timer": {"seq": 1, "duration": {"seconds": 60}}}
        await flows.complete_workflow_task(task, schedule_activity(), timer)
        answer = await flows.get()
        assert answer.workflow.status == RUNNING
        assert not answer.HasField("pending_workflow_task")
        assert [activity.name for activity in answer.pending_activities] == ["charge"]
        assert [timer.seq for timer in answer.pending_timers] == [1]

    async def test_refuses_an_unknown_workflow_or_run(self, flows):
        async with refused("NOT_FOUND", "WORKFLOW_NOT_FOUND", "'w'"):
            await flows.get()
        await flows.start()
        async with refused("NOT_FOUND", "WORKFLOW_NOT_FOUND"):
            await flows.get(run_id="none")

    async def test_needs_an_id(self, flows):
        async with refused("INVALID_ARGUMENT", "INVALID_REQUEST", "workflow_id"):
            await flows.get("")


class TestGetResult:
    async def test_answers_at_once_with_the_status_of_an_open_run(self, flows):
        started = await flows.start()
        answer = await flows.result()
        assert (answer.run_id, answer.status) == (started.run_id, PENDING)
        assert not answer.HasField("result")
        assert not answer.closed

    async def test_waits_for_the_end(self, flows):
        await flows.start()
        waiting = asyncio.create_task(flows.result(wait={"seconds": 30}))
        task = await flows.poll_workflow_task()
        await flows.complete_workflow_task(task, complete_workflow("42"))
        answer = await waiting
        assert (answer.status, answer.result.data, answer.closed) == (COMPLETED, b"42", True)
        assert (await flows.result()) == answer

    async def test_tells_why_there_is_no_result(self, flows):
        await flows.start()
        await flows.terminate(reason="wrong order")
        answer = await flows.result()
        assert answer.status == TERMINATED
        assert answer.failure.message == "wrong order"
        assert answer.closed

    async def test_is_open_while_the_workflow_is_tried_again(self, flows):
        policy = {"max_attempts": 2, "initial_interval": {"nanos": 1_000_000}}
        first = await flows.start(retry_policy=policy)
        fail = Command(fail_workflow={"failure": {"message": "no"}})
        await flows.complete_workflow_task(await flows.poll_workflow_task(), fail)
        answer = await flows.result(run_id=first.run_id)
        assert (answer.closed, answer.run_id) == (False, (await flows.get()).workflow.run_id)
        await flows.complete_workflow_task(await flows.poll_workflow_task(), fail)
        answer = await flows.result(run_id=first.run_id)
        assert (answer.closed, answer.failure.message) == (True, "no")

    async def test_refuses_an_unknown_workflow(self, flows):
        async with refused("NOT_FOUND", "WORKFLOW_NOT_FOUND"):
            await flows.result()


class TestList:
    async def list(self, flows, **fields):
        return await flows.call("WorkflowService/ListWorkflows", pb.ListWorkflowsRequest(**fields))

    async def test_pages_newest_first(self, flows):
        for name in "abc":
            await flows.start(name)
        first = await self.list(flows, page_size=2)
        assert [run.workflow_id for run in first.workflows] == ["c", "b"]
        last = await self.list(flows, page_size=2, page_token=first.next_page_token)
        assert [run.workflow_id for run in last.workflows] == ["a"]
        assert not last.next_page_token

    async def test_filters(self, flows):
        await flows.start("a", workflow_type="x")
        await flows.start("b")
        await flows.terminate("b")
        by_type = await self.list(flows, workflow_type="x")
        by_status = await self.list(flows, status=TERMINATED)
        assert [run.workflow_id for run in by_type.workflows] == ["a"]
        assert [run.workflow_id for run in by_status.workflows] == ["b"]

    async def test_refuses_a_page_token_of_somewhere_else(self, flows):
        async with refused("INVALID_ARGUMENT", "INVALID_PAGE_TOKEN"):
            await self.list(flows, page_token="nonsense")

    async def test_passes_over_an_offset(self, flows):
        for name in "abcde":
            await flows.start(name, workflow_type="x" if name in "ace" else "y")
        page = await self.list(flows, offset=2, page_size=2)
        assert [run.workflow_id for run in page.workflows] == ["c", "b"]
        # The token stands behind the offset already.
        page = await self.list(flows, offset=2, page_size=2, page_token=page.next_page_token)
        assert [run.workflow_id for run in page.workflows] == ["a"]
        matching = await self.list(flows, offset=1, workflow_type="x")
        assert [run.workflow_id for run in matching.workflows] == ["c", "a"]
        for offset in (5, 10_000):
            beyond = await self.list(flows, offset=offset)
            assert not beyond.workflows
            assert not beyond.next_page_token

    @pytest.mark.parametrize(
        ("offset", "reason"), [(-1, "INVALID_REQUEST"), (10_001, "LIMIT_EXCEEDED")]
    )
    async def test_refuses_an_offset_out_of_range(self, flows, offset, reason):
        async with refused("INVALID_ARGUMENT", reason, "offset"):
            await self.list(flows, offset=offset)

    @pytest.mark.parametrize("page_size", [-1, 1001])
    async def test_refuses_a_page_size_out_of_range(self, flows, page_size):
        with pytest.raises(Exception, match="page_size"):
            await self.list(flows, page_size=page_size)


class TestGetHistory:
    async def test_pages(self, flows):
        started = await flows.start()
        await flows.signal()
        await flows.terminate()
        first = await flows.history(page_size=2)
        assert [event.seq for event in first.history.events] == [1, 2]
        assert first.run_id == started.run_id
        last = await flows.history(page_size=2, page_token=first.next_page_token)
        assert [event.WhichOneof("event") for event in last.history.events] == [
            "workflow_terminated"
        ]
        assert not last.next_page_token

    async def test_refuses_an_unknown_workflow(self, flows):
        async with refused("NOT_FOUND", "WORKFLOW_NOT_FOUND"):
            await flows.history()

    async def test_goes_newest_first(self, flows):
        await flows.start()
        for _ in range(70):
            await flows.signal()
        await flows.terminate()
        seqs = [event.seq for event in (await flows.history(order=DESC)).history.events]
        assert seqs == [*range(72, 0, -1)]
        seen, token = [], ""
        while True:
            page = await flows.history(order=DESC, page_size=50, page_token=token)
            seen += [event.seq for event in page.history.events]
            if not (token := page.next_page_token):
                break
            assert token == str(seen[-1])
        assert seen == seqs

    @pytest.mark.parametrize(
        ("order", "token", "seqs"),
        [
            (ASC, "0", [1, 2, 3]),
            (ASC, "2", [3]),
            (ASC, "3", []),
            (ASC, "1000000", []),
            (DESC, "1000000", [3, 2, 1]),
            (DESC, "4", [3, 2, 1]),
            (DESC, "3", [2, 1]),
            (DESC, "1", []),
            (DESC, "0", []),
        ],
    )
    async def test_begins_next_to_any_event(self, flows, order, token, seqs):
        await flows.start()
        await flows.signal()
        await flows.terminate()
        page = await flows.history(order=order, page_token=token)
        assert [event.seq for event in page.history.events] == seqs
        assert not page.next_page_token

    @pytest.mark.parametrize("order", [ASC, DESC])
    async def test_without_a_size_gives_what_fits_into_a_message(self, flows, order):
        await flows.start()
        for _ in range(6):
            await flows.signal(payload={"data": b"1" * MEBIBYTE})
        seen, token, pages = [], "", 0
        while pages == 0 or token:
            page = await flows.history(order=order, page_token=token)
            assert page.ByteSize() < 4 * MEBIBYTE
            seen += [event.seq for event in page.history.events]
            token, pages = page.next_page_token, pages + 1
        assert pages > 1
        assert seen == (list(range(1, 8)) if order == ASC else list(range(7, 0, -1)))

    async def test_refuses_an_unknown_order(self, flows):
        await flows.start()
        async with refused("INVALID_ARGUMENT", "INVALID_REQUEST", "order"):
            await flows.history(order=9)

    @pytest.mark.parametrize("token", ["nonsense", "-1", "9" * 40, "²", "٣"])
    async def test_refuses_a_page_token_of_somewhere_else(self, flows, token):
        await flows.start()
        async with refused("INVALID_ARGUMENT", "INVALID_PAGE_TOKEN"):
            await flows.history(page_token=token)


class TestSignal:
    async def test_is_recorded_in_order(self, flows):
        await flows.start()
        assert (await flows.signal(payload=json_payload("1"))).event_seq == 2
        assert (await flows.signal()).event_seq == 3
        events = (await flows.history()).history.events
        assert events[1].signal_received.payload.data == b"1"
        assert not events[2].signal_received.HasField("payload")

    async def test_repeated_with_the_same_request_id_counts_once(self, flows):
        await flows.start()
        first = await flows.signal(request_id="r")
        assert await flows.signal(request_id="r") == first
        assert await flows.kinds() == ["workflow_started", "signal_received"]

    async def test_refuses_a_request_id_with_other_content(self, flows):
        await flows.start()
        await flows.signal(request_id="r")
        async with refused("INVALID_ARGUMENT", "REQUEST_ID_REUSED"):
            await flows.signal(request_id="r", signal_name="stop")

    async def test_refuses_an_unknown_workflow(self, flows):
        async with refused("NOT_FOUND", "WORKFLOW_NOT_FOUND"):
            await flows.signal()

    async def test_refuses_a_closed_one(self, flows):
        await flows.start()
        await flows.terminate()
        async with refused("FAILED_PRECONDITION", "WORKFLOW_CLOSED"):
            await flows.signal()

    async def test_refuses_a_payload_above_the_bound(self, flows):
        await flows.start()
        async with refused("INVALID_ARGUMENT", "PAYLOAD_TOO_LARGE"):
            await flows.signal(payload={"data": b"1" * (2 * MEBIBYTE + 1)})

    async def test_needs_a_name(self, flows):
        async with refused("INVALID_ARGUMENT", "INVALID_REQUEST", "signal_name"):
            await flows.signal(signal_name="")


class TestCancel:
    async def test_ends_a_run_whose_code_never_ran(self, flows):
        await flows.start()
        assert (await flows.cancel(reason="changed my mind")).status == CANCELLED
        assert (await flows.kinds())[1:] == ["workflow_cancel_requested", "workflow_cancelled"]

    async def test_asks_code_that_has_run(self, flows):
        await flows.start()
        await flows.complete_workflow_task(await flows.poll_workflow_task(), schedule_activity())
        assert (await flows.cancel()).status == RUNNING
        assert (await flows.cancel()).status == RUNNING
        assert (await flows.kinds()).count("workflow_cancel_requested") == 1
        assert (await flows.get()).workflow.cancel_requested

    async def test_repeated_with_the_same_request_id_gives_the_first_answer(self, flows):
        await flows.start()
        first = await flows.cancel(request_id="r")
        assert await flows.cancel(request_id="r") == first

    async def test_refuses_an_unknown_or_closed_workflow(self, flows):
        async with refused("NOT_FOUND", "WORKFLOW_NOT_FOUND"):
            await flows.cancel()
        await flows.start()
        await flows.terminate()
        async with refused("NOT_FOUND", "WORKFLOW_NOT_FOUND", "closed"):
            await flows.cancel()

    async def test_refuses_a_negative_deadline(self, flows):
        await flows.start()
        async with refused("INVALID_ARGUMENT", "INVALID_REQUEST", "deadline"):
            await flows.cancel(deadline={"seconds": -1})


class TestTerminate:
    async def test_ends_the_run(self, flows):
        await flows.start()
        await flows.terminate(reason="wrong order")
        run = (await flows.get()).workflow
        assert run.status == TERMINATED
        assert run.HasField("completed_at")

    async def test_repeated_with_the_same_request_id_gives_the_first_answer(self, flows):
        await flows.start()
        first = await flows.terminate(request_id="r")
        assert await flows.terminate(request_id="r") == first

    async def test_refuses_an_unknown_or_closed_workflow(self, flows):
        async with refused("NOT_FOUND", "WORKFLOW_NOT_FOUND"):
            await flows.terminate()
        await flows.start()
        await flows.terminate()
        async with refused("NOT_FOUND", "WORKFLOW_NOT_FOUND", "closed"):
            await flows.terminate()

    async def test_refuses_a_reason_above_the_bound(self, flows):
        await flows.start()
        async with refused("INVALID_ARGUMENT", "LIMIT_EXCEEDED", "reason"):
            await flows.terminate(reason="a" * 4097)
