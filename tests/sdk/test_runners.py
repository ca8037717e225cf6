"""What the two runners of a worker report, task by task, without a server."""

from __future__ import annotations

import asyncio
import threading

import pytest

from perdure import ActivityInterceptor, Codec, _activity_runner, activity, workflow
from perdure._activity_execution import Surroundings
from perdure._activity_runner import ActivityRunner
from perdure._workflow_runner import WorkflowRunner
from perdure.codec import Codecs
from perdure.converter import Converter
from perdure.errors import StaleTaskError
from perdure.v1.history_pb2 import History, HistoryEvent
from perdure.v1.task_pb2 import ActivityTask, WorkflowTask
from perdure.v1.worker_service_pb2 import CachedRun, GetWorkflowTaskHistoryResponse


class FakeLink:
    """Notes reports and evictions."""

    def __init__(self):
        self.reports = asyncio.Queue()
        self.evictions = []

    def report(self, report, run_id=""):
        self.reports.put_nowait(report)

    def evicted(self, run_id):
        self.evictions.append(run_id)


@workflow
async def sleeps() -> str:
    await asyncio.sleep(60)
    await asyncio.sleep(60)
    return "slept"


@pytest.fixture
async def link():
    return FakeLink()


@pytest.fixture
def pages():
    return []


@pytest.fixture
async def workflows(link, pages):
    async def fetch(request):
        page = pages.pop(0)
        if isinstance(page, Exception):
            raise page
        return page

    runner = WorkflowRunner(
        {"sleeps": sleeps},
        Converter(),
        fetch_history=fetch,
        read_history=fetch,
        cached_runs_max=2,
        time_limit_s=100,
    )
    runner.start(link)
    yield runner
    runner.stop()


def started(seq=1):
    event = HistoryEvent(seq=seq)
    event.workflow_started.workflow_type = "sleeps"
    return event


def timer_scheduled(seq, timer_seq):
    event = HistoryEvent(seq=seq)
    event.timer_scheduled.timer_seq = timer_seq
    event.timer_scheduled.duration.seconds = 60
    return event


def timer_fired(seq, timer_seq):
    event = HistoryEvent(seq=seq)
    event.timer_fired.timer_seq = timer_seq
    return event


def task(token, *events, run_id="r", previous_seq=0, **fields):
    return WorkflowTask(
        task_token=token,
        run_id=run_id,
        workflow_id=run_id,
        workflow_type=fields.pop("workflow_type", "sleeps"),
        previous_seq=previous_seq,
        history=History(events=events),
        **fields,
    )


async def test_a_cached_run_gets_new_events_only(workflows, link):
    workflows.take([task("1", started())])
    first = await link.reports.get()
    assert len(first.workflow_task_completed.commands) == 1
    assert workflows.cached_runs() == [CachedRun(run_id="r", last_seq=1)]

    workflows.take([task("2", timer_scheduled(2, 1), timer_fired(3, 1), previous_seq=1)])
    second = await link.reports.get()
    assert second.workflow_task_completed.commands[0].schedule_timer.seq == 2


@pytest.mark.parametrize("previous_seq", [1, 5])
async def test_a_run_that_is_not_at_hand_is_asked_for_whole(workflows, link, previous_seq):
    workflows.take([task("1", timer_fired(6, 1), previous_seq=previous_seq)])

    assert (await link.reports.get()).HasField("workflow_task_cache_miss")
    assert workflows.idle


async def test_a_cached_run_that_stands_elsewhere_is_dropped(workflows, link):
    workflows.take([task("1", started())])
    await link.reports.get()
    workflows.take([task("2", timer_fired(9, 1), previous_seq=8)])

    assert (await link.reports.get()).HasField("workflow_task_cache_miss")
    assert workflows.cached_runs() == []


async def test_a_whole_history_replaces_a_cached_run(workflows, link):
    workflows.take([task("1", started())])
    await link.reports.get()
    workflows.take([task("2", started(), timer_scheduled(2, 1), timer_fired(3, 1))])

    report = await link.reports.get()
    assert report.workflow_task_completed.commands[0].schedule_timer.seq == 2


async def test_pages_are_fetched_before_the_code_runs(workflows, link, pages):
    for events, token in (([timer_scheduled(2, 1)], "b"), ([timer_fired(3, 1)], "")):
        page = GetWorkflowTaskHistoryResponse(history=History(events=events), next_page_token=token)
        pages.append(page)
    workflows.take([task("1", started(), next_page_token="a")])

    report = await link.reports.get()
    assert report.workflow_task_completed.commands[0].schedule_timer.seq == 2


async def test_a_page_that_cannot_be_fetched_fails_the_task(workflows, link, pages):
    pages.append(StaleTaskError("gone", reason="STALE_TASK"))
    workflows.take([task("1", started(), next_page_token="a")])

    report = await link.reports.get()
    assert report.workflow_task_failed.failure.type == "StaleTaskError"
    assert workflows.idle


async def test_types_that_the_worker_does_not_know_are_failures(workflows, activities, link):
    workflows.take([task("1", started(), workflow_type="other")])
    activities.take([ActivityTask(task_token="a", name="other")])

    assert (await link.reports.get()).workflow_task_failed.failure.type == "UnknownWorkflow"
    assert (await link.reports.get()).activity_failed.failure.type == "UnknownActivity"


async def test_a_task_is_taken_once(workflows, link):
    workflows.take([task("1", started()), task("1", started())])
    await link.reports.get()
    workflows.take([task("2", timer_scheduled(2, 1), timer_fired(3, 1), previous_seq=1)])

    assert (await link.reports.get()).task_token == "2"
    assert link.reports.empty()


async def test_the_least_used_runs_leave_a_full_cache(workflows, link):
    for run_id in "abc":
        workflows.take([task(run_id, started(), run_id=run_id)])
        await link.reports.get()

    assert [cached.run_id for cached in workflows.cached_runs()] == ["b", "c"]
    assert link.evictions == ["a"]


async def test_a_lost_task_reports_nothing(workflows, link):
    workflows.take([task("1", started())])
    workflows.lose("1")
    workflows.take([task("2", started(), run_id="other")])

    assert (await link.reports.get()).task_token == "2"
    assert [cached.run_id for cached in workflows.cached_runs()] == ["other"]


@pytest.fixture
async def events():
    return {"started": asyncio.Event(), "go on": asyncio.Event(), "thread": threading.Event()}


class Passes(Codec):
    """Changes nothing, on the loop."""

    encoding = "test/passes"

    async def encode(self, data):
        await asyncio.sleep(0)

    async def decode(self, data):
        return data


BARE = {"converter": Converter()}
SURROUNDED = {**BARE, "codecs": Codecs([Passes()]), "interceptors": (ActivityInterceptor(),)}


@pytest.fixture(params=[BARE, SURROUNDED], ids=["bare", "surrounded"])
async def activities(link, events, request):
    @activity
    async def waits() -> str:
        events["started"].set()
        await events["go on"].wait()
        return "done"

    @activity
    async def beats() -> None:
        activity.heartbeat(1)
        events["started"].set()
        await events["go on"].wait()
        activity.heartbeat(2)
        activity.heartbeat()
        events["go on"].clear()
        await events["go on"].wait()

    @activity
    def ignores_everything() -> str:
        events["thread"].wait()
        return "done"

    runner = ActivityRunner(
        {known.name: known for known in (waits, beats, ignores_everything)},
        Surroundings(**request.param),
        user_loop=asyncio.get_running_loop(),
        threads_max=2,
    )
    runner.start(link)
    yield runner
    events["thread"].set()
    runner.stop()


async def test_an_activity_whose_lease_is_lost_reports_nothing(activities, link, events):
    activities.take([ActivityTask(task_token="1", name="waits")])
    await events["started"].wait()
    assert activities.held_tokens() == ["1"]
    activities.cancel("1", "LEASE_LOST")
    assert activities.held_tokens() == []
    activities.take([ActivityTask(task_token="2", name="waits")])
    events["go on"].set()

    assert (await link.reports.get()).task_token == "2"
    assert activities.idle


async def test_an_activity_cancelled_before_its_first_step_is_reported(activities, link):
    activities.take([ActivityTask(task_token="1", name="waits", cancel_requested=True)])

    report = await link.reports.get()
    assert report.activity_failed.failure.kind == 3  # FAILURE_KIND_CANCELLED


async def test_stopping_gives_async_work_back(activities, link, events):
    activities.take([ActivityTask(task_token="1", name="waits")])
    await events["started"].wait()
    activities.stop()

    report = await link.reports.get()
    assert report.activity_failed.failure.kind == 5  # FAILURE_KIND_WORKER_LOST


async def test_heartbeats_between_two_sendings_become_one(activities, link, events, monkeypatch):
    monkeypatch.setattr(_activity_runner, "_HEARTBEAT_INTERVAL_MAX_S", 0.01)
    activities.take([ActivityTask(task_token="1", name="beats")])
    first = await link.reports.get()
    assert first.activity_heartbeat.details.data == b"1"
    events["go on"].set()
    second = await link.reports.get()
    assert second.activity_heartbeat.details.data == b"2"
    events["go on"].set()
    assert (await link.reports.get()).HasField("activity_completed")
    assert link.reports.empty()


async def test_a_task_in_work_is_not_begun_again(activities, link, events):
    for _ in range(2):
        activities.take([ActivityTask(task_token="1", name="ignores_everything")])
    events["thread"].set()

    assert (await link.reports.get()).HasField("activity_completed")
    assert activities.idle
    assert link.reports.empty()


async def test_more_sync_activities_than_threads_wait_their_turn(activities, link, events):
    for number in range(5):
        activities.take([ActivityTask(task_token=f"{number}", name="ignores_everything")])
    events["thread"].set()

    tokens = sorted([(await link.reports.get()).task_token for _ in range(5)])
    assert tokens == ["0", "1", "2", "3", "4"]
    assert len(activities._threads._threads) == 2


async def test_one_that_is_stopped_before_it_has_a_thread_is_not_begun(activities, link, events):
    for number in range(3):
        activities.take([ActivityTask(task_token=f"{number}", name="ignores_everything")])
    activities.cancel("2", "CANCEL_REQUESTED")
    events["thread"].set()

    reports = [await link.reports.get() for _ in range(3)]
    ended = {report.task_token: report.WhichOneof("report") for report in reports}
    assert ended == {"0": COMPLETED, "1": COMPLETED, "2": "activity_failed"}


COMPLETED = "activity_completed"


def test_the_heartbeat_interval_is_a_third_of_its_timeout():
    short = ActivityTask()
    short.options.heartbeat_timeout.FromMilliseconds(1500)
    long = ActivityTask()
    long.options.heartbeat_timeout.FromSeconds(600)

    intervals = [_activity_runner._heartbeat_interval_s(each) for each in (short, long)]
    assert intervals == [0.5, 1.0]
    assert _activity_runner._heartbeat_interval_s(ActivityTask()) == 1.0
