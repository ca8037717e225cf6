"""Stimuli of one run: in line, coalesced, each failing alone; races, and a failing store."""

from __future__ import annotations

import asyncio

import pytest

from perdure.v1 import workflow_service_pb2 as pb
from perdure_server.core.errors import (
    RequestIdReused,
    RunContended,
    ShuttingDown,
    StaleVersion,
    StoreUnavailable,
    WorkflowClosed,
    WorkflowNotFound,
)
from tests.engine.rig import Rig, complete, payload, running, settle, timer
from tests.support.clock import ManualClock
from tests.support.model_store import ModelStore


class Meddling(ModelStore):
    """A store that counts commits and answers the next ones with an error."""

    def __init__(self):
        super().__init__()
        self.commits = 0
        self.refuse_with = None

    async def commit(self, changesets):
        self.commits += 1
        if self.refuse_with is not None:
            return [self.refuse_with] * len(changesets)
        return await super().commit(changesets)


@pytest.fixture
async def store():
    store = Meddling()
    await store.open()
    return store


@pytest.fixture
async def rig(store):
    async with running(store) as rig:
        yield rig


def signal(name="go", **fields):
    return pb.SignalWorkflowRequest(workflow_id="w", signal_name=name, **fields)


async def send(rig, count, **fields):
    workflows = rig.engine.workflows
    return await asyncio.gather(
        *(workflows.signal(signal(f"s{n}", **fields)) for n in range(count)),
        return_exceptions=True,
    )


async def test_a_burst_of_signals_is_few_commits_and_keeps_its_order(rig, store):
    await rig.start()
    store.commits = 0
    answers = await send(rig, 500)
    assert [answer.event_seq for answer in answers] == list(range(2, 502))
    assert store.commits <= 3


async def test_one_bad_stimulus_fails_alone(rig):
    await rig.start()
    workflows = rig.engine.workflows
    bad = pb.SignalWorkflowRequest(workflow_id="w", run_id="other", signal_name="x")
    good, missing = await asyncio.gather(
        workflows.signal(signal()), workflows.signal(bad), return_exceptions=True
    )
    assert good.event_seq == 2
    assert isinstance(missing, WorkflowNotFound)


async def test_signals_behind_a_closing_are_told(rig):
    hand = await rig.worker()
    await rig.start()
    await hand.command(hand.workflow_tasks[0], complete())
    answers = await send(rig, 2)
    assert [type(answer) for answer in answers] == [WorkflowClosed, WorkflowClosed]


async def test_a_request_id_counts_once_also_within_one_burst(rig):
    await rig.start()
    workflows = rig.engine.workflows
    same = [workflows.signal(signal(request_id="r")) for _ in range(5)]
    answers = await asyncio.gather(*same)
    assert {answer.event_seq for answer in answers} == {2}
    assert (await workflows.signal(signal(request_id="r"))).event_seq == 2
    with pytest.raises(RequestIdReused):
        await workflows.signal(signal("other", request_id="r"))
    both = await send(rig, 2, request_id="of both")
    assert [type(answer) for answer in both] == [pb.SignalWorkflowResponse, RequestIdReused]
    assert (await rig.kinds()).count("signal_received") == 2


async def test_a_start_repeated_is_answered_with_the_same_run(rig):
    first = await rig.start(request_id="r")
    again = await rig.start(request_id="r")
    assert first == again


async def test_a_start_without_an_id_repeats_by_its_request_id(rig):
    first = await rig.start("", request_id="r")
    again = await rig.start("", request_id="r")
    assert first.workflow_id == again.workflow_id
    assert first.run_id == again.run_id


async def test_two_servers_on_one_store_lose_no_signal(rig, store):
    await rig.start()
    other = Rig(store, ManualClock())
    await other.engine.start()
    for _ in range(3):
        await send(rig, 2)
        await send(other, 2)
    assert (await rig.kinds()).count("signal_received") == 12
    await other.engine.stop()


async def test_a_run_that_changes_too_often_is_refused_after_a_bound(rig, store):
    await rig.start()
    store.refuse_with = StaleVersion()
    store.commits = 0
    with pytest.raises(RunContended):
        await rig.engine.workflows.signal(signal())
    assert store.commits == 5
    store.refuse_with = None
    assert (await rig.engine.workflows.signal(signal())).event_seq == 2


async def test_a_failing_store_is_told_and_recovers_without_a_restart(rig, store):
    hand = await rig.worker()
    await rig.start()
    await hand.command(hand.workflow_tasks[0], timer(seconds=2))
    store.refuse_with = StoreUnavailable("the disk is full")
    with pytest.raises(StoreUnavailable):
        await rig.engine.workflows.signal(signal())
    await rig.advance(3)
    assert "timer_fired" not in await rig.kinds()
    store.refuse_with = None
    await rig.advance(2)
    assert (await rig.kinds())[-1] == "timer_fired"


async def test_a_report_that_could_not_be_written_is_repeated_by_the_worker(rig, store):
    hand = await rig.worker()
    await rig.start()
    store.refuse_with = StoreUnavailable("the disk is full")
    refused = await hand.command(hand.workflow_tasks[0], complete())
    assert refused.reason == "STORE_UNAVAILABLE"
    store.refuse_with = None
    assert not (await hand.command(hand.workflow_tasks[0], complete())).reason
    assert (await rig.kinds())[-1] == "workflow_completed"


async def test_policies_on_a_taken_id(rig):
    first = await rig.start()
    use = await rig.start(conflict_policy="CONFLICT_POLICY_USE_EXISTING")
    assert (use.run_id, use.started) == (first.run_id, False)
    new = await rig.start(conflict_policy="CONFLICT_POLICY_TERMINATE_EXISTING")
    assert new.run_id != first.run_id
    old = await rig.engine.workflows.get(
        pb.GetWorkflowRequest(workflow_id="w", run_id=first.run_id)
    )
    assert old.workflow.failure.message == "terminated by a start of the same workflow id"


async def test_racing_starts_have_one_winner(rig):
    request = pb.StartWorkflowRequest(workflow_id="w", workflow_type="W")
    answers = await asyncio.gather(
        *(rig.engine.workflows.start(request) for _ in range(10)), return_exceptions=True
    )
    assert sum(not isinstance(answer, Exception) for answer in answers) == 1


async def test_a_result_arrives_whenever_it_was_asked_for(rig):
    hand = await rig.worker()
    await rig.start()
    request = pb.GetWorkflowResultRequest(workflow_id="w", wait={"seconds": 60})
    early = asyncio.create_task(rig.engine.workflows.get_result(request))
    await settle()
    assert not early.done()
    await hand.command(hand.workflow_tasks[0], complete("42"))
    late = await rig.engine.workflows.get_result(request)
    assert (await early).result.data == late.result.data == b"42"


async def test_a_server_that_leaves_ends_the_waits_for_results(rig):
    await rig.start()
    request = pb.GetWorkflowResultRequest(workflow_id="w", wait={"seconds": 60})
    waiting = asyncio.create_task(rig.engine.workflows.get_result(request))
    await settle()
    await rig.engine.drain()
    with pytest.raises(ShuttingDown):
        await waiting


async def test_a_page_of_large_runs_is_cut_to_one_message(rig):
    big = payload('"' + "x" * 1_500_000 + '"')
    for number in range(5):
        await rig.start(f"w{number}", input=big)
    pages, token = [], ""
    while True:
        page = await rig.engine.workflows.list(pb.ListWorkflowsRequest(page_token=token))
        assert page.ByteSize() < 4 * 1024 * 1024
        pages.append([run.workflow_id for run in page.workflows])
        if not (token := page.next_page_token):
            break
    assert pages == [["w4", "w3"], ["w2", "w1"], ["w0"]]
