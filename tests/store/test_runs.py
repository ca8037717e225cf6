"""Runs and versions: what a commit writes, and which commits are refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from perdure_server.core.changeset import Changeset, RunChange, TaskFence
from perdure_server.core.errors import StaleVersion, StoreUnavailable, WorkflowAlreadyExists
from perdure_server.core.model import RunStatus, TaskKind, TimerKind
from perdure_server.store.contract import Committed, Store
from tests.support.histories import (
    START_US,
    a_child,
    a_run,
    a_task,
    a_timer,
    alone,
    an_activity,
    an_event,
    change_of,
    starting,
    stepping,
)

WORKFLOW = TaskKind.WORKFLOW


async def test_a_committed_run_is_loaded_as_it_was_decided(store: Store) -> None:
    run = a_run(
        status=RunStatus.RUNNING,
        history_length=3,
        seen_seq=1,
        cancel_requested=True,
        cancel_reason="no longer wanted — 取消",
        task_failure=b"\x00failure",
        started_at_us=START_US + 1,
        previous_run_id="run-0",
    )
    change = change_of(run, expected_version=0, events=[an_event(seq) for seq in (1, 2, 3)])
    activity = an_activity(run, heartbeat_at_us=7, cancel_requested=True)
    task = a_task(run, 1, kind=TaskKind.ACTIVITY, session_id="s", lease=2, start_limit_us=5)
    timer = a_timer(run, kind=TimerKind.RUN_TIMEOUT)
    change.put_activities[1] = activity
    change.put_tasks[TaskKind.ACTIVITY, 1] = task
    change.put_timers[TimerKind.RUN_TIMEOUT, 1] = timer
    (outcome,) = await store.commit([alone(change)])
    assert isinstance(outcome, Committed)
    state = await store.load_run(run.run_id)
    assert state is not None
    assert state.run == run
    assert type(state.run.status) is RunStatus
    assert state.run.cancel_requested is True
    assert state.started == an_event(1).frame
    assert state.activities == {1: activity}
    assert state.tasks == {(TaskKind.ACTIVITY, 1): task}
    assert state.timers == {(TimerKind.RUN_TIMEOUT, 1): timer}
    assert state.tail == [an_event(2), an_event(3)]


async def test_an_unknown_run_is_none(store: Store) -> None:
    assert await store.load_run("nobody") is None
    assert await store.summarize_run("nobody") is None
    assert await store.find_run("default", "nobody", None) is None
    assert await store.find_run("default", "nobody", "nobody") is None


async def test_who_knows_a_run_reads_what_is_new(store: Store) -> None:
    run = a_run()
    opening = starting(run, a_task(run))
    opening.put_children = {1: a_child(run), 2: a_child(run, 2)}
    await store.commit([alone(opening)])
    change = stepping(opening.run, seen_seq=2)
    timer = a_timer(run)
    change.put_timers = {(timer.kind, timer.seq): timer}
    last = stepping(change.run)
    await store.commit([alone(change)])
    await store.commit([alone(last)])
    whole = await store.load_run(run.run_id)
    assert whole is not None
    assert [row.seq for row in whole.tail] == [3]
    for known_seq in (1, 2, 3):
        state = await store.load_run(run.run_id, known_seq=known_seq)
        assert state is not None
        assert [row.seq for row in state.tail] == list(range(known_seq + 1, 4))
        assert state.children == {}
        assert replace(state, tail=whole.tail, children=whole.children) == whole
    assert await store.load_run("nobody", known_seq=1) is None


async def test_a_loaded_state_belongs_to_its_reader(store: Store) -> None:
    run = a_run()
    await store.commit([alone(starting(run, a_task(run)))])
    state = await store.load_run(run.run_id)
    assert state is not None
    state.tasks.clear()
    state.run.version = 99
    again = await store.load_run(run.run_id)
    assert again is not None
    assert again.run.version == 1
    assert again.tasks


async def test_a_run_is_found_by_its_workflow(store: Store) -> None:
    first = a_run(1, workflow_id="order")
    second = a_run(2, workflow_id="order", generation=2)
    elsewhere = a_run(3, workflow_id="order", namespace="other")
    await store.commit([alone(starting(run)) for run in (second, first, elsewhere)])
    assert await store.find_run("default", "order", None) == second.run_id
    assert await store.find_run("default", "order", first.run_id) == first.run_id
    assert await store.find_run("default", "order", elsewhere.run_id) is None
    assert await store.find_run("other", "order", None) == elsewhere.run_id


async def test_of_two_runs_with_one_generation_the_second_is_refused(store: Store) -> None:
    first, second = a_run(1, workflow_id="order"), a_run(2, workflow_id="order")
    outcomes = await store.commit([alone(starting(first)), alone(starting(second))])
    assert isinstance(outcomes[0], Committed)
    assert isinstance(outcomes[1], WorkflowAlreadyExists)
    assert await store.load_run(second.run_id) is None


async def test_a_run_id_exists_once(store: Store) -> None:
    run = a_run(1)
    await store.commit([alone(starting(run))])
    twin = replace(run, workflow_id="another")
    (outcome,) = await store.commit([alone(starting(twin))])
    assert isinstance(outcome, WorkflowAlreadyExists)


@pytest.mark.parametrize("version", [1, 3])
async def test_a_change_of_another_version_is_refused(store: Store, version: int) -> None:
    run = replace(a_run(), history_length=1)
    await store.commit([alone(starting(run)), alone(stepping(run))])
    stale = stepping(replace(run, version=version), status=RunStatus.FAILED)
    (outcome,) = await store.commit([alone(stale)])
    assert isinstance(outcome, StaleVersion)
    state = await store.load_run(run.run_id)
    assert state is not None
    assert (state.run.version, state.run.status) == (2, RunStatus.PENDING)


async def test_a_change_of_a_missing_run_is_refused(store: Store) -> None:
    (outcome,) = await store.commit([alone(stepping(a_run()))])
    assert isinstance(outcome, StaleVersion)


@pytest.mark.parametrize(("lease", "accepted"), [(3, True), (2, False)])
async def test_a_fence_holds_the_lease(store: Store, *, lease: int, accepted: bool) -> None:
    run = replace(a_run(), history_length=1)
    await store.commit([alone(starting(run, a_task(run, lease=3, session_id="s")))])
    change = stepping(run)
    change.fences[WORKFLOW, 0] = TaskFence(WORKFLOW, 0, lease)
    (outcome,) = await store.commit([alone(change)])
    assert isinstance(outcome, Committed if accepted else StaleVersion)


async def test_a_fence_needs_its_row(store: Store) -> None:
    run = replace(a_run(), history_length=1)
    await store.commit([alone(starting(run))])
    change = stepping(run)
    change.fences[WORKFLOW, 0] = TaskFence(WORKFLOW, 0, 0)
    (outcome,) = await store.commit([alone(change)])
    assert isinstance(outcome, StaleVersion)


async def test_a_refused_changeset_changes_nothing_of_any_run(store: Store) -> None:
    good, stale = replace(a_run(1), history_length=1), replace(a_run(2), history_length=1)
    await store.commit([alone(starting(good)), alone(starting(stale))])
    before = await store.last_position()
    both = Changeset([stepping(good), stepping(replace(stale, version=7))])
    outcomes = await store.commit([both, alone(stepping(good))])
    assert isinstance(outcomes[0], StaleVersion)
    assert isinstance(outcomes[1], Committed)
    assert outcomes[1].first > before
    (event,) = await store.read_events(before, limit=9)
    assert (event.position, event.run_id) == (outcomes[1].first, good.run_id)


async def test_a_changeset_may_change_several_runs(store: Store) -> None:
    parent, child = replace(a_run(1), history_length=1), a_run(2)
    await store.commit([alone(starting(parent))])
    (outcome,) = await store.commit([Changeset([stepping(parent), starting(child)])])
    assert isinstance(outcome, Committed)
    for run_id, version in ((parent.run_id, 2), (child.run_id, 1)):
        state = await store.load_run(run_id)
        assert state is not None
        assert state.run.version == version


async def test_a_later_changeset_of_a_call_sees_an_earlier_one(store: Store) -> None:
    run = replace(a_run(), history_length=1)
    second = replace(run, version=2, history_length=2)
    changes = [starting(run, a_task(run)), stepping(run), stepping(second), stepping(run)]
    changes[2].fences[WORKFLOW, 0] = TaskFence(WORKFLOW, 0, 0)
    outcomes = await store.commit([alone(change) for change in changes])
    assert [type(outcome) for outcome in outcomes] == [Committed] * 3 + [StaleVersion]


async def test_deletes_come_before_puts(store: Store) -> None:
    run = replace(a_run(), history_length=1)
    start = starting(run, a_task(run))
    start.put_activities = {1: an_activity(run), 2: an_activity(run, 2)}
    start.put_timers = {(TimerKind.USER, 1): a_timer(run)}
    await store.commit([alone(start)])
    change = stepping(run, a_task(run, attempt=2))
    change.del_tasks = {(WORKFLOW, 0), (TaskKind.ACTIVITY, 9)}
    change.del_activities = {1, 9}
    change.del_timers = {(TimerKind.USER, 1), (TimerKind.USER, 9)}
    change.put_timers = {(TimerKind.USER, 1): a_timer(run, due_us=5)}
    await store.commit([alone(change)])
    state = await store.load_run(run.run_id)
    assert state is not None
    assert state.tasks[WORKFLOW, 0].attempt == 2
    assert set(state.activities) == {2}
    assert state.timers[TimerKind.USER, 1].due_at_us == START_US + 5


async def test_closing_deletes_what_was_pending(store: Store) -> None:
    run, bystander = replace(a_run(1), history_length=1), a_run(2)
    start = starting(run, a_task(run))
    start.put_activities = {1: an_activity(run)}
    start.put_timers = {(TimerKind.USER, 1): a_timer(run)}
    await store.commit([alone(start), alone(starting(bystander, a_task(bystander)))])
    close = stepping(run, a_task(run), status=RunStatus.COMPLETED, closed_at_us=START_US)
    close.closes = True
    await store.commit([alone(close)])
    state = await store.load_run(run.run_id)
    assert state is not None
    assert (state.tasks, state.activities, state.timers) == ({}, {}, {})
    other = await store.load_run(bystander.run_id)
    assert other is not None
    assert other.tasks


async def test_no_changesets_are_no_outcomes(store: Store) -> None:
    assert await store.commit([]) == []
    (outcome,) = await store.commit([Changeset()])
    assert isinstance(outcome, Committed)


async def test_a_store_that_is_not_open_is_unavailable(store: Store) -> None:
    await store.close()
    await store.close()
    with pytest.raises(StoreUnavailable):
        await store.load_run("any")
    with pytest.raises(StoreUnavailable):
        await store.commit([alone(RunChange(a_run(), 0))])
