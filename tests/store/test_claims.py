"""Claims: who gets which task, in which order, under which lease."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from perdure_server.core.model import Lane, Task, TaskKind
from perdure_server.store.contract import ClaimRequest, LaneDepth, Store
from tests.support.histories import START_US, a_run, a_task, alone, change_of, starting, stepping

LANE = Lane("default", "shop", TaskKind.WORKFLOW, "checkout")
NOW_US = START_US + 1_000


def a_claim(
    lane: Lane = LANE, *, limit: int = 10, poll_lease_us: int | None = None
) -> ClaimRequest:
    return ClaimRequest(lane, limit, "session-1", "worker-1", poll_lease_us)


async def commit_tasks(store: Store, *columns: dict[str, object]) -> list[Task]:
    """Commits one run per mapping, each with one workflow task of these columns."""
    tasks = []
    for number, values in enumerate(columns, 1):
        run = a_run(number)
        tasks.append(a_task(run, **values))
        await store.commit([alone(starting(run, tasks[-1]))])
    return tasks


async def test_a_claim_leases_the_row(store: Store) -> None:
    (task,) = await commit_tasks(store, {"lease": 4})
    ((leased,),) = await store.claim_tasks([a_claim()], NOW_US)
    assert leased == replace(
        task, session_id="session-1", worker_identity="worker-1", leased_at_us=NOW_US, lease=5
    )
    assert await store.leased_tasks() == [leased]
    state = await store.load_run(task.run_id)
    assert state is not None
    assert state.tasks == {(TaskKind.WORKFLOW, 0): leased}
    assert state.run.version == 1


@pytest.mark.parametrize(
    ("lease_limit_us", "poll_lease_us", "lease_until_us"),
    [(None, None, None), (None, 7, NOW_US + 7), (5, None, NOW_US + 5), (5, 7, NOW_US + 5)],
)
async def test_the_lease_ends_with_the_task_or_the_poll(
    store: Store,
    *,
    lease_limit_us: int | None,
    poll_lease_us: int | None,
    lease_until_us: int | None,
) -> None:
    await commit_tasks(store, {"lease_limit_us": lease_limit_us})
    ((leased,),) = await store.claim_tasks([a_claim(poll_lease_us=poll_lease_us)], NOW_US)
    assert leased.lease_until_us == lease_until_us


async def test_no_task_is_given_twice(store: Store) -> None:
    await commit_tasks(store, {}, {}, {})
    first, second = await store.claim_tasks([a_claim(limit=2), a_claim(limit=2)], NOW_US)
    assert [len(first), len(second)] == [2, 1]
    assert await store.claim_tasks([a_claim()], NOW_US) == [[]]


async def test_racing_claims_share_the_tasks(store: Store) -> None:
    await commit_tasks(store, *({} for _ in range(20)))
    claims = [store.claim_tasks([a_claim(limit=3)], NOW_US) for _ in range(10)]
    leased = [task.run_id for (tasks,) in await asyncio.gather(*claims) for task in tasks]
    assert len(leased) == 20
    assert len(set(leased)) == 20


async def test_the_order_is_priority_then_age_then_run(store: Store) -> None:
    await commit_tasks(
        store,
        {"priority": 3, "ready_at_us": START_US},
        {"priority": 1, "ready_at_us": START_US + 9},
        {"priority": 1, "ready_at_us": START_US + 5},
        {"priority": 1, "ready_at_us": START_US + 5},
        {"priority": 0, "ready_at_us": START_US + 8},
    )
    (leased,) = await store.claim_tasks([a_claim()], NOW_US)
    assert [task.run_id for task in leased] == [a_run(n).run_id for n in (5, 3, 4, 2, 1)]


async def test_tasks_of_one_run_come_by_number(store: Store) -> None:
    run = a_run()
    kind = TaskKind.ACTIVITY
    tasks = [a_task(run, seq, kind=kind) for seq in (10, 9, 2)]
    await store.commit([alone(starting(run, *tasks))])
    (leased,) = await store.claim_tasks([a_claim(Lane("default", "shop", kind, "charge"))], NOW_US)
    assert [task.seq for task in leased] == [2, 9, 10]


async def test_a_task_is_not_given_before_it_is_ready(store: Store) -> None:
    await commit_tasks(store, {"ready_at_us": NOW_US + 1}, {"ready_at_us": NOW_US})
    (leased,) = await store.claim_tasks([a_claim()], NOW_US)
    assert [task.run_id for task in leased] == [a_run(2).run_id]
    (leased,) = await store.claim_tasks([a_claim()], NOW_US + 1)
    assert [task.run_id for task in leased] == [a_run(1).run_id]


async def test_waiting_tasks_of_a_better_priority_hide_nothing(store: Store) -> None:
    waiting = [{"priority": 0, "ready_at_us": NOW_US + 1} for _ in range(5)]
    await commit_tasks(store, *waiting, {"priority": 4})
    (leased,) = await store.claim_tasks([a_claim(limit=1)], NOW_US)
    assert [task.priority for task in leased] == [4]


@pytest.mark.parametrize(
    "other",
    [
        replace(LANE, namespace="other"),
        replace(LANE, queue="other"),
        replace(LANE, kind=TaskKind.ACTIVITY),
        replace(LANE, type="other"),
    ],
)
async def test_a_claim_stays_in_its_lane(store: Store, other: Lane) -> None:
    await commit_tasks(store, {})
    assert await store.claim_tasks([a_claim(other), a_claim(limit=0)], NOW_US) == [[], []]


async def test_a_task_put_back_is_claimed_with_the_next_lease(store: Store) -> None:
    (task,) = await commit_tasks(store, {})
    ((leased,),) = await store.claim_tasks([a_claim()], NOW_US)
    back = replace(task, attempt=2, lease=leased.lease)
    run = replace(a_run(), history_length=1)
    await store.commit([alone(stepping(run, back))])
    ((again,),) = await store.claim_tasks([a_claim()], NOW_US)
    assert (again.attempt, again.lease) == (2, 2)


async def test_a_lease_is_extended_while_it_stands(store: Store) -> None:
    await commit_tasks(store, {}, {})
    (leased,) = await store.claim_tasks([a_claim(poll_lease_us=5)], NOW_US)
    stale = replace(leased[1], lease=9)
    gone = replace(leased[1], run_id="gone")
    await store.extend_leases([(leased[0], NOW_US + 50), (stale, 1), (gone, 1)])
    rows = {task.run_id: task.lease_until_us for task in await store.leased_tasks()}
    assert rows == {leased[0].run_id: NOW_US + 50, leased[1].run_id: NOW_US + 5}


async def test_a_lease_that_was_given_back_is_not_extended(store: Store) -> None:
    (task,) = await commit_tasks(store, {"lease": 1})
    await store.extend_leases([(replace(task, session_id="session-1"), NOW_US)])
    state = await store.load_run(task.run_id)
    assert state is not None
    assert state.tasks == {(TaskKind.WORKFLOW, 0): task}


async def test_depths_count_what_no_session_holds(store: Store) -> None:
    await commit_tasks(
        store,
        {"ready_at_us": NOW_US + 7},
        {"ready_at_us": NOW_US + 5},
        {"session_id": "s"},
        {"queue": "other"},
    )
    depths = await store.lane_depths()
    assert sorted(depths, key=lambda depth: depth.ready) == [
        LaneDepth(replace(LANE, queue="other"), 1, START_US),
        LaneDepth(LANE, 2, NOW_US + 5),
    ]


async def test_a_claim_waits_for_the_commits_before_it(store: Store) -> None:
    runs = [a_run(number) for number in range(1, 6)]
    async with asyncio.TaskGroup() as group:
        for run in runs:
            change = change_of(run, a_task(run), expected_version=0)
            group.create_task(store.commit([alone(change)]))
        claimed = group.create_task(store.claim_tasks([a_claim()], NOW_US))
    assert [len(tasks) for tasks in claimed.result()] == [5]
