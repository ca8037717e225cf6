"""Random filters, orders and pages: a backend answers what the model answers.

Runs have attributes of all seven types, and filters ask about these and about every field with
every operator. Some runs are written while a list is read page by page.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perdure.v1.search_attributes_pb2 import SearchAttributes
from perdure_server.core.attribute_keys import instant_text
from perdure_server.core.attributes import encoded
from perdure_server.core.filters.fields import FIELDS, Field, Kind
from perdure_server.core.filters.reading import read_filter
from perdure_server.core.model import RunStatus
from perdure_server.engine.places import page_token, place_of, read_page_token
from perdure_server.store import listing
from perdure_server.store.contract import ListFilter, RunSummary, Store
from perdure_server.store.postgres.store import PostgresStore
from perdure_server.store.sqlite.store import SqliteStore
from tests.store.test_filters import WAYS, attributed
from tests.support import postgres
from tests.support.filters import NAMES, random_attributes
from tests.support.histories import START_US, a_run, alone, starting
from tests.support.model_store import ModelStore

RUNS = 60
BOUNDS = {name: getattr(listing, name) for bounds in WAYS.values() for name in bounds}
STATUSES = ["PENDING", "running", "Failed", "COMPLETED", "TimedOut", "Canceled"]
STRINGS = ["", "a", "ab", "b", "late", "order-1", "order-3", "refund", "run-000007", "it''s"]
WHOLES = [-1, 0, 1, 2, 3, 5, 2**53 + 1, -(2**63)]
ORDERED = st.sampled_from(["=", "!=", "<>", "<", "<=", ">", ">="])
EQUAL = st.sampled_from(["=", "!=", "=="])
STRING = st.sampled_from(STRINGS).map("'{}'".format)
WHOLE = st.sampled_from(WHOLES).map(str)
NUMBER = WHOLE | st.sampled_from(["0.5", "2.0", "3.5", "-.5", "1e300"])
INSTANT = st.one_of(
    st.integers(0, 4).map(lambda us: f"'{instant_text(START_US + us)}'"),
    st.integers(0, 900).map("now() + {}us".format),
    st.sampled_from(["now()", "now() - 1h + 1h", "'2023-11-14T23:13:20.000002+01:00'"]),
)
TRUTH = st.sampled_from(["true", "FALSE"])
WORDS = ["a", "ab", "b", "ba", "late"]
WORD = st.sampled_from(WORDS).map("'{}'".format)
NOT = st.sampled_from(["", "NOT "])
VALUES = {
    Kind.STRING: STRING,
    Kind.STATUS: st.sampled_from(STATUSES).map("'{}'".format),
    Kind.WHOLE: WHOLE,
    Kind.TRUTH: TRUTH,
    Kind.INSTANT: INSTANT | st.just("'2023-11-14'") | st.just("1700000000.0000005"),
}


def terms(name: str, kinds: Sequence[st.SearchStrategy[str]], *, ordered: bool) -> Any:
    """Comparisons of a name with values of some types; in order, both ends are of one type."""
    value = st.one_of(*kinds)
    found = [
        st.builds(f"{name} {{}} {{}}".format, ORDERED if ordered else EQUAL, value),
        st.builds(
            f"{name} {{}}IN ({{}})".format,
            NOT,
            st.lists(value, min_size=1, max_size=3).map(", ".join),
        ),
        NOT.map(f"{name} IS {{}}NULL".format),
    ]
    if ordered:
        between = f"{name} {{}}BETWEEN {{}} AND {{}}".format
        found += [st.builds(between, NOT, kind, kind) for kind in kinds]
    if STRING in kinds or WORD in kinds:
        found.append(st.builds(f"{name} {{}}STARTS_WITH {{}}".format, NOT, STRING))
    return st.one_of(*found)


def about(name: str) -> Any:
    """Comparisons of a field, by one of its names."""
    kind = FIELDS[name].kind
    return terms(name, [VALUES[kind]], ordered=kind not in {Kind.STATUS, Kind.TRUTH})


OF_ATTRIBUTE = {
    name: terms(f"`{name}`", [WORD, NUMBER, INSTANT, TRUTH], ordered=True) for name in NAMES
}
ATTRIBUTES = st.sampled_from(NAMES).flatmap(OF_ATTRIBUTE.__getitem__)
TERMS = st.one_of(ATTRIBUTES, st.sampled_from(sorted(FIELDS)).flatmap(about))
CONDITIONS = st.recursive(
    TERMS,
    lambda part: st.one_of(
        part.map("NOT ({})".format),
        st.lists(part, min_size=2, max_size=3).map(lambda parts: f"({' AND '.join(parts)})"),
        st.lists(part, min_size=2, max_size=3).map(lambda parts: f"({' or '.join(parts)})"),
    ),
    max_leaves=8,
)
SORTED_BY = st.sampled_from([f"`{name}`" for name in NAMES] + sorted(FIELDS))
DIRECTION = st.sampled_from(["", " DESC", " asc"])
ORDERS = st.builds("ORDER BY {}{}".format, SORTED_BY, DIRECTION) | st.just("")
NARROW = st.sampled_from(NAMES).flatmap(
    lambda name: st.builds(
        f"{{}} ORDER BY `{name}`{{}}".format,
        st.lists(
            st.builds(f"`{name}` {{}} {{}}".format, ORDERED, WORD | WHOLE)
            | st.builds(f"`{name}` STARTS_WITH {{}}".format, WORD),
            min_size=1,
            max_size=2,
        ).map(" AND ".join),
        DIRECTION,
    )
)
"""Sorted by what they are about: these lists begin and end at the bounds that are asked for."""
TEXTS = NARROW | st.builds("{} {}".format, CONDITIONS | st.just(""), ORDERS)


def several(random: Random) -> bytes:
    """Returns attributes of which many are lists, whose keywords lie on both sides of a bound."""
    attributes = SearchAttributes.FromString(random_attributes(random))
    for name in random.sample(NAMES, 2):
        words = random.sample(WORDS, random.randint(1, 3))
        attributes.values[name].keyword_list.values[:] = words
    return encoded(attributes)


class Pair:
    """The model and a backend, with the same runs."""

    def __init__(self, runner: asyncio.Runner, store: Store) -> None:
        self.do: Callable[[Coroutine[Any, Any, Any]], Any] = runner.run
        self.model, self.store = ModelStore(), store
        self.random = Random(7)
        self.made = 0
        for each in (self.model, store):
            self.do(each.open())
        for _ in range(RUNS):
            self.write()

    def write(self) -> str:
        """Adds a run to both; its id stands anywhere among those of the others."""
        self.made, random = self.made + 1, self.random
        status = random.choice(list(RunStatus))
        parent = random.choice(["", "", "1", "3"])
        run = a_run(
            self.made,
            run_id=f"run-{random.randrange(100):03}{self.made:03}",
            status=status,
            workflow_type=random.choice(["refund", "checkout"]),
            task_queue=random.choice(["shop", "late"]),
            attempt=random.randint(1, 3),
            priority=random.randint(0, 4),
            cancel_requested=random.random() < 0.3,
            created_at_us=START_US + random.randint(0, 4),
            updated_at_us=START_US + random.randint(0, 900),
            started_at_us=random.choice([None, START_US + 2]),
            closed_at_us=START_US + random.randint(0, 900) if status.is_closed else None,
            parent_run_id=parent and f"parent-{parent}",
            parent_workflow_id=parent and f"order-{parent}",
            namespace="other" if random.random() < 0.1 else "default",
        )
        change = attributed(starting(run), several(random))
        for store in (self.model, self.store):
            (outcome,) = self.do(store.commit([alone(change)]))
            assert not isinstance(outcome, Exception)
        return run.run_id

    def same(self, question: Callable[[Store], Coroutine[Any, Any, Any]]) -> Any:
        """Asks both; their answers are the same."""
        expected, told = self.do(question(self.model)), self.do(question(self.store))
        assert told == expected
        return expected

    def listed(self, where: ListFilter) -> list[RunSummary]:
        """Returns all that match, of both the same, and so many as are counted."""
        found: list[RunSummary] = self.same(
            lambda store: store.list_runs(where, after=None, limit=9_999)
        )
        assert self.same(lambda store: store.count_matching(where)) == len(found)
        return found

    def paged(self, where: ListFilter, size: int, writes: int) -> None:
        """Reads a list page by page, by tokens as callers have them, while runs are written."""
        before = [row.run.run_id for row in self.listed(where)]
        seen: list[str] = []
        token = ""
        while True:
            after = read_page_token(token, where.order) if token else None
            page = self.same(lambda store, at=after: store.list_runs(where, after=at, limit=size))
            seen += [row.run.run_id for row in page]
            if len(page) < size:
                break
            token = page_token(where.order, page[-1].run)
            if place_of(where.order, page[-1].run) == after:
                raise AssertionError("the list does not go on")
            if writes:
                self.write()
                writes -= 1
        assert len(seen) == len(set(seen))
        assert [run_id for run_id in seen if run_id in set(before)] == before
        whole = [row.run.run_id for row in self.listed(where)]
        assert seen == [run_id for run_id in whole if run_id in set(seen)]


@contextmanager
def sqlite_store() -> Iterator[Store]:
    with TemporaryDirectory() as folder:
        yield SqliteStore(Path(folder) / "perdure.db")


@pytest.fixture(params=["sqlite", "postgres"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """The model beside each backend; what examples write stays for those that follow."""
    with asyncio.Runner() as runner:
        if request.param == "sqlite":
            with sqlite_store() as store:
                yield Pair(runner, store)
                runner.run(store.close())
            return
        schemas: postgres.Schemas = request.getfixturevalue("schemas")
        with schemas.lent() as schema:
            store = PostgresStore(schemas.url, schema=schema)
            yield Pair(runner, store)
            runner.run(store.close())


@pytest.mark.timeout(240)  # hundreds of lists, page by page
def test_a_backend_answers_any_filter_as_the_model_does(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    @settings(
        derandomize=True,
        deadline=None,
        database=None,
        max_examples=150,
        suppress_health_check=list(HealthCheck),
    )
    @given(
        text=TEXTS,
        way=st.sampled_from(sorted(WAYS)),
        by=SORTED_BY,
        size=st.integers(1, 20),
        writes=st.sampled_from([0, 0, 0, 2]),
    )
    def check(text: str, way: str, by: str, size: int, writes: int) -> None:
        for name, bound in (BOUNDS | WAYS[way]).items():
            monkeypatch.setattr(listing, name, bound)
        condition, order = read_filter(text, now_us=START_US)
        where = ListFilter("default", condition=condition, order=order)
        pair.paged(where, size, writes)
        group: Field | str = FIELDS.get(by) or by.strip("`")
        pair.same(lambda store: store.count_groups(where, group, limit=size))

    check()
