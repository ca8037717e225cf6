"""Every RPC of ScheduleService: its answer, and each error it documents."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from perdure.v1 import namespace_service_pb2 as namespaces
from perdure.v1 import schedule_service_pb2 as pb
from perdure.v1 import workflow_service_pb2 as workflows
from perdure.v1.payload_pb2 import Payload
from perdure.v1.schedule_pb2 import OverlapPolicy, ScheduleSpec, StartOutcome
from perdure.v1.search_attributes_pb2 import SearchAttribute, SearchAttributes
from perdure.v1.watch_service_pb2 import WatchRequest
from tests.api.flows import refused

ALLOW_ALL = OverlapPolicy.OVERLAP_POLICY_ALLOW_ALL
BUFFER_ALL = OverlapPolicy.OVERLAP_POLICY_BUFFER_ALL
STARTED = StartOutcome.START_OUTCOME_STARTED
WAITS = StartOutcome.START_OUTCOME_WAITS
SKIPPED = StartOutcome.START_OUTCOME_SKIPPED
RAN_BEFORE = StartOutcome.START_OUTCOME_RAN_BEFORE
DAY = 86_400
LAST_YEAR = 1_735_689_600
"""2025-01-01 00:00 UTC."""


class Schedules:
    """Calls of ScheduleService."""

    def __init__(self, caller):
        self._call = caller.call

    async def create(self, name="s", *, paused=False, note="", request_id="", namespace="", **spec):
        spec = {"workflow_type": "report", "cron_expr": "0 0 * * *", **spec}
        if "interval" in spec:
            del spec["cron_expr"]
        request = pb.CreateScheduleRequest(
            namespace=namespace,
            name=name,
            spec=ScheduleSpec(**spec),
            paused=paused,
            note=note,
            request_id=request_id,
        )
        return (await self._call("ScheduleService/CreateSchedule", request)).schedule

    async def update(self, name="s", *, clear=(), request_id="", **spec):
        request = pb.UpdateScheduleRequest(
            name=name, spec=ScheduleSpec(**spec), clear=clear, request_id=request_id
        )
        return (await self._call("ScheduleService/UpdateSchedule", request)).schedule

    async def list(self, **fields):
        request = pb.ListSchedulesRequest(**fields)
        return await self._call("ScheduleService/ListSchedules", request)

    def __getattr__(self, verb):
        async def call(name="s", **fields):
            method = f"{verb.capitalize()}Schedule"
            request = getattr(pb, f"{method}Request")(name=name, **fields)
            answer = await self._call(f"ScheduleService/{method}", request)
            parts = answer.ListFields()
            return parts[0][1] if len(parts) == 1 else answer

        return call


@pytest.fixture
def schedules(caller):
    return Schedules(caller)


@pytest.fixture
def started(caller):
    """Returns the workflow ids of a namespace."""

    async def ids(namespace="main"):
        request = workflows.ListWorkflowsRequest(namespace=namespace, page_size=1000)
        answer = await caller.call("WorkflowService/ListWorkflows", request)
        return sorted(run.workflow_id for run in answer.workflows)

    return ids


@pytest.fixture
async def starts(caller):
    """Tells of workflows as they are started, from now on."""
    request = WatchRequest(kinds=["workflow_started"])
    async with aclosing(caller.stream("WatchService/Watch", request)) as events:
        await anext(events)
        yield events


def span(days):
    end = Timestamp(seconds=LAST_YEAR + (days - 1) * DAY)
    return {"start_at": Timestamp(seconds=LAST_YEAR), "end_at": end}


class TestCreate:
    async def test_is_shown_with_its_defaults_and_its_next_instant(self, schedules):
        created = await schedules.create(input=Payload(data=b"[1]"))
        assert created == await schedules.get()
        assert (created.namespace, created.name) == ("main", "s")
        assert (created.spec.timezone, created.spec.task_queue) == ("UTC", "default")
        assert created.next_run_at.seconds % DAY == 0
        assert 0 < created.next_run_at.seconds - created.created_at.seconds <= DAY
        assert not created.HasField("last_run_at")

    async def test_starts_workflows(self, schedules, started, starts):
        await schedules.create(interval=Duration(seconds=1), remaining_runs=1)
        await anext(starts)
        schedule = await schedules.get()
        assert schedule.spec.remaining_runs == 0
        assert not schedule.HasField("next_run_at")
        assert schedule.running == await started()

    async def test_repeated_is_refused(self, schedules):
        await schedules.create()
        async with refused("ALREADY_EXISTS", "SCHEDULE_ALREADY_EXISTS", "'s'"):
            await schedules.create()

    async def test_repeated_with_its_request_id_is_answered_the_same(self, schedules):
        first = await schedules.create(request_id="r")
        await schedules.pause()
        assert await schedules.create(request_id="r") == first
        async with refused("INVALID_ARGUMENT", "REQUEST_ID_REUSED"):
            await schedules.create(request_id="r", priority=1)

    @pytest.mark.parametrize(
        ("fields", "reason", "field"),
        [
            ({"name": ""}, "INVALID_REQUEST", "name"),
            ({"name": "x" * 201}, "LIMIT_EXCEEDED", "name"),
            ({"workflow_type": ""}, "INVALID_REQUEST", "workflow_type"),
            ({"cron_expr": "* * *"}, "INVALID_SCHEDULE", "cron_expr"),
            ({"cron_expr": "0 0 0 ? * 2"}, "INVALID_SCHEDULE", "cron_expr"),
            ({"timezone": "Mars/Olympus"}, "INVALID_SCHEDULE", "timezone"),
            ({"overlap_policy": 77}, "INVALID_SCHEDULE", "overlap_policy"),
            ({"interval": Duration(nanos=1)}, "INVALID_SCHEDULE", "interval"),
            ({"end_at": Timestamp(seconds=LAST_YEAR)}, "INVALID_SCHEDULE", "cron_expr"),
            ({"remaining_runs": 0}, "INVALID_REQUEST", "remaining_runs"),
            ({"input": Payload(data=b"x" * (2 * 1024 * 1024 + 1))}, "PAYLOAD_TOO_LARGE", "input"),
        ],
    )
    async def test_refuses_what_makes_no_sense(self, schedules, fields, reason, field):
        async with refused("INVALID_ARGUMENT", reason, field):
            await schedules.create(**fields)


class TestList:
    async def test_pages_by_name(self, schedules):
        for name in ("c", "a", "b"):
            await schedules.create(name)
        await schedules.create("other", namespace="other")
        first = await schedules.list(page_size=2)
        assert [each.name for each in first.schedules] == ["a", "b"]
        second = await schedules.list(page_size=2, page_token=first.next_page_token)
        assert [each.name for each in second.schedules] == ["c"]
        assert second.next_page_token == ""

    async def test_refuses_a_foreign_token(self, schedules):
        async with refused("INVALID_ARGUMENT", "INVALID_PAGE_TOKEN"):
            await schedules.list(page_token="namespaces:a")


@pytest.mark.parametrize(
    ("verb", "fields"),
    [
        ("get", {}),
        ("update", {}),
        ("delete", {}),
        ("pause", {}),
        ("resume", {}),
        ("trigger", {}),
        ("backfill", span(1)),
        ("preview", {}),
    ],
)
async def test_what_is_not_there_is_not_found(schedules, verb, fields):
    async with refused("NOT_FOUND", "SCHEDULE_NOT_FOUND", "'s'"):
        await getattr(schedules, verb)(**fields)


class TestUpdate:
    async def test_changes_what_is_given(self, schedules):
        created = await schedules.create(input=Payload(data=b"[1]"))
        changed = await schedules.update(cron_expr="0 * * * *", task_queue="q")
        assert changed == await schedules.get()
        assert (changed.spec.task_queue, changed.spec.input) == ("q", created.spec.input)
        assert changed.next_run_at.seconds - changed.updated_at.seconds <= 3600

    async def test_repeated_is_answered_the_same(self, schedules):
        await schedules.create()
        first = await schedules.update(priority=1, request_id="r")
        await schedules.update(priority=2)
        assert await schedules.update(priority=1, request_id="r") == first
        assert (await schedules.get()).spec.priority == 2

    async def test_refuses_what_makes_no_sense(self, schedules):
        created = await schedules.create()
        async with refused("INVALID_ARGUMENT", "INVALID_SCHEDULE", "timezone"):
            await schedules.update(timezone="Nowhere")
        async with refused("INVALID_ARGUMENT", "INVALID_SCHEDULE", "clear"):
            await schedules.update(clear=["nonsense"])
        assert await schedules.get() == created


class TestPause:
    async def test_stops_and_resume_goes_on(self, schedules):
        await schedules.create()
        paused = await schedules.pause(note="holidays")
        assert (paused.paused, paused.note) == (True, "holidays")
        assert not paused.HasField("next_run_at")
        resumed = await schedules.resume(note="back")
        assert (resumed.paused, resumed.note) == (False, "back")
        assert resumed.HasField("next_run_at")
        assert await schedules.get() == resumed

    @pytest.mark.parametrize("verb", ["pause", "resume"])
    async def test_repeated_is_answered_the_same(self, schedules, verb):
        await schedules.create(paused=verb == "resume")
        call = getattr(schedules, verb)
        first = await call(note="one", request_id="r")
        await schedules.update(priority=1)
        assert await call(note="one", request_id="r") == first
        assert (await schedules.get()).spec.priority == 1
        async with refused("INVALID_ARGUMENT", "REQUEST_ID_REUSED"):
            await call(note="other", request_id="r")
        await schedules.delete()
        assert await call(note="one", request_id="r") == first


class TestDelete:
    async def test_repeated_is_answered_the_same(self, schedules):
        await schedules.create()
        await schedules.delete(request_id="r")
        await schedules.delete(request_id="r")
        await schedules.create()
        await schedules.delete(request_id="r")
        assert (await schedules.get()).name == "s"
        async with refused("NOT_FOUND", "SCHEDULE_NOT_FOUND"):
            await schedules.delete(name="other", request_id="r")

    async def test_repeated_at_once_is_one(self, schedules):
        await schedules.create()
        await asyncio.gather(*[schedules.delete(request_id="r") for _ in range(5)])

    async def test_leaves_the_workflows(self, schedules, started):
        await schedules.create()
        run = await schedules.trigger()
        await schedules.delete()
        assert await started() == [run.workflow_id]
        async with refused("NOT_FOUND", "SCHEDULE_NOT_FOUND"):
            await schedules.delete()


class TestTrigger:
    async def test_starts_a_workflow_now(self, schedules, started, flows):
        await schedules.create(paused=True, task_queue="q", input=Payload(data=b"[1]"))
        run = await schedules.trigger()
        assert run.outcome == STARTED
        described = (await flows.get(run.workflow_id)).workflow
        assert described.run_id == run.run_id
        assert (described.workflow_type, described.task_queue) == ("report", "q")
        assert (described.input.data, described.schedule_name) == (b"[1]", "s")
        schedule = await schedules.get()
        assert (schedule.last_workflow_id, schedule.run_count) == (run.workflow_id, 1)

    async def test_the_workflow_is_found_by_what_the_schedule_says(self, schedules, flows):
        team = SearchAttributes(values={"team": SearchAttribute(keyword="a")})
        created = await schedules.create(
            search_attributes=team, memo=Payload(data=b"[2]"), summary="sales", details="all"
        )
        assert created.spec.search_attributes == team
        run = await schedules.trigger()
        request = workflows.ListWorkflowsRequest(filter="team = 'a'")
        (found,) = (await flows.call("WorkflowService/ListWorkflows", request)).workflows
        assert (found.workflow_id, found.memo.data) == (run.workflow_id, b"[2]")
        assert (found.summary, found.details) == ("sales", "all")
        changed = await schedules.update(clear=["search_attributes", "memo"])
        assert not changed.spec.HasField("search_attributes")

    async def test_follows_the_policy(self, schedules):
        await schedules.create()
        await schedules.trigger()
        assert (await schedules.trigger()).outcome == SKIPPED
        assert (await schedules.trigger(overlap_policy=BUFFER_ALL)).outcome == WAITS
        assert (await schedules.trigger(overlap_policy=ALLOW_ALL)).outcome == STARTED

    async def test_repeated_starts_one(self, schedules, started):
        await schedules.create()
        first = await schedules.trigger(request_id="r")
        assert await schedules.trigger(request_id="r") == first
        assert await started() == [first.workflow_id]
        async with refused("INVALID_ARGUMENT", "REQUEST_ID_REUSED"):
            await schedules.trigger(request_id="r", overlap_policy=ALLOW_ALL)


class TestBackfill:
    async def test_starts_each_due_time_once(self, schedules, started):
        await schedules.create(paused=True)
        runs = (await schedules.backfill(**span(3)))[:]
        assert [run.outcome for run in runs] == [STARTED] * 3
        assert await started() == [run.workflow_id for run in runs]
        assert runs[0].workflow_id == "s-2025-01-01T00:00:00Z"
        again = await schedules.backfill(**span(4))
        assert [run.outcome for run in again] == [RAN_BEFORE] * 3 + [STARTED]

    async def test_one_after_another(self, schedules, flows, starts):
        await schedules.create(paused=True)
        runs = await schedules.backfill(**span(3), overlap_policy=BUFFER_ALL)
        assert [run.outcome for run in runs] == [STARTED, WAITS, WAITS]
        for run in runs:
            assert (await anext(starts)).workflow_id == run.workflow_id
            await flows.terminate(run.workflow_id)

    async def test_has_a_bound(self, schedules):
        await schedules.create()
        async with refused("INVALID_ARGUMENT", "LIMIT_EXCEEDED", "1000"):
            await schedules.backfill(**span(2000))
        async with refused("INVALID_ARGUMENT", "INVALID_REQUEST", "end_at"):
            await schedules.backfill(start_at=Timestamp(seconds=1))


class TestPreview:
    async def test_tells_the_next_instants(self, schedules):
        created = await schedules.create()
        times = [each.seconds for each in await schedules.preview(count=3)]
        assert times == [created.next_run_at.seconds + day * DAY for day in range(3)]
        assert len(await schedules.preview()) == 10

    async def test_is_as_if_there_were_no_pause(self, schedules):
        await schedules.create(paused=True, timezone="Europe/Berlin", cron_expr="30 2 * * *")
        after = Timestamp(seconds=LAST_YEAR)
        (first,) = await schedules.preview(count=1, after=after)
        assert first.seconds == LAST_YEAR + 90 * 60


class TestNamespaces:
    async def test_a_namespace_counts_and_holds_its_schedules(self, schedules, caller):
        await schedules.create(namespace="shop")
        get = namespaces.GetNamespaceRequest(name="shop")
        stats = (await caller.call("NamespaceService/GetNamespace", get)).stats
        assert stats.schedules == 1
        delete = namespaces.DeleteNamespaceRequest(name="shop")
        async with refused("FAILED_PRECONDITION", "NAMESPACE_IN_USE", "1 schedule"):
            await caller.call("NamespaceService/DeleteNamespace", delete)
        delete.force = True
        await caller.call("NamespaceService/DeleteNamespace", delete)
        async with refused("NOT_FOUND", "SCHEDULE_NOT_FOUND"):
            await schedules.get(namespace="shop")


class TestWatch:
    async def test_a_start_is_told_as_what_a_schedule_triggered(self, schedules, caller, flows):
        request = WatchRequest(kinds=["schedule_triggered", "workflow_started"])
        async with aclosing(caller.stream("WatchService/Watch", request)) as events:
            request.after = (await anext(events)).cursor
            await schedules.create()
            run = await schedules.trigger()
            await flows.start("by-hand")
            told = [await anext(events) for _ in range(3)]
        assert [(each.kind, each.workflow_id) for each in told] == [
            ("schedule_triggered", run.workflow_id),
            ("workflow_started", run.workflow_id),
            ("workflow_started", "by-hand"),
        ]
        assert (told[0].run_id, told[0].event.seq) == (run.run_id, 0)
        async with aclosing(caller.stream("WatchService/Watch", request)) as events:
            await anext(events)
            assert [await anext(events) for _ in told] == told
