"""Schedules from Python: a real server, and virtual time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from perdure import Worker, workflow
from perdure.errors import (
    InvalidScheduleError,
    ScheduleAlreadyExistsError,
    ScheduleNotFoundError,
)

BEGIN = datetime(2025, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


@workflow(task_queue="reports")
async def report(kind: str) -> str:
    return f"the {kind} report"


async def test_a_schedule_is_created_described_and_deleted(client):
    handle = await client.create_schedule(
        "nightly",
        report,
        "sales",
        cron="30 2 * * *",
        timezone="Europe/Berlin",
        overlap="buffer_one",
        jitter=timedelta(seconds=5),
        end_at=datetime(2090, 1, 1, tzinfo=UTC),
        remaining_runs=9,
        note="asked for by Ada",
        search_attributes={"team": "sales"},
        memo=["Ada"],
        summary="Sales",
        details="of the day before",
    )
    described = await handle.describe()
    assert (described.name, described.workflow_type) == ("nightly", "report")
    assert (described.cron, described.timezone, described.every) == (
        "30 2 * * *",
        "Europe/Berlin",
        None,
    )
    assert (described.overlap, described.paused, described.note) == (
        "buffer_one",
        False,
        "asked for by Ada",
    )
    spec = described.message.spec
    assert spec.task_queue == "reports"
    assert spec.search_attributes.values["team"].keyword == "sales"
    assert (spec.memo.data, spec.summary, spec.details) == (
        b'["Ada"]',
        "Sales",
        "of the day before",
    )
    assert described.next_run_at > described.created_at
    assert (described.last_run_at, described.run_count, described.remaining_runs) == (None, 0, 9)
    assert [each.name async for each in client.list_schedules()] == ["nightly"]
    said = repr(described)
    assert said.startswith("ScheduleDescription(name='nightly', workflow_type='report', cron='30 2")
    assert "spec" not in said
    assert "\n" not in said
    await handle.delete()
    with pytest.raises(ScheduleNotFoundError):
        await handle.describe()


async def test_a_triggered_workflow_has_the_input_and_ends(client):
    async with Worker(client, "reports", [report]):
        handle = await client.create_schedule("nightly", report, "sales", every=DAY, paused=True)
        run = await handle.trigger()
        assert run.outcome == "STARTED"
        result = await client.get_handle(run.workflow_id, run_id=run.run_id).result()
        assert result == "the sales report"
        assert (await handle.describe()).last_workflow_id == run.workflow_id


async def test_a_schedule_is_changed_in_place(client):
    handle = await client.create_schedule("s", "report", every=DAY, remaining_runs=3)
    changed = await handle.update(cron="0 0 * * *", clear=["remaining_runs"])
    assert (changed.cron, changed.every, changed.remaining_runs) == ("0 0 * * *", None, None)
    paused = await handle.pause("holidays")
    assert (paused.paused, paused.note, paused.next_run_at) == (True, "holidays", None)
    assert (await handle.resume()).next_run_at is not None


async def test_instants_of_the_past_and_of_the_future(client):
    handle = await client.create_schedule("s", "report", every=DAY, paused=True)
    runs = await handle.backfill(BEGIN, BEGIN + DAY)
    assert [run.due_at for run in runs] == [BEGIN, BEGIN + DAY]
    assert {run.outcome for run in runs} == {"STARTED"}
    again = await handle.backfill(BEGIN, BEGIN + DAY, overlap="skip")
    assert {run.outcome for run in again} == {"RAN_BEFORE"}
    assert await handle.preview(2, after=BEGIN) == [BEGIN + DAY, BEGIN + 2 * DAY]
    assert len(await handle.preview()) == 10


async def test_what_makes_no_sense_is_refused(client):
    with pytest.raises(InvalidScheduleError, match="cron_expr"):
        await client.create_schedule("s", "report", cron="whenever")
    await client.create_schedule("s", "report", every=DAY)
    with pytest.raises(ScheduleAlreadyExistsError):
        await client.create_schedule("s", "report", every=DAY)
    with pytest.raises(TypeError, match="sometimes"):
        await client.create_schedule("t", "report", sometimes=True)
    with pytest.raises(ValueError, match=r"overlap is one of skip, .*, allow_all; got 'skp'"):
        await client.create_schedule("t", "report", every=DAY, overlap="skp")
    with pytest.raises(TypeError, match="one value"):
        await client.create_schedule("t", "report", 1, 2, every=DAY)
    with pytest.raises(ValueError, match="time zone"):
        await client.create_schedule("t", "report", every=DAY, end_at=datetime(2090, 1, 1))  # noqa: DTZ001
