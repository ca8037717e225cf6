"""The deletion of a namespace: what memory, workers and waiters learn, and what a crash leaves."""

from __future__ import annotations

import asyncio

import pytest

from perdure.v1 import admin_service_pb2 as admin
from perdure.v1 import namespace_service_pb2 as pb
from perdure.v1 import workflow_service_pb2 as workflow
from perdure_server.core.errors import (
    NamespaceInUse,
    NamespaceNotFound,
    StoreUnavailable,
    WorkflowNotFound,
)
from perdure_server.core.limits import DELETE_RUNS_MAX
from perdure_server.core.model import Namespace, RunStatus
from perdure_server.engine.engine import Engine
from perdure_server.store.contract import Position
from tests.engine.rig import running, schedule, settle, timer
from tests.support.ids import SequentialIds
from tests.support.model_store import ModelStore

NAME = "n"


class FailingStore(ModelStore):
    """A store that fails at the call that `fails` names, once `after` of them were good."""

    def __init__(self):
        super().__init__()
        self.fails = ""
        self.after = 0

    def _may_fail(self, call):
        if call == self.fails:
            if not self.after:
                raise StoreUnavailable("the disk is gone")
            self.after -= 1

    async def delete_closed_runs(self, namespace, **bounds):
        self._may_fail("delete_closed_runs")
        return await super().delete_closed_runs(namespace, **bounds)

    async def delete_namespace(self, name):
        self._may_fail("delete_namespace")
        return await super().delete_namespace(name)

    async def commit(self, changesets):
        if self.fails == "commit":
            return [StoreUnavailable("the disk is gone")] * len(changesets)
        return await super().commit(changesets)


@pytest.fixture
def store():
    return FailingStore()


@pytest.fixture
async def rig(store):
    await store.open()
    async with running(store) as rig:
        yield rig


async def delete(rig, **fields):
    request = pb.DeleteNamespaceRequest(name=NAME, **({"force": True} | fields))
    return await rig.engine.namespaces.delete(request)


async def start_many(rig, count):
    for number in range(count):
        request = workflow.StartWorkflowRequest(
            workflow_id=f"w{number}", workflow_type="W", namespace=NAME
        )
        await rig.engine.workflows.start(request)


async def signal(rig, **fields):
    request = workflow.SignalWorkflowRequest(
        workflow_id="w", namespace=NAME, signal_name="go", **fields
    )
    return await rig.engine.workflows.signal(request)


async def is_gone(rig):
    assert await rig.store.count_runs(NAME) == {}
    with pytest.raises(NamespaceNotFound):
        await delete(rig)


async def test_memory_forgets_what_was_deleted(rig):
    run_id = (await rig.start(namespace=NAME)).run_id
    kept = await rig.start("other")
    hot = rig.engine._runs.hot
    await delete(rig)
    assert rig.engine._runs.hot == hot - 1
    assert rig.engine._runs.latest(NAME, "w") is None
    assert rig.engine._runs.latest("main", "other") == kept.run_id
    for named in ("", run_id):
        with pytest.raises(WorkflowNotFound):
            await signal(rig, run_id=named)


async def test_memory_forgets_a_closed_run_that_somebody_asked_for(rig):
    run_id = (await rig.start(namespace=NAME)).run_id
    request = workflow.TerminateWorkflowRequest(workflow_id="w", namespace=NAME)
    await rig.engine.workflows.terminate(request)
    rig.engine._runs.visit(run_id, lambda state: None)
    await settle()
    assert rig.engine._runs.is_closed(run_id)
    await delete(rig)
    assert not rig.engine._runs.is_closed(run_id)
    assert rig.engine._runs.hot == 0


async def test_no_alarm_rings_for_a_deleted_run(rig):
    worker = await rig.worker(namespace=NAME)
    await rig.start(namespace=NAME)
    (task,) = worker.workflow_tasks
    await worker.command(task, timer(seconds=30), schedule())
    assert rig.engine.next_alarm_us() is not None
    await delete(rig)
    assert rig.engine.next_alarm_us() is None
    await rig.advance(60)
    assert await rig.store.count_runs(NAME) == {}


async def test_a_worker_is_told_to_stop_and_gets_the_next_task(rig):
    worker = await rig.worker(namespace=NAME, slots=(1, 1))
    await rig.start(namespace=NAME)
    await rig.start("waiting", namespace=NAME)
    await worker.command(worker.workflow_tasks[0], schedule())
    (activity,) = worker.activity_tasks
    await delete(rig)
    await settle()
    assert activity.task_token in {cancel.task_token for cancel in worker.cancels}
    await rig.start("new", namespace=NAME)
    for task in worker.workflow_tasks[1:]:
        await worker.report(task, workflow_task_failed={"failure": {"message": "late"}})
    assert worker.workflow_tasks[-1].workflow_id == "new"
    queues = await rig.engine.queues.list(admin.ListQueuesRequest(namespace=NAME))
    assert [(queue.queue, queue.workers) for queue in queues.queues] == [("default", 1)]


async def test_the_end_of_a_run_says_why(rig):
    await rig.start(namespace=NAME)
    request = workflow.GetWorkflowResultRequest(
        workflow_id="w", namespace=NAME, wait={"seconds": 60}
    )
    waiting = asyncio.create_task(rig.engine.workflows.get_result(request))
    await settle()
    assert rig.engine.workflows.waiting == 1
    await delete(rig)
    assert (await waiting).failure.message == "the namespace was deleted"


@pytest.mark.parametrize(
    ("fails", "after"),
    [("delete_closed_runs", 0), ("delete_closed_runs", 1), ("delete_namespace", 0)],
)
async def test_what_was_cut_off_may_be_asked_for_again(rig, store, fails, after):
    await rig.store.insert_namespace(Namespace(NAME, 1))
    await start_many(rig, DELETE_RUNS_MAX + 50)
    store.fails, store.after = fails, after
    with pytest.raises(StoreUnavailable):
        await delete(rig)
    assert await store.find_namespace(NAME) is not None
    store.fails = ""
    again = Engine(store, rig.clock, SequentialIds(), workers_return=False)
    await again.start()
    await again.namespaces.delete(pb.DeleteNamespaceRequest(name=NAME, force=True))
    await again.stop()
    await is_gone(rig)


async def test_a_run_that_cannot_be_ended_ends_the_deletion(rig, store):
    await start_many(rig, 3)
    store.fails = "commit"
    with pytest.raises(StoreUnavailable):
        await delete(rig)
    assert await store.count_runs(NAME) == {RunStatus.PENDING: 3}
    store.fails = ""
    await delete(rig)
    await is_gone(rig)


async def test_a_run_that_closes_meanwhile_does_not_disturb(rig, store):
    await start_many(rig, 1)
    request = workflow.TerminateWorkflowRequest(workflow_id="w0", namespace=NAME)
    deleting = asyncio.create_task(delete(rig))
    await rig.engine.workflows.terminate(request)
    await deleting
    await is_gone(rig)


async def test_a_run_that_starts_meanwhile_goes_too(rig, store):
    await start_many(rig, DELETE_RUNS_MAX)
    deleting = asyncio.create_task(delete(rig))
    await rig.start("late", namespace=NAME)
    await deleting
    await is_gone(rig)


async def test_a_namespace_that_fills_all_the_time_is_given_up(rig, store):
    await start_many(rig, 1)
    inner, started = store.delete_closed_runs, []

    async def start_again(namespace, **bounds):
        started.append(await rig.start(f"again-{len(started)}", namespace=NAME))
        return await inner(namespace, **bounds)

    store.delete_closed_runs = start_again
    with pytest.raises(NamespaceInUse, match="all the time"):
        await delete(rig)
    assert len(started) < 3 * DELETE_RUNS_MAX
    store.delete_closed_runs = inner
    await delete(rig)
    await is_gone(rig)


async def test_the_events_of_other_namespaces_stay_in_place(rig):
    await rig.start("before")
    await start_many(rig, 2)
    await rig.start("after")
    await delete(rig)
    events = await rig.store.read_events(Position(rig.store.epoch, 0, -1), limit=100)
    assert [event.workflow_id for event in events] == ["before", "after"]
