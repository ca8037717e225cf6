"""Namespaces: rows of their own, counts of runs, and the deletion of runs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from perdure_server.core.model import Namespace, RunStatus, TaskKind
from perdure_server.store.contract import ListFilter, Position, Store
from tests.support.histories import (
    START_US,
    a_request,
    a_run,
    a_task,
    a_timer,
    alone,
    an_activity,
    starting,
    stepping,
)

ALL = 1_000
DONE = RunStatus.COMPLETED


async def close(store: Store, number: int, *, events: int = 2, **columns: object) -> str:
    """Stores a run that has closed after some events, with the request that started it."""
    run = replace(a_run(number, **columns), history_length=1)
    await store.commit([alone(starting(run), a_request(run, f"r-{number}"))])
    for seq in range(2, events + 1):
        change = stepping(run)
        if seq == events:
            change.run = replace(change.run, status=DONE, closed_at_us=START_US)
            change.closes = True
        await store.commit([alone(change)])
        run = change.run
    return run.run_id


async def delete(
    store: Store,
    *,
    before_us: int = START_US + 1,
    limit: int = ALL,
    max_events: int = ALL,
    max_bytes: int = ALL,
) -> int:
    return await store.delete_closed_runs(
        "default", before_us=before_us, limit=limit, max_events=max_events, max_bytes=max_bytes
    )


async def left(store: Store, namespace: str = "default") -> list[str]:
    found = await store.list_runs(ListFilter(namespace), after=None, limit=ALL)
    return [summary.run.run_id for summary in reversed(found)]


class TestRows:
    async def test_main_is_there_from_the_beginning(self, store: Store) -> None:
        main = await store.find_namespace("main")
        assert main is not None
        assert await store.list_namespaces(after="", limit=9) == [main]

    async def test_a_name_is_inserted_once(self, store: Store) -> None:
        shop = Namespace("shop", START_US)
        assert await store.insert_namespace(shop)
        assert not await store.insert_namespace(shop)
        assert not await store.insert_namespace(Namespace("shop", START_US + 1))
        assert await store.find_namespace("shop") == shop
        assert await store.find_namespace("other") is None

    async def test_a_list_goes_by_name_page_by_page(self, store: Store) -> None:
        for name in ("zoo", "Äpfel", "shop", "\U0001f600", "a"):
            await store.insert_namespace(Namespace(name, START_US))
        names, after = [], ""
        while page := await store.list_namespaces(after=after, limit=2):
            assert len(page) <= 2
            names += [namespace.name for namespace in page]
            after = names[-1]
        assert names == ["a", "main", "shop", "zoo", "Äpfel", "\U0001f600"]

    async def test_a_row_is_deleted_alone(self, store: Store) -> None:
        await store.insert_namespace(Namespace("default", START_US))
        run_id = await close(store, 1)
        assert await store.delete_namespace("default")
        assert not await store.delete_namespace("default")
        assert await store.find_namespace("default") is None
        assert await left(store) == [run_id]


class TestRetention:
    async def test_it_is_kept_with_the_row(self, store: Store) -> None:
        shop = Namespace("shop", START_US, 5)
        assert await store.insert_namespace(shop)
        assert await store.find_namespace("shop") == shop
        changed = await store.set_retention("shop", 7)
        assert changed == replace(shop, retention_us=7)
        assert await store.list_namespaces(after="main", limit=9) == [changed]
        assert await store.set_retention("shop", None) == replace(shop, retention_us=None)
        assert await store.set_retention("nobody", 7) is None

    async def test_who_claims_a_sweep_has_it_alone_for_a_while(self, store: Store) -> None:
        for name in ("a", "b", "none"):
            await store.insert_namespace(Namespace(name, START_US, None if name == "none" else 5))
        a = await store.claim_sweep(now_us=10, until_us=20)
        assert a == Namespace("a", START_US, 5, sweep_at_us=20)
        b = await store.claim_sweep(now_us=10, until_us=21)
        assert b == Namespace("b", START_US, 5, sweep_at_us=21)
        assert await store.claim_sweep(now_us=19, until_us=30) is None
        assert await store.find_namespace("a") == a
        # The one that waits longest comes first.
        again = await store.claim_sweep(now_us=25, until_us=30)
        assert again is not None
        assert again.name == "a"
        # A change has it swept at once.
        await store.set_retention("b", 6)
        again = await store.claim_sweep(now_us=15, until_us=30)
        assert again == Namespace("b", START_US, 6, sweep_at_us=30)

    async def test_runs_go_that_closed_before_an_instant(self, store: Store) -> None:
        for number, closed_at_us in ((1, 30), (2, 10), (3, 20), (4, None)):
            run = replace(a_run(number), closed_at_us=closed_at_us)
            run.status = RunStatus.PENDING if closed_at_us is None else DONE
            await store.commit([alone(starting(run))])
        assert await delete(store, before_us=10) == 0
        assert await delete(store, before_us=30, limit=1) == 1
        assert await left(store) == [a_run(number).run_id for number in (1, 3, 4)]
        assert await delete(store, before_us=30) == 1
        assert await delete(store, before_us=30) == 0
        assert await delete(store, before_us=2**62) == 1
        assert await left(store) == [a_run(4).run_id]

    async def test_the_place_of_what_is_gone_is_kept(self, store: Store) -> None:
        await store.insert_namespace(Namespace("default", START_US))
        await close(store, 1)
        await close(store, 2, namespace="other")
        start = Position(store.epoch, 0, -1)
        events = await store.read_events(start, limit=9)
        last = [event.position for event in events if event.namespace == "default"][-1]
        assert await delete(store) == 1
        row = await store.find_namespace("default")
        assert row is not None
        assert (row.expired_commit, row.expired_index) == (last.commit, last.index)
        assert await delete(store) == 0
        assert await store.find_namespace("default") == row


class TestCounts:
    async def test_runs_are_counted_by_status(self, store: Store) -> None:
        for number in (1, 2):
            await close(store, number)
        await store.commit([alone(starting(a_run(number))) for number in (3, 4, 5)])
        await close(store, 6, namespace="other")
        assert await store.count_runs("default") == {DONE: 2, RunStatus.PENDING: 3}
        assert await store.count_runs("other") == {DONE: 1}
        assert await store.count_runs("nowhere") == {}

    async def test_runs_are_found_by_status_the_oldest_first(self, store: Store) -> None:
        await close(store, 1)
        await store.commit([alone(starting(a_run(number))) for number in (4, 2, 3)])
        await store.commit([alone(starting(a_run(5, namespace="other")))])
        ids = [a_run(number).run_id for number in (2, 3, 4)]
        assert await store.run_ids("default", RunStatus.PENDING, limit=2) == ids[:2]
        assert await store.run_ids("default", RunStatus.PENDING, limit=9) == ids
        assert await store.run_ids("default", RunStatus.FAILED, limit=9) == []


class TestDeletion:
    async def test_closed_runs_go_with_all_that_is_stored_of_them(self, store: Store) -> None:
        gone = await close(store, 1)
        run = a_run(2)
        change = starting(run, a_task(run), a_task(run, 1, kind=TaskKind.ACTIVITY))
        change.put_timers = {(timer.kind, timer.seq): timer for timer in [a_timer(run)]}
        change.put_activities = {1: an_activity(run)}
        await store.commit([alone(change, a_request(run))])
        other = await close(store, 3, namespace="other")
        before = await store.load_run(run.run_id)
        assert await delete(store) == 1
        assert await delete(store) == 0
        assert await store.load_run(gone) is None
        assert await store.summarize_run(gone) is None
        assert await store.load_history(gone, after_seq=0, limit=ALL, max_bytes=ALL) == []
        assert await store.find_run("default", "order-1", None) is None
        assert await store.load_run(run.run_id) == before
        assert await left(store) == [run.run_id]
        assert await left(store, "other") == [other]

    async def test_no_pending_row_stays(self, store: Store) -> None:
        """Also when rows are there that a closed run does not have."""
        run = replace(a_run(), status=DONE, closed_at_us=START_US)
        change = starting(run, a_task(run))
        change.put_timers = {(timer.kind, timer.seq): timer for timer in [a_timer(run)]}
        change.put_activities = {1: an_activity(run)}
        await store.commit([alone(change)])
        assert await delete(store) == 1
        assert await store.due_timers(after=None, limit=9) == []
        assert await store.lane_depths() == []
        # The same run again: what was left behind would be its own.
        await store.commit([alone(starting(a_run()))])
        again = await store.load_run(run.run_id)
        assert again is not None
        assert (again.tasks, again.timers, again.activities) == ({}, {}, {})

    async def test_the_oldest_go_first(self, store: Store) -> None:
        ids = [await close(store, number) for number in range(1, 6)]
        assert await delete(store, limit=2) == 2
        assert await left(store) == ids[2:]
        assert await delete(store, limit=9) == 3

    async def test_a_step_keeps_to_the_bounds_but_takes_one_run(self, store: Store) -> None:
        ids = [await close(store, each, events=3, history_bytes=50) for each in range(1, 8)]
        assert await delete(store, max_events=6) == 2
        assert await delete(store, max_events=5) == 1
        assert await delete(store, max_bytes=100) == 2
        assert await delete(store, max_bytes=99) == 1
        assert await left(store) == ids[6:]

    @pytest.mark.parametrize("bounds", [{"max_events": 2}, {"max_bytes": 41}, {"max_bytes": 0}])
    async def test_a_run_above_the_bounds_goes_whole(
        self, store: Store, bounds: dict[str, int]
    ) -> None:
        gone = await close(store, 1, events=9, history_bytes=180)
        kept = await close(store, 2, events=9, history_bytes=180)
        assert await delete(store, **bounds) == 1
        assert await store.load_history(gone, after_seq=0, limit=ALL, max_bytes=ALL) == []
        assert len(await store.load_history(kept, after_seq=0, limit=ALL, max_bytes=ALL)) == 9
        assert await left(store) == [kept]

    async def test_requests_go_with_the_last_run_of_their_workflow(self, store: Store) -> None:
        await close(store, 1, workflow_id="w")
        await close(store, 2, workflow_id="w", generation=2)
        await close(store, 3, workflow_id="w", namespace="other")
        key = ("default", "w", "StartWorkflow", "r-1")
        assert await delete(store, limit=1) == 1
        assert await store.find_request(*key) is not None
        assert await delete(store) == 1
        assert await store.find_request(*key) is None
        assert await store.find_request("other", "w", "StartWorkflow", "r-3") is not None

    async def test_positions_are_not_used_again(self, store: Store) -> None:
        await close(store, 1)
        last = await store.last_position()
        await delete(store)
        assert await store.last_position() == last
        assert await store.read_events(Position(store.epoch, 0, -1), limit=9) == []
        await store.commit([alone(starting(a_run(2)))])
        (event,) = await store.read_events(last, limit=9)
        assert event.position > last
        assert event.run_id == a_run(2).run_id

    async def test_a_workflow_id_begins_anew(self, store: Store) -> None:
        await close(store, 1, workflow_id="w")
        await delete(store)
        again = a_run(2, workflow_id="w")
        await store.commit([alone(starting(again), a_request(again, "r-1"))])
        assert await left(store) == [again.run_id]


@pytest.mark.parametrize("status", [each for each in RunStatus if each.is_closed])
async def test_every_end_counts_as_closed(store: Store, status: RunStatus) -> None:
    run = replace(a_run(), status=status, closed_at_us=START_US)
    await store.commit([alone(starting(run))])
    assert await delete(store) == 1
