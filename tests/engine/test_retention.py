"""Runs that closed too long ago go, by turns of the servers; who watched from before is told."""

from __future__ import annotations

import pytest

from perdure.v1 import namespace_service_pb2 as pb
from perdure.v1 import workflow_service_pb2 as workflow
from perdure.v1.watch_service_pb2 import WatchRequest
from perdure_server.core.errors import CursorExpired, StoreUnavailable, WorkflowNotFound
from perdure_server.core.limits import DELETE_RUNS_MAX, RETENTION_RUNS_MIN, RETENTION_STEP_US
from perdure_server.engine.results import Ticket
from tests.engine.rig import running, settle
from tests.support.model_store import ModelStore

HOUR = 3_600
NAME = "n"
NOBODY = "0198c2f0-0000-7000-8000-000000000000"


class Watched(ModelStore):
    """Notes the steps of deletions; may fail."""

    def __init__(self):
        super().__init__()
        self.steps = []
        self.fails_with = None

    async def delete_closed_runs(self, namespace, **bounds):
        if self.fails_with is not None:
            raise self.fails_with
        deleted = await super().delete_closed_runs(namespace, **bounds)
        self.steps.append(deleted)
        return deleted


@pytest.fixture
async def store():
    store = Watched()
    await store.open()
    return store


@pytest.fixture
async def rig(store):
    async with running(store) as rig:
        yield rig


async def keep(rig, seconds=HOUR):
    request = pb.CreateNamespaceRequest(name=NAME, retention={"seconds": seconds})
    return (await rig.engine.namespaces.create(request)).namespace


async def close(rig, *names, namespace=NAME):
    for name in names:
        ids = {"namespace": namespace, "workflow_id": name}
        await rig.engine.workflows.start(workflow.StartWorkflowRequest(workflow_type="W", **ids))
        await rig.engine.workflows.terminate(workflow.TerminateWorkflowRequest(**ids))


async def wait(rig, seconds):
    """Lets time pass, so that all that is due in it is done."""
    for _ in range(seconds // 10):
        rig.clock.advance(10_000_000)
        await settle()


def left(rig):
    return sorted(run.workflow_id for run in rig.store.stored_runs)


async def first_of(rig, **fields):
    answers = rig.engine.watches.watch(WatchRequest(namespace=NAME, **fields))
    try:
        return await anext(answers)
    finally:
        await answers.aclose()


async def test_runs_go_when_their_time_is_over(rig):
    assert (await keep(rig)).retention.seconds == HOUR
    await close(rig, "a", "b")
    await close(rig, "c", namespace="main")
    open_run = workflow.StartWorkflowRequest(namespace=NAME, workflow_id="d", workflow_type="W")
    await rig.engine.workflows.start(open_run)
    await wait(rig, HOUR - 300)
    assert left(rig) == ["a", "b", "c", "d"]
    await wait(rig, 600)
    assert left(rig) == ["c", "d"]


async def test_many_go_in_steps_with_pauses(rig, store):
    await keep(rig, 60)
    await close(rig, *(f"w{number}" for number in range(2 * DELETE_RUNS_MAX + 1)))
    while not any(store.steps):
        await wait(rig, 10)
    assert [step for step in store.steps if step] == [DELETE_RUNS_MAX]
    await wait(rig, 60)
    assert [step for step in store.steps if step] == [DELETE_RUNS_MAX, DELETE_RUNS_MAX, 1]
    assert left(rig) == []


async def test_steps_that_take_long_become_small_and_grow_again(rig, store):
    await keep(rig, 60)
    await close(rig, *(f"w{number}" for number in range(400)))
    delete = store.delete_closed_runs

    async def slow(namespace, **bounds):
        if sum(map(bool, store.steps)) < 6:
            rig.clock.advance(2 * RETENTION_STEP_US)
        return await delete(namespace, **bounds)

    store.delete_closed_runs = slow
    await wait(rig, 600)
    steps = [step for step in store.steps if step]
    assert steps == [100, 50, *5 * [RETENTION_RUNS_MIN], 50, 75]
    assert left(rig) == []


async def test_a_change_counts_at_once_and_none_means_for_ever(rig):
    await keep(rig)
    await close(rig, "a")
    request = pb.UpdateNamespaceRequest(name=NAME)
    answer = await rig.engine.namespaces.update(request)
    assert not answer.namespace.HasField("retention")
    await wait(rig, HOUR + 120)
    assert left(rig) == ["a"]
    request.retention.seconds = 60
    await rig.engine.namespaces.update(request)
    await wait(rig, 120)
    assert left(rig) == []


@pytest.mark.parametrize("failure", [StoreUnavailable("the disk is gone"), ValueError("a defect")])
async def test_a_store_that_fails_is_asked_again(rig, store, failure):
    await keep(rig, 60)
    await close(rig, "a")
    store.fails_with = failure
    await wait(rig, 180)
    assert left(rig) == ["a"]
    store.fails_with = None
    await wait(rig, 180)
    assert left(rig) == []


async def test_who_watches_from_before_is_told(rig):
    await keep(rig, 60)
    before = (await first_of(rig)).cursor
    await close(rig, "a")
    after = (await first_of(rig)).cursor
    await first_of(rig, after=before)
    await wait(rig, 180)
    with pytest.raises(CursorExpired, match="keeps closed runs for a while"):
        await first_of(rig, after=before)
    await first_of(rig, after=after)


async def test_one_server_sweeps_at_a_time(database):
    first = database.store()
    await first.open()
    request = pb.CreateNamespaceRequest(name=NAME, retention={"seconds": 60})
    async with running(first, database.clock, ids=database.ids) as here:
        await here.engine.namespaces.create(request)
        for number in range(DELETE_RUNS_MAX + 1):
            await close(here, f"w{number}")
        second = database.store()
        await second.open()
        async with running(second, database.clock, ids=database.ids):
            asked = await first.claim_sweep(now_us=database.clock.now_us(), until_us=2**60)
            assert asked is not None
            await database.advance(150)
            assert len(left(here)) == DELETE_RUNS_MAX + 1
            await here.engine.namespaces.update(
                pb.UpdateNamespaceRequest(name=NAME, retention={"seconds": 60})
            )
            await database.advance(90)
            assert left(here) == []


async def test_who_waits_by_the_first_run_still_waits_when_it_is_gone(rig):
    """As a client does whose stream broke: it asks again what it had asked, which names run 1."""
    await keep(rig)
    workflows, ids = rig.engine.workflows, {"namespace": NAME, "workflow_id": "w"}
    start = workflow.StartWorkflowRequest(workflow_type="W", request_id="r", **ids)
    first = (await workflows.start(start)).run_id
    latest = first
    for _ in range(3):
        middle = latest
        await wait(rig, 2 * HOUR)
        latest = (await workflows.continue_as_new(workflow.ContinueAsNewRequest(**ids))).run_id
    await wait(rig, 600)
    assert [run.run_id for run in rig.store.stored_runs] == [middle, latest]

    by_first = workflow.GetWorkflowResultRequest(run_id=first, **ids)
    assert (await workflows.get_result(by_first)).run_id == latest
    stranger = workflow.GetWorkflowResultRequest(run_id=NOBODY, **ids)
    with pytest.raises(WorkflowNotFound, match=NOBODY):
        await workflows.get_result(stranger)

    told = []
    workflows.begin_result(by_first, Ticket(), told.append, told.append)
    workflows.begin_execute(start, Ticket(), told.append, told.append)
    workflows.begin_result(stranger, Ticket(), told.append, told.append)
    await settle()
    assert [type(each) for each in told] == [WorkflowNotFound]
    await workflows.terminate(workflow.TerminateWorkflowRequest(**ids))
    await settle()
    assert [(each.run_id, each.closed) for each in told[1:]] == [(latest, True)] * 2

    await wait(rig, 2 * HOUR)
    workflows.begin_result(by_first, Ticket(), told.append, told.append)
    await settle()
    assert isinstance(told[-1], WorkflowNotFound)
