"""Owns how lists and counts of runs are asked of a database: which statement, from which index.

A list is a walk along an index in its order, or a sort of few runs that another index finds. Which
of the two is cheaper depends on how many runs the conditions leave, so the sources that a filter
offers are counted first, up to a bound. How many runs all conditions leave together is not known
from that. So a walk by run id, or by an instant, begins with stretches, and when these do not fill
the page the sources are counted further, and the rest comes from the smallest of them.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any, Final

from perdure_server.core.filters.conditions import (
    Attribute,
    Compared,
    Condition,
    Order,
    conjuncts,
    every,
)
from perdure_server.core.filters.fields import Field, Kind
from perdure_server.core.filters.syntax import Operator
from perdure_server.store.contract import ListFilter, Place, RunGroup
from perdure_server.store.list_statements import (
    BY_TIME,
    NEWEST,
    Query,
    Relation,
    Source,
    condition_of,
    sql_of,
)
from perdure_server.store.pieces import Pieces, Sql

Row = Sequence[Any]
Ask = Callable[[Sql], Awaitable[list[Row]]]
"""Runs a statement and returns its rows."""

FEW: Final = 2_000
"""Runs that are sorted rather than walked past: as many take a few milliseconds."""
STRETCH: Final = 1_000
"""A walk begins with a quarter of so many runs. It passes up to three times as many, which take
some milliseconds, when the page may be full by then; else another way is looked for."""
MANY: Final = 20_000
"""Runs that are sorted rather than walked past when a stretch of the walk filled no page."""
NEAREST: Final = 3_000
"""Of many that are sorted, those that are looked at first."""
_COUNTED: Final = 100_000
"""Runs that are looked up one by one to be counted, rather than all of the namespace."""
_ALL: Final = 2**62
"""More rows than any source has."""
_SOURCES_MAX: Final = 4
"""Sources that are counted before a list: each is a statement."""
_EQUAL_INDEXED: Final = frozenset({"status", "workflow_type", "workflow_id", "run_id"})
_ORDERED_BY_ID: Final = frozenset({"status", "workflow_type"})


class Listing:
    """Lists and counts runs with the pieces of one backend."""

    def __init__(self, queries: Mapping[str, str], ask: Ask) -> None:
        self._pieces = Pieces(queries)
        self._ask = ask
        self._turn = asyncio.Lock()
        """Held by the one count that is under way: the other connections are for short reads."""

    async def page(self, where: ListFilter, *, after: Place | None, limit: int) -> list[Row]:
        """Returns the rows of at most `limit` summaries behind a place, in the order of the list.

        Runs without a value to sort by follow those that have one.
        """
        order = where.order or NEWEST
        condition = condition_of(where)
        sources = self._sources(where.namespace, condition)
        few = await self._fewest(sources, FEW)
        relation = self._few(few) if few is not None else self._walk(sources)
        query = Query(self._pieces, where.namespace, condition, order)
        found: list[Row] = []
        if order.by != NEWEST.by and (after is None or after.key is not None):
            if few is None and sources and query.is_timed:
                found = await self._by_time(query, sources, after, limit)
            else:
                found = await self._ask(query.sorted(relation, after, limit))
            after = None
            if len(found) == limit or not query.has_missing:
                return found
        rest = replace(query, condition=every(condition, query.missing))
        limit -= len(found)
        if few is None and sources:
            return found + await self._by_stretches(rest, sources, after, limit)
        return found + await self._ask(rest.by_id(relation, after, limit))

    async def count(self, where: ListFilter) -> int:
        """Returns how many runs match."""
        condition = condition_of(where)
        query = Query(self._pieces, where.namespace, condition, NEWEST)
        async with self._turn:
            for source in self._sources(where.namespace, condition):
                if source.in_order and source.parts == tuple(conjuncts(condition)):
                    return await self._length(source, _ALL)
            relation = await self._counted(where.namespace, condition)
            ((count,),) = await self._ask(query.count(relation))
            return int(count)

    async def groups(self, where: ListFilter, by: Field | str, *, limit: int) -> list[RunGroup]:
        """Returns values with how many matching runs have each, the largest groups first."""
        condition = condition_of(where)
        query = Query(self._pieces, where.namespace, condition, Order(by, descending=True))
        async with self._turn:
            relation = await self._counted(where.namespace, condition)
            found = await self._ask(query.groups(relation, limit))
        is_truth = isinstance(by, Field) and by.kind is Kind.TRUTH
        return [RunGroup(bool(value) if is_truth else value, count) for value, count in found]

    async def _by_stretches(
        self, query: Query, sources: Sequence[Source], after: Place | None, limit: int
    ) -> list[Row]:
        """Returns runs by id when every source has many.

        First come those in stretches of the walk. Then the smallest source is put in order, and
        the nearest of what it finds are looked at first; is even that too large, the walk goes on.
        """
        walk = self._walk(sources)
        passed = next((source.sql for source in sources if source.in_order), None)
        steps = _Steps(partial(query.edge, passed), partial(query.by_id, walk))
        found, edge = await self._stretches(steps, after, limit)
        if edge is None:
            return found
        smallest = await self._smallest(sources)
        if smallest is None or smallest.in_order:
            rest = walk if smallest is None else self._relation("relation_of_key", smallest)
            return found + await self._ask(query.by_id(rest, edge, limit - len(found)))
        for nearest in (NEAREST, MANY):
            near = replace(smallest, sql=query.nearest(smallest.sql, edge, nearest))
            relation = self._relation("relation_of_key", near)
            found += await self._ask(query.by_id(relation, edge, limit - len(found)))
            if len(found) == limit:
                break
            edge = Place(found[-1][0]) if found else edge
        return found

    async def _by_time(
        self, query: Query, sources: Sequence[Source], after: Place | None, limit: int
    ) -> list[Row]:
        """Returns runs by an instant that has an index, when every source has many."""
        steps = _Steps(query.edge_by_time, partial(query.sorted, None))
        found, edge = await self._stretches(steps, after, limit)
        if edge is None:
            return found
        smallest = await self._smallest(sources)
        if smallest is None or query.bounds(smallest):
            return found + await self._ask(query.sorted(None, edge, limit - len(found)))
        relation = self._few(smallest)
        return found + await self._ask(query.sorted(relation, edge, limit - len(found)))

    async def _stretches(
        self, steps: _Steps, after: Place | None, limit: int
    ) -> tuple[list[Row], Place | None]:
        """Returns what stretches of a walk find, and where they end; None when the list does."""
        found: list[Row] = []
        length = max(STRETCH // 4, 1)
        for farther in (3 * STRETCH, 0):
            rows = await self._ask(steps.edge(after, length))
            edge = Place(*rows[0]) if rows else None
            found += await self._ask(steps.page(after, limit - len(found), edge))
            if edge is None or len(found) == limit:
                return found, None
            after = edge
            if (limit - len(found)) * length > farther * len(found):
                break
            length = farther
        return found, after

    async def _counted(self, namespace: str, condition: Condition | None) -> Relation | None:
        """Returns what is read to count all that match."""
        sources = self._sources(namespace, condition)
        smallest = await self._fewest(sources, _COUNTED)
        return self._few(smallest) if smallest is not None else self._walk(sources)

    async def _fewest(self, sources: Sequence[Source], bound: int) -> Source | None:
        """Returns the source that has the fewest rows, None when none has less than a bound."""
        chosen: Source | None = None
        for source in sources:
            count = await self._length(source, bound)
            if count < bound:
                bound, chosen = count, source
        return chosen

    async def _length(self, source: Source, bound: int) -> int:
        """Returns how many rows a source has, up to a bound."""
        counted = self._pieces.make("counted_source", bound, source=source.sql)
        ((count,),) = await self._ask(counted)
        return int(count)

    async def _smallest(self, sources: Sequence[Source]) -> Source | None:
        """Returns the source that is put in order when a stretch filled no page, if one is.

        Ranges are counted first: along a key a walk has gone, so it has many.
        """
        return await self._fewest(sorted(sources, key=lambda source: source.in_order), MANY)

    def _few(self, source: Source) -> Relation:
        return replace(self._relation("relation_of_few", source), few=source.sql)

    def _walk(self, sources: Sequence[Source]) -> Relation | None:
        """Returns the runs of a key, else None: all of them."""
        key = next((source for source in sources if source.is_walked), None)
        return self._relation("relation_of_key", key) if key is not None else None

    def _relation(self, name: str, source: Source) -> Relation:
        pieces = self._pieces
        sql = pieces.make(name, source=source.sql)
        return Relation(sql, pieces.make("id_of_found"), source.parts)

    def _sources(self, namespace: str, condition: Condition | None) -> list[Source]:
        return list(islice(self._all_sources(namespace, condition), _SOURCES_MAX))

    def _all_sources(self, namespace: str, condition: Condition | None) -> Iterator[Source]:
        make = self._pieces.make
        fields: defaultdict[str, list[Condition]] = defaultdict(list)
        for part in conjuncts(condition):
            match part:
                case Attribute(name, low, high):
                    if part.key is not None:
                        sql = make("source_by_key", namespace, name, part.key)
                        yield Source(sql, in_order=True, is_walked=True, parts=(part,))
                    else:
                        sql = make("source_by_range", namespace, name, low, high)
                        yield Source(sql, in_order=False, is_walked=False, parts=(part,))
                case Compared(Field(name="parent_run_id"), Operator.EQUAL, str(run_id)) if run_id:
                    sql = make("source_by_parent", namespace, run_id)
                    yield Source(sql, in_order=True, is_walked=True, parts=(part,))
                case Compared(Field(name="parent_workflow_id"), Operator.EQUAL, str(id_)) if id_:
                    sql = make("source_by_parent_workflow", namespace, id_)
                    yield Source(sql, in_order=True, is_walked=True, parts=(part,))
                case Compared(field, operator) if _is_indexed(field, operator):
                    fields[field.name].append(part)
        for name, parts in fields.items():
            sql = make("source_by_field", namespace, condition=sql_of(self._pieces, every(*parts)))
            in_order = name in _ORDERED_BY_ID
            yield Source(sql, in_order=in_order, is_walked=False, parts=tuple(parts))


@dataclass(slots=True, frozen=True)
class _Steps:
    """The statements of a walk: where a stretch of it ends, and a page behind a place."""

    edge: Callable[[Place | None, int], Sql]
    page: Callable[[Place | None, int, Place | None], Sql]


def _is_indexed(field: Field, operator: Operator) -> bool:
    if operator is Operator.EQUAL:
        return field.name in _EQUAL_INDEXED | BY_TIME
    return field.name in BY_TIME
