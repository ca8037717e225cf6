"""The RPCs of AdminService about queues and the server: answers, and the documented errors."""

from __future__ import annotations

import json

import pytest

import perdure
from perdure.v1 import admin_service_pb2 as pb
from perdure.v1 import worker_service_pb2 as worker
from perdure_server.api.admin_service import About, AdminService
from perdure_server.core.errors import StoreUnavailable
from tests.api.flows import refused, schedule_activity


class Admin:
    """Calls of AdminService."""

    def __init__(self, caller):
        self._call = caller.call

    async def queues(self, **fields):
        return await self._call("AdminService/ListQueues", pb.ListQueuesRequest(**fields))

    async def health(self):
        return await self._call("AdminService/GetHealth", pb.GetHealthRequest())

    async def version(self):
        return await self._call("AdminService/GetVersion", pb.GetVersionRequest())

    async def openapi(self):
        return await self._call("AdminService/GetOpenApi", pb.GetOpenApiRequest())


@pytest.fixture
def admin(caller):
    return Admin(caller)


class TestListQueues:
    async def test_without_tasks_and_workers_there_is_none(self, admin):
        answer = await admin.queues()
        assert not answer.queues
        assert not answer.next_page_token

    async def test_shows_what_waits_and_what_runs(self, admin, flows):
        for workflow_id in ("a", "b", "c"):
            await flows.start(workflow_id)
        await flows.start("elsewhere", namespace="n")
        await flows.complete_workflow_task(
            await flows.poll_workflow_task(), schedule_activity(1), schedule_activity(2)
        )
        await flows.poll_activity_task()
        await flows.poll_workflow_task()
        (queue,) = (await admin.queues()).queues
        assert (queue.pending_workflow_tasks, queue.running_workflow_tasks) == (1, 1)
        assert (queue.pending_activities, queue.running_activities) == (1, 1)
        assert (queue.queue, queue.workers) == ("shop", 0)
        assert 0 <= queue.oldest_pending.seconds < 60

    async def test_without_a_task_to_hand_out_nothing_is_the_oldest(self, admin, flows):
        await flows.start("a", start_delay={"seconds": 1_000})
        await flows.start("b")
        await flows.poll_workflow_task()
        (queue,) = (await admin.queues()).queues
        assert not queue.HasField("oldest_pending")

    async def test_counts_the_workers(self, admin, caller, flows):
        for name in ("mail", "shop", "shop"):
            request = worker.RegisterRequest(identity="me", task_queue=name)
            await caller.call("WorkerService/Register", request)
        await flows.start("a")
        queues = (await admin.queues()).queues
        assert [(queue.queue, queue.workers) for queue in queues] == [("mail", 1), ("shop", 2)]
        assert queues[1].pending_workflow_tasks == 1

    async def test_goes_by_name_page_by_page(self, admin, flows):
        for name in ("zoo", "mail", "a"):
            await flows.start(name, task_queue=name, namespace="n")
        first = await admin.queues(namespace="n", page_size=2)
        token = first.next_page_token
        last = await admin.queues(namespace="n", page_size=2, page_token=token)
        names = [queue.queue for page in (first, last) for queue in page.queues]
        assert names == ["a", "mail", "zoo"]
        assert not last.next_page_token

    async def test_refuses_a_token_that_is_not_its_own(self, admin):
        async with refused("INVALID_ARGUMENT", "INVALID_PAGE_TOKEN"):
            await admin.queues(page_token="namespaces:a")

    async def test_refuses_a_page_that_is_too_large(self, admin):
        async with refused("INVALID_ARGUMENT", "LIMIT_EXCEEDED", "page_size"):
            await admin.queues(page_size=1_001)


class TestAboutTheServer:
    async def test_a_server_that_can_serve_says_so(self, admin):
        assert await admin.health() == pb.GetHealthResponse(status="ok", service="perdure")

    async def test_without_its_store_it_says_so(self, admin, store):
        await store.close()
        async with refused("UNAVAILABLE", "STORE_UNAVAILABLE"):
            await admin.health()

    async def test_the_version_is_that_of_the_distribution(self, admin):
        answer = await admin.version()
        assert answer == pb.GetVersionResponse(version=perdure.__version__, build_profile="release")

    async def test_the_document_is_json(self, admin):
        document = (await admin.openapi()).document
        assert document.encoding == "json/plain"
        assert isinstance(json.loads(document.data), dict)

    async def test_the_document_is_what_the_server_was_given(self, engine):
        service = AdminService(engine, About(version="9", openapi=b'{"openapi": "3.1.0"}'))
        answer = await service.GetOpenApi(pb.GetOpenApiRequest())
        assert answer.document.data == b'{"openapi": "3.1.0"}'


async def test_the_engine_asks_its_store(engine, store):
    await engine.check()
    await store.close()
    with pytest.raises(StoreUnavailable):
        await engine.check()
