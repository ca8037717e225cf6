"""Filters, orders, pages and counts, with attributes and fields, on every backend."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from random import Random

import pytest

from perdure.v1.search_attributes_pb2 import SearchAttributes
from perdure_server.core.attribute_keys import number_key, string_key
from perdure_server.core.attributes import changed_keys, encoded
from perdure_server.core.changeset import RunChange
from perdure_server.core.filters.conditions import Order
from perdure_server.core.filters.fields import FIELDS
from perdure_server.core.filters.reading import read_filter
from perdure_server.core.model import Run, RunStatus
from perdure_server.engine.places import place_of
from perdure_server.store import listing
from perdure_server.store.contract import ListFilter, Place, RunGroup, Store
from tests.support.filters import FIELD_NAMES, NAMES, random_attributes, random_condition
from tests.support.filters import random_order as an_order
from tests.support.histories import START_US, a_run, alone, starting, stepping
from tests.support.model_store import ModelStore

RUNS = 40
STATUSES = (RunStatus.PENDING, RunStatus.RUNNING, RunStatus.FAILED, RunStatus.COMPLETED)


def attributed(change: RunChange, attributes: bytes, before: bytes = b"") -> RunChange:
    """Returns a change of a run that had some attributes and has others after it."""
    change.run = replace(change.run, attributes=attributes)
    old = replace(change.run, attributes=before)
    change.put_keys, change.del_keys = changed_keys(old, change.run)
    return change


def having(**values: str | int) -> bytes:
    attributes = SearchAttributes()
    for name, value in values.items():
        kind = "keyword" if isinstance(value, str) else "int"
        setattr(attributes.values[name], kind, value)
    return encoded(attributes)


def a_random_run(random: Random, number: int) -> Run:
    status = random.choice(STATUSES)
    return a_run(
        number,
        status=status,
        workflow_type=random.choice(["refund", "checkout"]),
        attempt=random.randint(1, 3),
        cancel_requested=random.random() < 0.3,
        created_at_us=START_US + random.randint(0, 900),
        closed_at_us=START_US + random.randint(0, 900) if status.is_closed else None,
        namespace="other" if random.random() < 0.1 else "default",
    )


async def fill(random: Random, *stores: Store) -> None:
    for number in range(1, RUNS + 1):
        run = a_random_run(random, number)
        attributes = random_attributes(random)
        first = attributed(starting(run), attributes)
        changes = [first]
        if random.random() < 0.4:
            step = stepping(first.run, updated_at_us=START_US + number)
            changes.append(attributed(step, random_attributes(random), attributes))
        for store in stores:
            for change in changes:
                outcome = (await store.commit([alone(change)]))[0]
                assert not isinstance(outcome, Exception)


WAYS = {
    "sorts": {"FEW": 1_000},
    "walks": {"FEW": 1},
    "sorts behind a stretch": {"FEW": 1, "STRETCH": 5, "NEAREST": 3},
    "walks behind a stretch": {"FEW": 1, "STRETCH": 5, "MANY": 2},
}
"""Bounds with which each filter is answered in one of the ways that there are."""


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every way to make a list."""
    for name, bound in WAYS[request.param].items():
        monkeypatch.setattr(listing, name, bound)


@pytest.mark.parametrize("seed", range(2))
async def test_every_backend_finds_what_the_model_finds(store: Store, way: None, seed: int) -> None:
    random, model = Random(seed), ModelStore()
    await model.open()
    await fill(random, model, store)
    for _ in range(30):
        where = ListFilter("default", condition=random_condition(random), order=an_order(random))
        expected = await model.list_runs(where, after=None, limit=RUNS)
        assert await store.list_runs(where, after=None, limit=RUNS) == expected, where
        pages, after = [], None
        while page := await store.list_runs(where, after=after, limit=7):
            pages += page
            after = place_of(where.order, page[-1].run)
        assert pages == expected, where
        assert await store.count_matching(where) == len(expected), where
        by = random.choice([*NAMES, *(FIELDS[name] for name in FIELD_NAMES)])
        limit = random.randint(1, 20)
        groups = await store.count_groups(where, by, limit=limit)
        assert groups == await model.count_groups(where, by, limit=limit), (where, by)


async def test_children_are_found_by_their_parent(store: Store, way: None) -> None:
    for number in range(1, 9):
        parent = f"parent-{number % 2}" if number < 7 else ""
        namespace = "other" if number == 5 else "default"
        workflow = parent and f"order-{number % 2}"
        run = a_run(number, parent_run_id=parent, parent_workflow_id=workflow, namespace=namespace)
        await store.commit([alone(starting(run))])

    async def found(text: str) -> list[str]:
        condition, order = read_filter(text, now_us=START_US)
        where = ListFilter("default", condition=condition, order=order)
        rows = await store.list_runs(where, after=None, limit=9)
        assert await store.count_matching(where) == len(rows)
        return [row.run.run_id for row in rows]

    ids = [a_run(number).run_id for number in range(9)]
    assert await found("parent_run_id = 'parent-1'") == [ids[3], ids[1]]
    assert await found("parent_run_id = 'parent-1' ORDER BY run_id") == [ids[1], ids[3]]
    assert await found("parent_run_id = 'parent-1' AND id = 'nobody'") == []
    assert await found("parent_run_id = ''") == [ids[8], ids[7]]
    assert await found("parent_run_id = 'nobody'") == []
    assert await found("parent_id = 'order-1'") == [ids[3], ids[1]]
    assert await found("ParentWorkflowId = 'order-0' ORDER BY run_id") == [ids[2], ids[4], ids[6]]
    assert await found("parent_id = 'order-1' AND id = 'order-3'") == [ids[3]]
    assert await found("parent_id IN ('order-1', 'nobody') OR parent_id = ''") == [
        *(ids[8], ids[7]),
        *(ids[3], ids[1]),
    ]
    assert await found("parent_id > 'order-0' ORDER BY parent_id") == [ids[1], ids[3]]
    assert await store.count_groups(ListFilter("default"), FIELDS["parent_id"], limit=9) == [
        RunGroup("order-0", 3),
        RunGroup("", 2),
        RunGroup("order-1", 2),
    ]


async def test_a_list_is_sorted_by_its_first_keyword_whichever_is_asked_for(
    store: Store, way: None
) -> None:
    for number, words in enumerate((["c"], ["a", "d"], ["b", "c"], ["d"], ["a"], ["c", "d"]), 1):
        attributes = SearchAttributes()
        attributes.values["team"].keyword_list.values.extend(words)
        await store.commit([alone(attributed(starting(a_run(number)), encoded(attributes)))])
    for text, expected in (
        ("team >= 'c' ORDER BY team", [2, 3, 1, 6, 4]),
        ("team >= 'c' ORDER BY team DESC", [4, 6, 1, 3, 2]),
        ("team < 'c' AND team > 'b' ORDER BY team DESC", [3, 2]),
        ("team < 'c' AND team >= 'd' ORDER BY team DESC", [2]),
        ("team BETWEEN 'b' AND 'c' ORDER BY team", [3, 1, 6]),
    ):
        condition, order = read_filter(text, now_us=START_US)
        where = ListFilter("default", condition=condition, order=order)
        found, after = [], None
        while page := await store.list_runs(where, after=after, limit=2):
            found += [int(row.run.run_id[-3:]) for row in page]
            after = place_of(where.order, page[-1].run)
        assert found == expected, text


async def test_an_attribute_is_found_until_it_changes(store: Store) -> None:
    run = a_run(1)
    first = attributed(starting(run), having(team="a", amount=3))
    await store.commit([alone(first)])

    async def finds(text: str) -> bool:
        condition, _ = read_filter(text, now_us=START_US)
        where = ListFilter("default", condition=condition)
        return bool(await store.list_runs(where, after=None, limit=9))

    assert await finds("team = 'a' AND amount > 2")
    assert not await finds("team = 'b'")
    assert not await finds("team = 3")
    after = having(team="b")
    step = attributed(stepping(first.run), after, first.run.attributes)
    await store.commit([alone(step)])
    assert await finds("team = 'b' AND amount IS NULL")
    assert not await finds("team = 'a'")
    closing = stepping(step.run, status=RunStatus.FAILED, closed_at_us=START_US)
    closing.closes = True
    await store.commit([alone(attributed(closing, having(team="c"), after))])
    assert await finds("team = 'c' AND status = 'FAILED'")
    assert await store.delete_closed_runs(
        "default", before_us=2**62, limit=9, max_events=99, max_bytes=9_999
    )
    again = attributed(starting(a_run(1)), b"")
    await store.commit([alone(again)])
    assert not await finds("team IS NOT NULL")


async def test_a_refused_changeset_changes_no_attribute(store: Store) -> None:
    first = attributed(starting(a_run(1)), having(team="a"))
    await store.commit([alone(first)])
    stale = attributed(stepping(first.run), having(team="b"), first.run.attributes)
    stale.expected_version = 9
    await store.commit([alone(stale)])
    groups = await store.count_groups(ListFilter("default"), "team", limit=9)
    assert groups == [RunGroup(string_key("a"), 1)]


async def test_a_page_goes_on_where_the_last_one_ended_whatever_was_written_since(
    store: Store,
) -> None:
    """Runs that keep what they are sorted by are shown once."""
    runs = {}
    for number in range(1, 10):
        runs[number] = attributed(starting(a_run(number)), having(amount=number))
        await store.commit([alone(runs[number])])
    where = ListFilter("default", order=Order("amount", descending=True))
    first = await store.list_runs(where, after=None, limit=3)
    assert [found.run.run_id[-1] for found in first] == ["9", "8", "7"]
    late = attributed(starting(a_run(10)), having(amount=8))
    moved = attributed(stepping(runs[8].run), having(amount=1), runs[8].run.attributes)
    await store.commit([alone(late), alone(moved)])
    place = Place(first[-1].run.run_id, number_key(7))
    rest = await store.list_runs(where, after=place, limit=99)
    amounts = [6, 5, 4, 3, 2, 8, 1]
    assert [int(found.run.run_id[-3:]) for found in rest] == amounts


async def test_runs_without_a_value_come_last_in_either_direction(store: Store) -> None:
    for number in range(1, 7):
        attributes = having(amount=number) if number % 2 else b""
        await store.commit([alone(attributed(starting(a_run(number)), attributes))])
    for descending, expected in ((True, [5, 3, 1, 6, 4, 2]), (False, [1, 3, 5, 2, 4, 6])):
        where = ListFilter("default", order=Order("amount", descending=descending))
        found = await store.list_runs(where, after=None, limit=9)
        assert [int(each.run.run_id[-3:]) for each in found] == expected
        for one, other in pairwise(found):
            after = place_of(where.order, one.run)
            assert (await store.list_runs(where, after=after, limit=1)) == [other]
