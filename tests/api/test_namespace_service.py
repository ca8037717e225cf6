"""Every RPC of NamespaceService: its answer, and each error it documents."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from perdure.v1 import admin_service_pb2 as admin
from perdure.v1 import namespace_service_pb2 as pb
from perdure.v1 import schedule_service_pb2 as schedules
from perdure.v1 import watch_service_pb2 as watch
from perdure.v1 import worker_service_pb2 as worker
from perdure.v1 import workflow_service_pb2 as workflow
from perdure.v1.workflow_pb2 import WorkflowStatus
from tests.api.calls import Refused
from tests.api.flows import complete_workflow, refused, schedule_activity

PENDING = WorkflowStatus.WORKFLOW_STATUS_PENDING
LONG = "x" * 256
WHOLE = ["workflow_started", "signal_received", "workflow_terminated"]


class Namespaces:
    """Calls of NamespaceService."""

    def __init__(self, caller):
        self._call = caller.call

    async def create(self, name, **fields):
        request = pb.CreateNamespaceRequest(name=name, **fields)
        return (await self._call("NamespaceService/CreateNamespace", request)).namespace

    async def update(self, name, **fields):
        request = pb.UpdateNamespaceRequest(name=name, **fields)
        return (await self._call("NamespaceService/UpdateNamespace", request)).namespace

    async def list(self, **fields):
        request = pb.ListNamespacesRequest(**fields)
        return await self._call("NamespaceService/ListNamespaces", request)

    async def names(self):
        return [namespace.name for namespace in (await self.list()).namespaces]

    async def stats(self, name):
        request = pb.GetNamespaceRequest(name=name)
        return (await self._call("NamespaceService/GetNamespace", request)).stats

    async def delete(self, name, **fields):
        request = pb.DeleteNamespaceRequest(name=name, **fields)
        return await self._call("NamespaceService/DeleteNamespace", request)


@pytest.fixture
def namespaces(caller):
    return Namespaces(caller)


class TestRetention:
    async def test_it_is_given_and_changed(self, namespaces):
        assert (await namespaces.create("a", retention={"seconds": 60})).retention.seconds == 60
        assert not (await namespaces.create("b")).HasField("retention")
        assert (await namespaces.update("a", retention={"seconds": 90})).retention.seconds == 90
        assert not (await namespaces.update("a", retention={})).HasField("retention")
        assert (await namespaces.update("main", retention={"seconds": 30})).name == "main"
        listed = (await namespaces.list()).namespaces
        assert [each.retention.seconds for each in listed] == [0, 0, 30]

    async def test_of_nobody(self, namespaces):
        async with refused("NOT_FOUND", "NAMESPACE_NOT_FOUND"):
            await namespaces.update("nobody", retention={"seconds": 60})

    @pytest.mark.parametrize(
        "fields", [{"name": ""}, {"name": "main", "retention": {"seconds": -1}}]
    )
    async def test_malformed_requests(self, namespaces, fields):
        async with refused("INVALID_ARGUMENT", "INVALID_REQUEST"):
            await namespaces.update(**fields)


class TestIsolation:
    async def test_two_namespaces_do_not_see_each_other(self, namespaces, flows, caller):
        for name in ("a", "b"):
            await flows.start("w", namespace=name, workflow_type=name)
        task = await flows.poll_workflow_task(namespace="b")
        assert task.workflow_type == "b"
        assert (await flows.get("w", namespace="a")).workflow.workflow_type == "a"
        await flows.signal("w", namespace="a")
        assert len((await flows.history("w", namespace="b")).history.events) == 1
        await flows.terminate("w", namespace="a")
        assert (await flows.get("w", namespace="b")).workflow.status == PENDING
        request = workflow.ListWorkflowsRequest(namespace="b")
        listed = await caller.call("WorkflowService/ListWorkflows", request)
        assert [each.workflow_type for each in listed.workflows] == ["b"]
        request = admin.ListQueuesRequest(namespace="a")
        assert not (await caller.call("AdminService/ListQueues", request)).queues
        await namespaces.delete("a", force=True)
        assert (await flows.get("w", namespace="b")).workflow.namespace == "b"

    async def test_their_schedules_start_workflows_in_their_own(self, namespaces, flows, caller):
        for name in ("a", "b"):
            spec = {"workflow_type": name, "cron_expr": "0 0 1 1 *"}
            request = schedules.CreateScheduleRequest(namespace=name, name="s", spec=spec)
            await caller.call("ScheduleService/CreateSchedule", request)
        pause = schedules.PauseScheduleRequest(namespace="a", name="s", request_id="r")
        await caller.call("ScheduleService/PauseSchedule", pause)
        listed = schedules.ListSchedulesRequest(namespace="b")
        (theirs,) = (await caller.call("ScheduleService/ListSchedules", listed)).schedules
        assert (theirs.spec.workflow_type, theirs.paused) == ("b", False)
        # The same request id, for the schedule of the same name in the other namespace.
        pause.namespace = "b"
        assert (await caller.call("ScheduleService/PauseSchedule", pause)).schedule.paused
        trigger = schedules.TriggerScheduleRequest(namespace="a", name="s")
        run = (await caller.call("ScheduleService/TriggerSchedule", trigger)).run
        found = (await flows.get(run.workflow_id, namespace="a")).workflow
        assert (found.workflow_type, found.namespace) == ("a", "a")
        async with refused("NOT_FOUND", "WORKFLOW_NOT_FOUND"):
            await flows.get(run.workflow_id, namespace="b")
        counts = [(await namespaces.stats(name)).schedules for name in ("a", "b")]
        assert counts == [1, 1]
        await namespaces.delete("a", force=True)
        (left,) = (await caller.call("ScheduleService/ListSchedules", listed)).schedules
        assert left.namespace == "b"

    async def test_their_watches_tell_nothing_of_each_other(self, flows, caller):
        ours = watch.WatchRequest(namespace="a")
        ours_to_come = caller.stream("WatchService/Watch", ours)
        theirs = watch.WatchWorkflowRequest(namespace="a", workflow_id="w")
        async with aclosing(ours_to_come) as events:
            await anext(events)
            await flows.start("w", namespace="b")
            await flows.start("w", namespace="a")
            await flows.signal("w", namespace="b")
            await flows.terminate("w", namespace="b")
            await flows.signal("w", namespace="a")
            await flows.terminate("w", namespace="a")
            told = [await anext(events) for _ in range(3)]
        assert {event.namespace for event in told} == {"a"}
        assert [event.kind for event in told] == WHOLE
        async with aclosing(caller.stream("WatchService/WatchWorkflow", theirs)) as events:
            kinds = [event.event.WhichOneof("event") async for event in events if event.event.seq]
        assert kinds == WHOLE


class TestCreate:
    async def test_is_listed_from_then_on(self, namespaces):
        created = await namespaces.create("shop")
        assert created.name == "shop"
        assert created.created_at.seconds > 1_700_000_000
        assert created in (await namespaces.list()).namespaces

    async def test_repeated_is_refused(self, namespaces):
        first = await namespaces.create("shop")
        async with refused("ALREADY_EXISTS", "NAMESPACE_ALREADY_EXISTS", "'shop'"):
            await namespaces.create("shop")
        assert first in (await namespaces.list()).namespaces

    async def test_main_exists(self, namespaces):
        async with refused("ALREADY_EXISTS", "NAMESPACE_ALREADY_EXISTS"):
            await namespaces.create("main")

    @pytest.mark.parametrize(
        ("name", "reason"),
        [("", "INVALID_REQUEST"), (LONG, "LIMIT_EXCEEDED"), ("a\0b", "INVALID_REQUEST")],
    )
    async def test_refuses_what_is_no_name(self, namespaces, name, reason):
        async with refused("INVALID_ARGUMENT", reason, "name"):
            await namespaces.create(name)

    async def test_a_name_may_hold_any_character(self, namespaces):
        name = "a/b%2F:c d ü \U0001f600"
        await namespaces.create(name)
        assert name in await namespaces.names()
        assert (await namespaces.stats(name)).namespace == name


class TestList:
    async def test_main_is_always_there(self, namespaces):
        assert await namespaces.names() == ["main"]

    async def test_goes_page_by_page(self, namespaces):
        for name in ("zoo", "shop", "a"):
            await namespaces.create(name)
        first = await namespaces.list(page_size=2)
        last = await namespaces.list(page_size=2, page_token=first.next_page_token)
        names = [namespace.name for page in (first, last) for namespace in page.namespaces]
        assert names == ["a", "main", "shop", "zoo"]
        assert not last.next_page_token

    @pytest.mark.parametrize("token", ["shop", "queues:shop", "namespaces:", f"namespaces:{LONG}"])
    async def test_refuses_a_token_that_is_not_its_own(self, namespaces, token):
        async with refused("INVALID_ARGUMENT", "INVALID_PAGE_TOKEN"):
            await namespaces.list(page_token=token)


class TestGet:
    async def test_counts_the_runs_by_status(self, namespaces, flows):
        for workflow_id in ("a", "b", "c", "d"):
            await flows.start(workflow_id, namespace="n")
        await flows.start("e")
        for command in (complete_workflow(), schedule_activity()):
            task = await flows.poll_workflow_task(namespace="n")
            await flows.complete_workflow_task(task, command)
        await flows.terminate("d", namespace="n")
        stats = await namespaces.stats("n")
        assert stats == pb.NamespaceStats(
            namespace="n", total_workflows=4, pending=1, running=1, completed=1, terminated=1
        )

    async def test_counts_the_workers(self, namespaces, caller):
        request = worker.RegisterRequest(identity="me", namespace="n", task_queue="shop")
        for _ in range(2):
            await caller.call("WorkerService/Register", request)
        assert await namespaces.stats("n") == pb.NamespaceStats(namespace="n", workers=2)

    async def test_one_that_was_created_may_be_empty(self, namespaces):
        await namespaces.create("n")
        assert await namespaces.stats("n") == pb.NamespaceStats(namespace="n")
        assert await namespaces.stats("main") == pb.NamespaceStats(namespace="main")

    async def test_refuses_one_that_was_neither_created_nor_used(self, namespaces):
        async with refused("NOT_FOUND", "NAMESPACE_NOT_FOUND", "'n'"):
            await namespaces.stats("n")
        async with refused("INVALID_ARGUMENT", "INVALID_REQUEST", "name"):
            await namespaces.stats("")


class TestDelete:
    async def test_an_empty_one_is_gone(self, namespaces):
        await namespaces.create("n")
        await namespaces.delete("n")
        assert await namespaces.names() == ["main"]
        async with refused("NOT_FOUND", "NAMESPACE_NOT_FOUND", "'n'"):
            await namespaces.delete("n")

    @pytest.mark.parametrize("force", [False, True])
    async def test_main_stays(self, namespaces, flows, force):
        await flows.start()
        async with refused("FAILED_PRECONDITION", "NAMESPACE_IN_USE", "'main' always exists"):
            await namespaces.delete("main", force=force)
        assert (await flows.get()).workflow.status == PENDING

    async def test_one_with_runs_stays(self, namespaces, flows):
        await namespaces.create("n")
        await flows.start("a", namespace="n")
        async with refused("FAILED_PRECONDITION", "NAMESPACE_IN_USE", "1 run; delete"):
            await namespaces.delete("n")
        await flows.start("b", namespace="n")
        await flows.terminate("b", namespace="n")
        async with refused("FAILED_PRECONDITION", "NAMESPACE_IN_USE", "2 runs; delete"):
            await namespaces.delete("n")
        assert (await namespaces.stats("n")).total_workflows == 2
        assert "n" in await namespaces.names()

    async def test_with_force_the_runs_go_too(self, namespaces, flows):
        await namespaces.create("n")
        await flows.start("a", namespace="n")
        await flows.start("b", namespace="n")
        await flows.terminate("b", namespace="n")
        kept = await flows.start("a")
        await namespaces.delete("n", force=True)
        assert await namespaces.names() == ["main"]
        async with refused("NOT_FOUND", "NAMESPACE_NOT_FOUND"):
            await namespaces.stats("n")
        for workflow_id in ("a", "b"):
            async with refused("NOT_FOUND", "WORKFLOW_NOT_FOUND"):
                await flows.get(workflow_id, namespace="n")
        assert (await flows.get("a")).workflow.run_id == kept.run_id

    async def test_one_that_was_only_used_goes_too(self, namespaces, flows):
        await flows.start("a", namespace="n")
        await namespaces.delete("n", force=True)
        async with refused("NOT_FOUND", "NAMESPACE_NOT_FOUND"):
            await namespaces.delete("n", force=True)

    async def test_a_deleted_run_is_not_found_by_anyone(self, namespaces, flows):
        run_id = (await flows.start("a", namespace="n", request_id="r")).run_id
        await flows.signal("a", namespace="n", request_id="s")
        await flows.terminate("a", namespace="n")
        async with refused("FAILED_PRECONDITION", "WORKFLOW_CLOSED"):
            await flows.signal("a", namespace="n", run_id=run_id)
        await namespaces.delete("n", force=True)
        for named in ("", run_id):
            for call in (flows.signal, flows.cancel, flows.terminate, flows.result, flows.history):
                async with refused("NOT_FOUND", "WORKFLOW_NOT_FOUND"):
                    await call("a", namespace="n", run_id=named)
        async with refused("NOT_FOUND", "WORKFLOW_NOT_FOUND"):
            await flows.signal("a", namespace="n", request_id="s")

    async def test_its_names_and_request_ids_are_free_again(self, namespaces, flows):
        first = await flows.start("a", namespace="n", request_id="r")
        await namespaces.delete("n", force=True)
        again = await flows.start("a", namespace="n", request_id="r")
        assert again.started
        assert again.run_id != first.run_id

    async def test_a_report_on_a_deleted_run_is_refused(self, namespaces, flows):
        await flows.start("a", namespace="n")
        task = await flows.poll_workflow_task(namespace="n")
        await namespaces.delete("n", force=True)
        async with refused("NOT_FOUND", "WORKFLOW_NOT_FOUND"):
            await flows.complete_workflow_task(task, complete_workflow())

    async def test_many_go_in_steps(self, namespaces, flows):
        starts = (flows.start(f"w{number}", namespace="n") for number in range(250))
        await asyncio.gather(*starts)
        await namespaces.delete("n", force=True)
        async with refused("NOT_FOUND", "NAMESPACE_NOT_FOUND"):
            await namespaces.stats("n")

    async def test_two_at_once_do_not_disturb_each_other(self, namespaces, flows):
        await asyncio.gather(*(flows.start(f"w{number}", namespace="n") for number in range(20)))
        both = (namespaces.delete("n", force=True) for _ in range(2))
        for outcome in await asyncio.gather(*both, return_exceptions=True):
            # To the one that comes last it may look as if there had been none.
            late = isinstance(outcome, Refused) and outcome.reason == "NAMESPACE_NOT_FOUND"
            assert late or outcome == pb.DeleteNamespaceResponse()
        async with refused("NOT_FOUND", "NAMESPACE_NOT_FOUND"):
            await namespaces.stats("n")
