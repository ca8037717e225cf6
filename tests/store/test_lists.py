"""Lists: what they show of a run, their filters and their pages."""

from __future__ import annotations

from dataclasses import replace

import pytest

from perdure_server.core.model import RunStatus
from perdure_server.store.contract import ListFilter, Place, RunSummary, Store
from tests.support.histories import START_US, a_run, alone, an_event, starting, stepping

OPEN, DONE = RunStatus.PENDING, RunStatus.COMPLETED


@pytest.fixture
async def runs(store: Store) -> list[str]:
    """Eight runs: even ones are completed, the first four of another type, the last elsewhere."""
    for number in range(1, 9):
        run = a_run(
            number,
            namespace="other" if number == 8 else "default",
            workflow_type="refund" if number <= 4 else "checkout",
            history_length=1,
        )
        changes = [starting(run)]
        if number % 2 == 0:
            changes.append(stepping(run, status=DONE, closed_at_us=START_US, next_run_id="next"))
        await store.commit([alone(change) for change in changes])
    return [a_run(number).run_id for number in range(1, 9)]


@pytest.mark.parametrize(
    ("where", "numbers"),
    [
        (ListFilter("default"), [7, 6, 5, 4, 3, 2, 1]),
        (ListFilter("other"), [8]),
        (ListFilter("nowhere"), []),
        (ListFilter("default", status=DONE), [6, 4, 2]),
        (ListFilter("default", status=RunStatus.FAILED), []),
        (ListFilter("default", workflow_type="refund"), [4, 3, 2, 1]),
        (ListFilter("default", status=OPEN, workflow_type="refund"), [3, 1]),
    ],
)
async def test_a_list_is_filtered_and_paged(
    store: Store, runs: list[str], *, where: ListFilter, numbers: list[int]
) -> None:
    expected = [runs[number - 1] for number in numbers]
    whole = await store.list_runs(where, after=None, limit=100)
    assert [summary.run.run_id for summary in whole] == expected
    pages, after = [], None
    while page := await store.list_runs(where, after=after, limit=2):
        assert len(page) <= 2
        pages += page
        after = Place(page[-1].run.run_id)
    assert pages == whole


async def test_a_summary_shows_the_first_and_the_closing_event(
    store: Store, runs: list[str]
) -> None:
    still, done = await store.summarize_run(runs[0]), await store.summarize_run(runs[1])
    assert still is not None
    assert done is not None
    run = replace(a_run(1), workflow_type="refund", history_length=1)
    assert still == RunSummary(run, an_event(1).frame, None)
    assert done.closed == an_event(2).frame
    assert done.run.next_run_id == "next"
    assert done in await store.list_runs(ListFilter("default"), after=None, limit=100)
