"""The session of a worker, message by message."""

from __future__ import annotations

import asyncio

import pytest

from perdure import _link, _stream
from perdure._link import Link
from perdure.errors import from_reason
from perdure.v1.payload_pb2 import Payload
from perdure.v1.task_pb2 import ActivityTask, WorkflowTask
from perdure.v1.worker_service_pb2 import (
    ActivityCancelNotice,
    ActivityCompletion,
    ActivityHeartbeat,
    CachedRun,
    KeptTask,
    ReportResult,
    TaskReport,
    WorkflowTaskCompletion,
    WorkHello,
    WorkResponse,
    WorkWelcome,
)
from tests.sdk.fakes import FakeTransport

AWAY = from_reason("", "the server is away", "UNAVAILABLE")


class Workflows:
    def __init__(self):
        self.taken, self.lost, self.dropped = [], [], []
        self.held, self.cached, self.said = [], [], []
        self.kept = self

    def take(self, tasks):
        self.taken += [task.task_token for task in tasks]

    def held_tokens(self):
        return self.held

    def cached_runs(self):
        return self.cached

    def drop_runs(self, run_ids):
        self.dropped += run_ids

    def lose(self, task_token):
        self.lost.append(task_token)

    def told(self, kept):
        self.said.append(("told", kept.task_token))

    def answered(self, run_id, report, kept):
        self.said.append((run_id, report.task_token, kept and kept.task_token))

    def refused(self, run_id):
        self.said.append(("refused", run_id))

    def reconnected(self):
        self.said.append("reconnected")


class Activities:
    def __init__(self):
        self.taken, self.cancelled, self.held = [], [], []

    def take(self, tasks):
        self.taken += [task.task_token for task in tasks]

    def held_tokens(self):
        return self.held

    def cancel(self, task_token, reason):
        self.cancelled.append((task_token, reason))


@pytest.fixture(autouse=True)
def no_delays(monkeypatch):
    monkeypatch.setattr(_stream, "_BACKOFF_FIRST_S", 0.0)
    monkeypatch.setattr(_stream, "_BACKOFF_MAX_S", 0.0)
    monkeypatch.setattr(_link, "_REPEAT_DELAY_S", 0.0)


@pytest.fixture
async def transport():
    return FakeTransport()


@pytest.fixture
def workflows():
    return Workflows()


@pytest.fixture
def activities():
    return Activities()


@pytest.fixture
async def link(transport, workflows, activities):
    hello = WorkHello(session_id="s", task_queue="shop")
    link = Link(transport, hello, workflows=workflows, activities=activities)
    link.open()
    yield link
    await link.close()


@pytest.fixture
async def stream(link, transport):
    stream = await transport.accept()
    assert (await stream.request()).hello.session_id == "s"
    stream.say(WorkResponse(welcome=WorkWelcome(server_id="one")))
    return stream


def completed(token="t"):
    return TaskReport(task_token=token, activity_completed=ActivityCompletion())


async def settled(condition):
    while not condition():  # noqa: ASYNC110 -- there is nothing to wait on
        await asyncio.sleep(0)


async def test_reports_are_numbered_and_kept_until_they_are_answered(link, stream):
    link.report(completed("a"))
    link.report(completed("b"))

    reports = (await stream.request_with("reports")).reports
    assert [(report.report_id, report.task_token) for report in reports] == [(1, "a"), (2, "b")]
    link.drain()
    drain = await stream.request_with("draining")
    stream.say(WorkResponse(pong=drain.ping, results=[ReportResult(report_id=1)]))
    assert not link.drained
    stream.say(WorkResponse(results=[ReportResult(report_id=2)]))
    await settled(lambda: link.drained)


async def test_a_new_stream_names_what_is_held_and_repeats_reports(
    link, stream, transport, workflows, activities
):
    link.report(completed("answered"))
    link.report(completed("unanswered"))
    await stream.request_with("reports")
    stream.say(WorkResponse(results=[ReportResult(report_id=1)]))
    workflows.held, activities.held = ["w"], ["a"]
    workflows.cached = [CachedRun(run_id="r", last_seq=7)]
    stream.end(AWAY)

    again = await transport.accept()
    hello = (await again.request()).hello
    assert sorted(hello.held_task_tokens) == ["a", "unanswered", "w"]
    assert list(hello.cached_runs) == workflows.cached
    reports = (await again.request_with("reports")).reports
    assert [(report.report_id, report.task_token) for report in reports] == [(2, "unanswered")]


async def test_lost_tasks_are_stopped(link, stream, workflows, activities):
    stream.say(WorkResponse(welcome=WorkWelcome(lost_task_tokens=["t"])))

    await settled(lambda: workflows.lost)
    assert workflows.lost == ["t"]
    assert activities.cancelled == [("t", "LEASE_LOST")]


async def test_batches_are_acknowledged(link, stream, workflows, activities):
    stream.say(
        WorkResponse(
            batch=3,
            workflow_tasks=[WorkflowTask(task_token="w")],
            activity_tasks=[ActivityTask(task_token="a")],
        )
    )

    assert (await stream.request_with("received_batch")).received_batch == 3
    assert (workflows.taken, activities.taken) == (["w"], ["a"])


async def test_notices_reach_the_runners(link, stream, workflows, activities):
    notice = ActivityCancelNotice(task_token="a", reason="WORKFLOW_CLOSED")
    stream.say(WorkResponse(cancels=[notice], evict_run_ids=["r"]))

    await settled(lambda: workflows.dropped)
    assert activities.cancelled == [("a", "WORKFLOW_CLOSED")]
    assert workflows.dropped == ["r"]


async def test_a_heartbeat_may_bring_the_wish_to_cancel(link, stream, activities):
    link.report(TaskReport(task_token="a", activity_heartbeat=ActivityHeartbeat()))
    stream.say(WorkResponse(results=[ReportResult(report_id=1, cancel_requested=True)]))

    await settled(lambda: activities.cancelled)
    assert activities.cancelled == [("a", "CANCEL_REQUESTED")]


async def test_a_stale_report_drops_the_cached_run(link, stream, workflows):
    report = TaskReport(task_token="w", workflow_task_completed=WorkflowTaskCompletion())
    link.report(report, "r")
    stream.say(WorkResponse(results=[ReportResult(report_id=1, reason="STALE_TASK")]))

    await settled(lambda: workflows.dropped)
    assert workflows.dropped == ["r"]


def kept(token="k"):
    completion = WorkflowTaskCompletion(keep_task=True)
    return TaskReport(task_token=token, workflow_task_completed=completion)


async def test_a_task_that_is_kept_goes_on_with_each_answer(link, stream, workflows):
    for token in ("a", "b"):
        link.report(kept(token), run_id="r")
    await stream.request_with("reports")
    goes_on = ReportResult(report_id=1, kept=KeptTask(task_token="a2", run_id="r"))
    pushed = KeptTask(task_token="c", run_id="r")
    stream.say(WorkResponse(results=[goes_on, ReportResult(report_id=2)], kept_tasks=[pushed]))
    await settled(lambda: len(workflows.said) == 4)
    assert workflows.said == ["reconnected", ("r", "a", "a2"), ("r", "b", None), ("told", "c")]


@pytest.mark.parametrize("reason", ["STALE_TASK", "INVALID_COMMAND"])
async def test_one_that_is_refused_has_ended(link, stream, workflows, reason):
    link.report(kept(), run_id="r")
    await stream.request_with("reports")
    stream.say(WorkResponse(results=[ReportResult(report_id=1, reason=reason)]))
    await settled(lambda: workflows.dropped)
    assert (workflows.said[-1], workflows.dropped) == (("refused", "r"), ["r"])


async def test_a_run_that_has_closed_is_dropped_while_its_task_is_kept(link, stream, workflows):
    notices = [
        ActivityCancelNotice(task_token="asked", reason="CANCEL_REQUESTED"),
        ActivityCancelNotice(task_token="closed", reason="WORKFLOW_CLOSED"),
    ]
    stream.say(WorkResponse(cancels=notices))
    await settled(lambda: workflows.lost)
    assert workflows.lost == ["closed"]


async def test_a_refused_report_becomes_a_failure(link, stream):
    workflow_task = TaskReport(task_token="w", workflow_task_completed=WorkflowTaskCompletion())
    link.report(workflow_task, "r")
    link.report(completed("a"))
    for number, reason in ((1, "INVALID_COMMAND"), (2, "PAYLOAD_TOO_LARGE")):
        result = ReportResult(report_id=number, reason=reason, message="no")
        stream.say(WorkResponse(results=[result]))

    failures = {}
    while len(failures) < 2:
        for report in (await stream.request_with("reports")).reports:
            if report.HasField("workflow_task_failed"):
                failures["w"] = report.workflow_task_failed.failure.type
            if report.HasField("activity_failed"):
                failures["a"] = report.activity_failed.failure.type
    assert failures == {"w": "INVALID_COMMAND", "a": "PAYLOAD_TOO_LARGE"}


async def test_a_report_the_store_could_not_take_is_sent_again(link, stream):
    link.report(completed())
    await stream.request_with("reports")
    stream.say(WorkResponse(results=[ReportResult(report_id=1, reason="STORE_BUSY")]))

    assert (await stream.request_with("reports")).reports[0].report_id == 1


async def test_a_report_too_large_for_any_message_becomes_a_failure(
    link, stream, monkeypatch, workflows
):
    monkeypatch.setattr(_link, "MESSAGE_BYTES_MAX", 10)
    report = TaskReport(task_token="w" * 20, workflow_task_completed=WorkflowTaskCompletion())
    link.report(report, "r")

    reported = (await stream.request_with("reports")).reports[0]
    assert reported.workflow_task_failed.failure.type == "LIMIT_EXCEEDED"
    assert workflows.dropped == ["r"]


async def test_a_server_that_stops_is_left_for_another(link, stream, transport):
    stream.say(WorkResponse(draining=True))

    assert (await (await transport.accept()).request()).hello.session_id == "s"


async def test_a_drain_is_told_to_the_next_server_too(link, stream, transport):
    link.drain()
    await stream.request_with("draining")
    stream.end(AWAY)

    again = await transport.accept()
    request = await again.request_with("draining")
    again.say(WorkResponse(pong=request.ping))
    await settled(lambda: link.drained)


async def test_evictions_travel(link, stream):
    link.evicted("r")
    link.report(completed())

    assert list((await stream.request_with("evicted_run_ids")).evicted_run_ids) == ["r"]


async def test_an_outage_is_logged_once(link, stream, transport, caplog):
    stream.end(AWAY)
    for _ in range(3):
        (await transport.accept()).end(AWAY)
    (await transport.accept()).say(WorkResponse(welcome=WorkWelcome()))

    assert caplog.text.count("the worker lost its server") == 1


async def test_heartbeats_of_an_outage_become_one(transport, link):
    stream = await transport.accept()
    await stream.request()
    stream.say(WorkResponse(welcome=WorkWelcome()))
    for details in (b"1", b"2", None):
        payload = None if details is None else Payload(data=details)
        beat = ActivityHeartbeat(details=payload)
        link.report(TaskReport(task_token="1", activity_heartbeat=beat))
    request = await stream.request_with("reports")
    assert [report.activity_heartbeat.details.data for report in request.reports] == [b"2"]
    report_id = request.reports[0].report_id
    stream.say(WorkResponse(results=[ReportResult(report_id=report_id)], pong=1))
    while not link.settled:  # noqa: ASYNC110
        await asyncio.sleep(0)
    assert link._heartbeats == {}


@pytest.mark.parametrize("code", ["UNAUTHENTICATED", "PERMISSION_DENIED"])
async def test_a_server_that_refuses_the_worker_is_not_asked_again(
    transport, workflows, activities, code, caplog
):
    hello = WorkHello(session_id="s", task_queue="shop")
    link = Link(transport, hello, workflows=workflows, activities=activities)
    refusal = asyncio.get_running_loop().create_future()
    link.open(refusal.set_result)
    (await transport.accept()).end(from_reason("", "no key", code))

    assert (await refusal).code == code
    assert link.refused is await refusal
    assert "no key" in caplog.text
    await link.close()
    assert transport.streams.empty()
