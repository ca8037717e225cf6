"""Schedules in the engine: the exact instants, what waits for what, restarts and other servers."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from perdure.v1 import schedule_service_pb2 as pb
from perdure.v1 import workflow_service_pb2
from perdure.v1.schedule_pb2 import OverlapPolicy, ScheduleSpec, StartOutcome
from perdure_server.core.errors import InvalidSchedule, ScheduleNotFound, StoreUnavailable
from perdure_server.core.frames import parse_frame
from perdure_server.core.limits import SCHEDULES_AT_ONCE
from perdure_server.core.model import RunStatus
from perdure_server.store.contract import ListFilter
from tests.engine.rig import SECOND_US, complete, running, settle, wait
from tests.support.clock import ManualClock
from tests.support.model_store import ModelStore

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
SKIP = OverlapPolicy.OVERLAP_POLICY_SKIP
BUFFER_ALL = OverlapPolicy.OVERLAP_POLICY_BUFFER_ALL
CANCEL_OTHER = OverlapPolicy.OVERLAP_POLICY_CANCEL_OTHER
TERMINATE_OTHER = OverlapPolicy.OVERLAP_POLICY_TERMINATE_OTHER
ALLOW_ALL = OverlapPolicy.OVERLAP_POLICY_ALLOW_ALL


def clock_at(moment: datetime = BEGIN) -> ManualClock:
    clock = ManualClock()
    clock.jump(moment.timestamp() - clock.now_us() / SECOND_US)
    return clock


@asynccontextmanager
async def scheduling(moment: datetime = BEGIN, **options):
    async with running(clock=clock_at(moment), **options) as rig:
        yield rig


async def create(rig, name="s", *, paused=False, **spec):
    spec = {"workflow_type": "W", "cron_expr": "* * * * *", **spec}
    if "interval" in spec:
        del spec["cron_expr"]
    request = pb.CreateScheduleRequest(name=name, spec=ScheduleSpec(**spec), paused=paused)
    created = (await rig.engine.schedules.create(request)).schedule
    await settle()
    return created


async def get(rig, name="s"):
    return (await rig.engine.schedules.get(pb.GetScheduleRequest(name=name))).schedule


async def trigger(rig, name="s", **fields):
    request = pb.TriggerScheduleRequest(name=name, **fields)
    run = (await rig.engine.schedules.trigger(request)).run
    await settle()
    return run


async def started(rig) -> list[str]:
    """Returns the ids of all workflows in the order of their runs."""
    runs = await rig.store.list_runs(ListFilter("main"), after=None, limit=1000)
    return [each.run.workflow_id for each in reversed(runs)]


async def times(rig) -> list[str]:
    """Returns when workflows were started, as `01-31 23:59`."""
    runs = await rig.store.list_runs(ListFilter("main"), after=None, limit=1000)
    at = [datetime.fromtimestamp(each.run.created_at_us / SECOND_US, UTC) for each in runs]
    return [each.strftime("%m-%d %H:%M") for each in reversed(at)]


async def statuses(rig) -> list[RunStatus]:
    runs = await rig.store.list_runs(ListFilter("main"), after=None, limit=1000)
    return [each.run.status for each in reversed(runs)]


async def end(rig, workflow_id):
    request = workflow_service_pb2.TerminateWorkflowRequest(workflow_id=workflow_id)
    await rig.engine.workflows.terminate(request)
    await settle()


async def leap(rig, until: datetime):
    """Moves time from alarm to alarm, without the seconds between them."""
    end_us = int(until.timestamp()) * SECOND_US
    while (next_us := rig.engine.next_alarm_us()) is not None and next_us <= end_us:
        rig.clock.jump((next_us - rig.clock.now_us()) / SECOND_US)
        rig.clock.advance(0)
        await settle()


async def test_the_first_start_is_at_the_first_instant_and_not_at_once():
    async with scheduling() as rig:
        created = await create(rig, overlap_policy=ALLOW_ALL)
        await rig.advance(59.999)
        assert await started(rig) == []
        await rig.advance(0.001)
        assert await started(rig) == ["s-2026-01-01T00:01:00Z"]
        await rig.advance(120)
        assert await times(rig) == ["01-01 00:01", "01-01 00:02", "01-01 00:03"]
        schedule = await get(rig)
        assert schedule.last_workflow_id == "s-2026-01-01T00:03:00Z"
        assert schedule.run_count == 3
        assert schedule.next_run_at.ToSeconds() == created.next_run_at.ToSeconds() + 180


async def test_a_started_run_says_for_which_instant():
    async with scheduling() as rig:
        await create(rig)
        await rig.advance(60)
        run_id = await rig.store.find_run("main", "s-2026-01-01T00:01:00Z", None)
        (first,) = await rig.store.load_history(run_id, after_seq=0, limit=1, max_bytes=9**9)
        told = parse_frame(first.frame).workflow_started
        assert (told.schedule_name, told.schedule_due_at.ToJsonString()) == (
            "s",
            "2026-01-01T00:01:00Z",
        )


@pytest.mark.parametrize(
    ("zone", "expr", "spring", "autumn"),
    [
        (
            "Europe/Berlin",
            "30 2 * * *",
            ["03-28 01:30", "03-29 01:00", "03-30 00:30"],
            ["10-24 00:30", "10-25 00:30", "10-26 01:30"],
        ),
        (
            "America/New_York",
            "30 1,2 * * *",
            ["03-07 06:30", "03-07 07:30", "03-08 06:30", "03-08 07:00", "03-09 05:30"],
            ["10-31 05:30", "10-31 06:30", "11-01 05:30", "11-01 07:30", "11-02 06:30"],
        ),
    ],
)
async def test_a_year_with_both_changes_of_the_clocks(zone, expr, spring, autumn):
    async with scheduling() as rig:
        await create(rig, cron_expr=expr, timezone=zone, overlap_policy=ALLOW_ALL)
        await leap(rig, datetime(2027, 1, 1, tzinfo=UTC))
        found = await times(rig)
        assert len(found) == 365 * len(expr.split()[1].split(","))
        for expected in (spring, autumn):
            first = found.index(expected[0])
            assert found[first : first + len(expected)] == expected


async def test_one_start_follows_another_when_it_has_ended():
    async with scheduling() as rig:
        await create(rig, overlap_policy=BUFFER_ALL)
        await rig.advance(180)
        assert await started(rig) == ["s-2026-01-01T00:01:00Z"]
        assert len((await get(rig)).waiting) == 2
        await end(rig, "s-2026-01-01T00:01:00Z")
        assert (await started(rig))[1:] == ["s-2026-01-01T00:02:00Z"]
        await end(rig, "s-2026-01-01T00:02:00Z")
        assert (await started(rig))[2:] == ["s-2026-01-01T00:03:00Z"]
        assert list((await get(rig)).waiting) == []


async def test_a_workflow_that_is_tried_again_is_still_open():
    async with scheduling() as rig:
        await create(rig, overlap_policy=BUFFER_ALL, retry_policy={"max_attempts": 2})
        await rig.advance(120)
        hand = await rig.worker()
        for _ in range(2):
            failure = {"failure": {"message": "no", "type": "E"}}
            await hand.command(hand.workflow_tasks[-1], {"fail_workflow": failure})
            await rig.advance(1)
        assert [each[-6:] for each in await started(rig)] == ["01:00Z", "01:00Z", "02:00Z"]


@pytest.mark.parametrize(
    ("policy", "status"),
    [(CANCEL_OTHER, RunStatus.CANCELLED), (TERMINATE_OTHER, RunStatus.TERMINATED)],
)
async def test_the_newest_start_ends_the_others(policy, status):
    async with scheduling() as rig:
        await create(rig, overlap_policy=policy)
        await rig.advance(120)
        assert await statuses(rig) == [status, RunStatus.PENDING]
        assert (await get(rig)).running == ["s-2026-01-01T00:02:00Z"]


async def test_a_workflow_may_take_its_time_to_end():
    async with scheduling() as rig:
        await create(rig, overlap_policy=CANCEL_OTHER)
        await rig.advance(60)
        hand = await rig.worker()
        await hand.command(hand.workflow_tasks[-1], wait())
        await rig.advance(60)
        assert len(await started(rig)) == 1
        (waiting,) = (await get(rig)).waiting
        assert waiting.due_at.ToJsonString() == "2026-01-01T00:02:00Z"
        hand = await rig.worker("s2")
        await hand.command(hand.workflow_tasks[-1], {"cancel_workflow": {}})
        assert len(await started(rig)) == 2


async def test_a_failure_pauses_at_once():
    async with scheduling() as rig:
        await create(rig, pause_on_failure=True)
        await rig.advance(60)
        hand = await rig.worker()
        failure = {"failure": {"message": "no", "type": "E"}}
        await hand.command(hand.workflow_tasks[-1], {"fail_workflow": failure})
        schedule = await get(rig)
        assert schedule.paused
        assert "s-2026-01-01T00:01:00Z" in schedule.note
        assert not schedule.HasField("next_run_at")
        await rig.advance(120)
        assert len(await started(rig)) == 1


async def test_a_success_pauses_nothing():
    async with scheduling() as rig:
        await create(rig, pause_on_failure=True)
        await rig.advance(60)
        hand = await rig.worker()
        await hand.command(hand.workflow_tasks[-1], complete())
        await rig.advance(60)
        assert len(await started(rig)) == 2


async def test_pause_resume_trigger():
    async with scheduling() as rig:
        await create(rig, overlap_policy=ALLOW_ALL)
        await rig.engine.schedules.pause(pb.PauseScheduleRequest(name="s", note="holidays"))
        await rig.advance(300)
        assert await started(rig) == []
        run = await trigger(rig)
        assert (run.outcome, run.workflow_id) == (
            StartOutcome.START_OUTCOME_STARTED,
            "s-2026-01-01T00:05:00Z",
        )
        assert run.run_id == await rig.store.find_run("main", run.workflow_id, None)
        await rig.engine.schedules.resume(pb.ResumeScheduleRequest(name="s"))
        await rig.advance(60)
        assert (await started(rig))[1:] == ["s-2026-01-01T00:06:00Z"]


async def test_two_triggers_at_one_instant_are_two_workflows():
    async with scheduling() as rig:
        await create(rig, overlap_policy=ALLOW_ALL)
        first, second = await trigger(rig), await trigger(rig)
        assert first.workflow_id != second.workflow_id
        assert await started(rig) == [first.workflow_id, second.workflow_id]


async def test_a_backfill_of_many_is_started_in_several_commits_by_itself():
    async with scheduling() as rig:
        await create(rig)
        span = {"start_at": Timestamp(seconds=0), "end_at": Timestamp(seconds=60 * 249)}
        request = pb.BackfillScheduleRequest(name="s", **span)
        runs = (await rig.engine.schedules.backfill(request)).runs
        assert len(runs) == 250
        assert sum(bool(run.run_id) for run in runs) == 100
        for _ in range(5):
            await settle()
        assert await started(rig) == [run.workflow_id for run in runs]
        again = (await rig.engine.schedules.backfill(request)).runs
        assert {run.outcome for run in again} == {StartOutcome.START_OUTCOME_RAN_BEFORE}
        assert len(await started(rig)) == 250


async def test_a_deleted_schedule_starts_nothing_more():
    async with scheduling() as rig:
        await create(rig)
        await rig.engine.schedules.delete(pb.DeleteScheduleRequest(name="s"))
        await rig.advance(180)
        assert await started(rig) == []


async def test_a_schedule_created_again_starts_no_due_time_twice():
    async with scheduling() as rig:
        await create(rig, overlap_policy=ALLOW_ALL)
        await rig.advance(60)
        await rig.engine.schedules.delete(pb.DeleteScheduleRequest(name="s"))
        rig.clock.jump(-30)
        await create(rig, overlap_policy=ALLOW_ALL)
        await rig.advance(90)
        assert [each[-6:] for each in await started(rig)] == ["01:00Z", "02:00Z"]


async def test_a_workflow_that_has_the_id_already_stands_for_the_start():
    async with scheduling() as rig:
        await create(rig, overlap_policy=ALLOW_ALL)
        await rig.start("s-2026-01-01T00:01:00Z")
        await rig.advance(120)
        assert [each[-6:] for each in await started(rig)] == ["01:00Z", "02:00Z"]
        assert (await get(rig)).run_count == 1


async def test_what_was_missed_is_served_after_a_restart():
    store, clock = ModelStore(), clock_at()
    await store.open()
    async with running(store, clock) as rig:
        await create(rig, overlap_policy=ALLOW_ALL)
        await create(rig, "late", overlap_policy=ALLOW_ALL, catchup_window=Duration(seconds=10))
    clock.advance(150 * SECOND_US)
    async with running(store, clock) as rig:
        await rig.advance(30)
        assert sorted(await started(rig)) == [
            "late-2026-01-01T00:03:00Z",
            "s-2026-01-01T00:01:00Z",
            "s-2026-01-01T00:02:00Z",
            "s-2026-01-01T00:03:00Z",
        ]


async def test_what_waits_goes_on_after_a_restart():
    store, clock = ModelStore(), clock_at()
    await store.open()
    async with running(store, clock) as rig:
        await create(rig, overlap_policy=CANCEL_OTHER, remaining_runs=2)
        await rig.advance(60)
        hand = await rig.worker()
        await hand.command(hand.workflow_tasks[-1], wait())
        await rig.advance(60)
    async with running(store, clock) as rig:
        await settle()
        await end(rig, "s-2026-01-01T00:01:00Z")
        assert [each[-6:] for each in await started(rig)] == ["01:00Z", "02:00Z"]


async def test_what_ended_while_the_server_was_away_is_seen():
    store, clock = ModelStore(), clock_at()
    await store.open()
    async with running(store, clock) as rig:
        await create(rig, overlap_policy=BUFFER_ALL, remaining_runs=2)
        await rig.advance(120)
        rig.engine._scheduler.closed = lambda _run: None
        await end(rig, "s-2026-01-01T00:01:00Z")
        assert len(await started(rig)) == 1
    async with running(store, clock) as rig:
        await settle()
        assert len(await started(rig)) == 2


async def test_a_store_that_refuses_is_asked_again():
    async with scheduling() as rig:
        await create(rig, overlap_policy=ALLOW_ALL)
        load, commit = rig.store.load_schedules, rig.store.commit

        async def refuse(_given):
            raise StoreUnavailable("away")

        async def refuse_all(changesets):
            return [StoreUnavailable("away")] * len(changesets)

        rig.store.load_schedules = refuse
        await rig.advance(62)
        rig.store.load_schedules, rig.store.commit = load, refuse_all
        await rig.advance(2)
        assert await started(rig) == []
        rig.store.commit = commit
        await rig.advance(2)
        assert await started(rig) == ["s-2026-01-01T00:01:00Z"]


async def test_a_defect_is_no_reason_to_serve_no_more():
    async with scheduling() as rig:
        await create(rig, overlap_policy=ALLOW_ALL)
        load = rig.store.load_schedules

        async def fail(_given):
            raise ValueError("a defect")

        rig.store.load_schedules = fail
        await rig.advance(61)
        rig.store.load_schedules = load
        await rig.advance(61)
        assert "s-2026-01-01T00:01:00Z" in await started(rig)


async def test_more_schedules_than_are_held_in_memory(monkeypatch):
    monkeypatch.setattr("perdure_server.core.limits.SCHEDULE_WINDOW", 2)
    store, clock = ModelStore(), clock_at()
    await store.open()
    async with running(store, clock) as rig:
        for minute in range(1, 7):
            await create(rig, f"s{minute}", cron_expr=f"{minute} * * * *", overlap_policy=ALLOW_ALL)
    async with running(store, clock) as rig:
        await rig.advance(400)
        assert [each[:2] for each in await started(rig)] == [f"s{minute}" for minute in range(1, 7)]


async def test_many_due_at_once_are_all_served():
    async with scheduling() as rig:
        for number in range(250):
            await create(rig, f"s{number}", cron_expr="0 * * * *")
        rig.clock.advance(3600 * SECOND_US)
        for _ in range(10):
            await settle()
        assert len(set(await started(rig))) == 250


async def test_two_groups_are_served_at_once_and_no_schedule_in_both():
    async with scheduling() as rig:
        for number in range(250):
            await create(rig, f"s-{number:03}")
        load, commit = rig.store.load_schedules, rig.store.commit
        under_way, most = [], []

        async def loaded(keys):
            under_way.extend(keys)
            most.append(len(under_way))
            assert len(set(under_way)) == len(under_way)
            return await load(keys)

        async def committed(changesets):
            outcomes = await commit(changesets)
            await asyncio.sleep(0)
            for changeset in changesets:
                for change in changeset.schedules:
                    under_way.remove(change.row.key)
            return outcomes

        rig.store.load_schedules, rig.store.commit = loaded, committed
        await rig.advance(60)
        assert len(await started(rig)) == 250
        assert max(most) == 2 * SCHEDULES_AT_ONCE


async def test_namespaces_keep_schedules_apart():
    async with scheduling() as rig:
        for namespace in ("main", "other"):
            spec = ScheduleSpec(workflow_type="W", cron_expr="* * * * *")
            await rig.engine.schedules.create(
                pb.CreateScheduleRequest(namespace=namespace, name="s", spec=spec)
            )
        await rig.advance(60)
        for namespace in ("main", "other"):
            found = await rig.store.list_runs(ListFilter(namespace), after=None, limit=9)
            assert [each.run.workflow_id for each in found] == ["s-2026-01-01T00:01:00Z"]


async def test_a_request_is_answered_again_when_it_would_be_refused_by_now():
    async with scheduling() as rig:
        end = Timestamp()
        end.FromDatetime(datetime(2026, 1, 1, 0, 2, tzinfo=UTC))
        creation = pb.CreateScheduleRequest(
            name="s",
            spec=ScheduleSpec(workflow_type="W", cron_expr="* * * * *", end_at=end),
            request_id="r",
        )
        created = await rig.engine.schedules.create(creation)
        run = await trigger(rig, request_id="r")
        change = pb.UpdateScheduleRequest(name="s", spec={"priority": 1}, request_id="r")
        changed = await rig.engine.schedules.update(change)
        await rig.advance(180)
        assert await rig.engine.schedules.create(creation) == created
        with pytest.raises(InvalidSchedule):
            await rig.engine.schedules.create(
                pb.CreateScheduleRequest(name="t", spec=creation.spec)
            )
        await rig.engine.schedules.delete(pb.DeleteScheduleRequest(name="s"))
        assert await trigger(rig, request_id="r") == run
        assert await rig.engine.schedules.update(change) == changed
        with pytest.raises(ScheduleNotFound):
            await trigger(rig, request_id="another")
