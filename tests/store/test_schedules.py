"""Schedules: changed with the runs that they start, in one commit, and read in several orders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from perdure_server.core.changeset import Changeset, ScheduleChange
from perdure_server.core.errors import RequestRecorded, StaleVersion, WorkflowAlreadyExists
from perdure_server.core.model import RunStatus, ScheduleRow
from perdure_server.store.contract import Committed, LatestRun, Store
from tests.support.histories import START_US, a_request, a_run, alone, starting, stepping


def a_schedule(
    name: str, *, namespace: str = "main", serve_at_us: int | None = 1, waits: bool = False
) -> ScheduleRow:
    return ScheduleRow(namespace, name, 1, serve_at_us, waits, b"\x00" + name.encode())


async def insert(store: Store, *rows: ScheduleRow) -> list[ScheduleRow]:
    await store.commit([Changeset(schedules=[ScheduleChange(row, 0)]) for row in rows])
    return list(rows)


async def outcome(store: Store, *changes: ScheduleChange) -> type:
    (answer,) = await store.commit([Changeset(schedules=list(changes))])
    return type(answer)


async def found(store: Store, *names: str, namespace: str = "main") -> list[ScheduleRow]:
    rows = await store.load_schedules([(namespace, name) for name in names])
    return sorted(rows, key=lambda row: row.key)


async def test_a_schedule_is_inserted_once(store: Store) -> None:
    row = a_schedule("a")
    assert await outcome(store, ScheduleChange(row, 0)) is Committed
    other = replace(row, serve_at_us=9)
    assert await outcome(store, ScheduleChange(other, 0)) is StaleVersion
    assert await found(store, "a", "b") == [row]


async def test_a_schedule_survives_a_restart(disk: Callable[[], Store]) -> None:
    rows = [a_schedule("a"), a_schedule("ü", serve_at_us=None, waits=True)]
    first = disk()
    await first.open()
    await insert(first, *rows)
    await first.close()
    second = disk()
    await second.open()
    assert await found(second, "a", "ü") == rows
    await second.close()


async def test_a_change_needs_the_version_it_was_made_from(store: Store) -> None:
    (row,) = await insert(store, a_schedule("a"))
    second = replace(row, version=2, serve_at_us=None, waits=True, record=b"")
    assert await outcome(store, ScheduleChange(second, 7)) is StaleVersion
    assert await found(store, "a") == [row]
    assert await outcome(store, ScheduleChange(second, 1)) is Committed
    assert await found(store, "a") == [second]
    assert await outcome(store, ScheduleChange(replace(row, version=3), 1)) is StaleVersion
    missing = replace(a_schedule("b"), version=2)
    assert await outcome(store, ScheduleChange(missing, 1)) is StaleVersion


async def test_a_schedule_is_deleted_at_its_version(store: Store) -> None:
    (row,) = await insert(store, a_schedule("a"))
    assert await outcome(store, ScheduleChange(row, 2, deletes=True)) is StaleVersion
    assert await outcome(store, ScheduleChange(row, 1, deletes=True)) is Committed
    assert await found(store, "a") == []
    assert await outcome(store, ScheduleChange(row, 1, deletes=True)) is StaleVersion
    assert await outcome(store, ScheduleChange(row, 0)) is Committed


async def test_changes_of_one_call_see_one_another(store: Store) -> None:
    row = a_schedule("a")
    second = replace(row, version=2, serve_at_us=5)
    changes = [
        ScheduleChange(row, 0),
        ScheduleChange(row, 0),
        ScheduleChange(second, 1),
        ScheduleChange(second, 1),
        ScheduleChange(second, 2, deletes=True),
        ScheduleChange(row, 0),
    ]
    answers = await store.commit([Changeset(schedules=[change]) for change in changes])
    assert [type(answer) for answer in answers] == [
        Committed,
        StaleVersion,
        Committed,
        StaleVersion,
        Committed,
        Committed,
    ]
    assert await found(store, "a") == [row]


async def test_a_firing_and_its_run_are_one_commit(store: Store) -> None:
    (row,) = await insert(store, a_schedule("a"))
    fired = ScheduleChange(replace(row, version=2, serve_at_us=2), 1)
    run = a_run(1)
    first = Changeset([starting(run)], [a_request(run)], schedules=[fired])
    late = a_run(2)
    second = Changeset([starting(late)], schedules=[fired])
    answers = await store.commit([first, second])
    assert [type(answer) for answer in answers] == [Committed, StaleVersion]
    assert await store.load_run(late.run_id) is None
    assert [each.serve_at_us for each in await found(store, "a")] == [2]


async def test_a_schedule_stays_when_its_run_is_refused(store: Store) -> None:
    (row,) = await insert(store, a_schedule("a"))
    run = a_run(1)
    await store.commit([alone(starting(run), a_request(run))])
    fired = [ScheduleChange(replace(row, version=2), 1)]
    again = a_run(2, workflow_id=run.workflow_id)
    taken = Changeset([starting(again)], schedules=fired)
    repeated = Changeset([], [a_request(run)], schedules=fired)
    stale = Changeset([replace(stepping(run), expected_version=9)], schedules=fired)
    answers = await store.commit([taken, repeated, stale])
    assert [type(answer) for answer in answers] == [
        WorkflowAlreadyExists,
        RequestRecorded,
        StaleVersion,
    ]
    assert await found(store, "a") == [row]


async def test_the_first_to_be_served_come_first(store: Store) -> None:
    rows = await insert(
        store,
        a_schedule("c", serve_at_us=-5),
        a_schedule("b", serve_at_us=1, namespace="a"),
        a_schedule("a", serve_at_us=1),
        a_schedule("b", serve_at_us=1),
        a_schedule("0", serve_at_us=7),
    )
    await insert(store, a_schedule("paused", serve_at_us=None))
    assert await store.due_schedules(after=None, limit=9) == rows
    assert await store.due_schedules(after=None, limit=2) == rows[:2]
    for number, row in enumerate(rows, 1):
        assert await store.due_schedules(after=row, limit=2) == rows[number : number + 2]


async def test_those_that_wait_come_by_name(store: Store) -> None:
    rows = await insert(
        store,
        a_schedule("z", namespace="a", waits=True),
        a_schedule("a", waits=True, serve_at_us=None),
        a_schedule("b", waits=True),
    )
    await insert(store, a_schedule("c"))
    assert await store.waiting_schedules(after=None, limit=9) == rows
    assert await store.waiting_schedules(after=rows[0].key, limit=1) == rows[1:2]
    going_on = replace(rows[1], version=2, waits=False)
    await store.commit([Changeset(schedules=[ScheduleChange(going_on, 1)])])
    assert await store.waiting_schedules(after=None, limit=9) == [rows[0], rows[2]]


async def test_a_namespace_has_its_own_schedules(store: Store) -> None:
    rows = await insert(store, *[a_schedule(name) for name in ("a", "b", "c", "é")])
    (other,) = await insert(store, a_schedule("b", namespace="other"))
    assert await store.list_schedules("main", after="", limit=9) == rows
    assert await store.list_schedules("main", after="a", limit=2) == rows[1:3]
    assert await store.list_schedules("other", after="", limit=9) == [other]
    assert await store.count_schedules("main") == 4
    assert await store.count_schedules("nowhere") == 0
    assert await store.delete_schedules("main", limit=3) == 3
    assert await store.delete_schedules("main", limit=3) == 1
    assert await store.delete_schedules("main", limit=3) == 0
    assert await store.list_schedules("other", after="", limit=9) == [other]


async def test_the_latest_runs_of_workflows(store: Store) -> None:
    first, second = a_run(1, workflow_id="w"), a_run(2, workflow_id="w", generation=2)
    other = a_run(3, workflow_id="w", namespace="other")
    first = replace(first, status=RunStatus.FAILED, closed_at_us=START_US)
    await store.commit([alone(starting(run)) for run in (first, second, other)])
    keys = [(first.namespace, "w"), ("other", "w"), ("other", "x")]
    assert await store.latest_runs(keys) == {
        keys[0]: LatestRun(second.run_id, second.status),
        keys[1]: LatestRun(other.run_id, other.status),
    }
    assert await store.latest_runs([]) == {}
    assert await store.load_schedules([]) == []
