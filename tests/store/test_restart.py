"""Restart: what was acknowledged is there again, and positions go on where they stood."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from perdure_server.core.model import Lane, TaskKind, TimerKind
from perdure_server.store.contract import ClaimRequest, Committed, ListFilter, Store
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

LANE = Lane("default", "shop", TaskKind.WORKFLOW, "checkout")


async def test_everything_is_there_again(disk: Callable[[], Store], store: Store) -> None:
    run = replace(a_run(), history_length=1)
    change = starting(run, a_task(run))
    change.put_activities = {1: an_activity(run)}
    change.put_timers = {(TimerKind.USER, 1): a_timer(run)}
    record = a_request(run)
    await store.commit([alone(change, record)])
    (leased,) = await store.claim_tasks([ClaimRequest(LANE, 1, "session-1", "worker")], START_US)
    before = await store.load_run(run.run_id)
    last = await store.last_position()
    epoch = store.epoch
    await store.close()

    again = disk()
    await again.open()
    assert again.epoch == epoch
    assert await again.load_run(run.run_id) == before
    assert await again.leased_tasks() == leased
    assert await again.due_timers(after=None, limit=10) == [a_timer(run)]
    found = await again.find_request(
        record.namespace, record.workflow_id, record.rpc, record.request_id
    )
    assert found == record
    assert await again.last_position() == last
    (outcome,) = await again.commit([alone(stepping(run))])
    assert isinstance(outcome, Committed)
    assert outcome.first > last
    await again.close()


async def test_closing_finishes_what_was_accepted(disk: Callable[[], Store], store: Store) -> None:
    runs = [a_run(number) for number in range(1, 30)]
    commits = [asyncio.create_task(store.commit([alone(starting(run))])) for run in runs]
    await asyncio.sleep(0)
    await store.close()
    outcomes = [outcome for answers in await asyncio.gather(*commits) for outcome in answers]
    assert [type(outcome) for outcome in outcomes] == [Committed] * len(runs)

    again = disk()
    await again.open()
    found = await again.list_runs(ListFilter("default"), after=None, limit=100)
    assert len(found) == len(runs)
    await again.close()
