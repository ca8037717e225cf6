"""Owns how lists and counts of runs are asked of a database: which statement, from which index.

A list is a walk along an index in its order, or a sort of few runs that another index finds. Which
of the two is cheaper depends on how many runs the conditions leave, so the sources that a filter
offers are counted first, up to a bound. How many runs all conditions leave together is not known
from that. So a walk by run id begins with a stretch, and when that does not fill the page the
sources are counted further, and the rest comes from the smallest of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import islice
from typing import Any, Final

from perdure_server.core.attribute_keys import INSTANT, STRING
from perdure_server.core.filters.conditions import (
    Attribute,
    Compared,
    Condition,
    Every,
    Missing,
    Negation,
    Order,
    Some,
    conjuncts,
    every,
    missing,
)
from perdure_server.core.filters.fields import FIELDS, Field, Kind
from perdure_server.core.filters.syntax import Operator
from perdure_server.store.contract import ListFilter, Place, RunGroup
from perdure_server.store.pieces import Pieces, Sql

Row = Sequence[Any]
Ask = Callable[[Sql], Awaitable[list[Row]]]
"""Runs a statement and returns its rows."""

FEW: Final = 2_000
"""Runs that are sorted rather than walked past: as many take a few milliseconds."""
STRETCH: Final = 1_000
"""Runs that a walk passes before another way is looked for: as many take a few milliseconds."""
MANY: Final = 20_000
"""Runs that are sorted rather than walked past when a stretch of the walk filled no page."""
NEAREST: Final = 3_000
"""Of many that are sorted, those that are looked at first."""
_COUNTED: Final = 100_000
"""Runs that are looked up one by one to be counted, rather than all of the namespace."""
_SOURCES_MAX: Final = 4
"""Sources that are counted before a list: each is a statement."""
_NEWEST: Final = Order(FIELDS["run_id"], descending=True)
_EQUAL_INDEXED: Final = frozenset({"status", "workflow_type", "workflow_id", "run_id"})
_ORDERED_BY_ID: Final = frozenset({"status", "workflow_type"})
_RANGE_INDEXED: Final = frozenset({"created_at", "completed_at"})


@dataclass(slots=True, frozen=True)
class _Source:
    """What an index finds."""

    sql: Sql
    in_order: bool
    """Whether it has each run once, by run id."""
    is_walked: bool
    """Whether a walk goes along it: in order, and not as well along the runs themselves."""


@dataclass(slots=True, frozen=True)
class _Relation:
    """What a statement reads: runs, and where their ids are read."""

    sql: Sql
    id: Sql
    few: Sql | None = None
    """The source, when it has few runs."""


class Listing:
    """Lists and counts runs with the pieces of one backend."""

    def __init__(self, queries: Mapping[str, str], ask: Ask) -> None:
        self._pieces = Pieces(queries)
        self._ask = ask

    async def page(self, where: ListFilter, *, after: Place | None, limit: int) -> list[Row]:
        """Returns the rows of at most `limit` summaries behind a place, in the order of the list.

        Runs without a value to sort by follow those that have one.
        """
        order = where.order or _NEWEST
        condition = condition_of(where)
        sources = self._sources(where.namespace, condition)
        few = await self._fewest(sources, FEW)
        relation = self._few(few) if few is not None else self._walk(sources)
        query = _Query(self._pieces, where.namespace, condition, order)
        found: list[Row] = []
        if order.by != _NEWEST.by and (after is None or after.key is not None):
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
        relation = await self._counted(where.namespace, condition)
        query = _Query(self._pieces, where.namespace, condition, _NEWEST)
        ((count,),) = await self._ask(query.count(relation))
        return int(count)

    async def groups(self, where: ListFilter, by: Field | str, *, limit: int) -> list[RunGroup]:
        """Returns values with how many matching runs have each, the largest groups first."""
        condition = condition_of(where)
        relation = await self._counted(where.namespace, condition)
        query = _Query(self._pieces, where.namespace, condition, Order(by, descending=True))
        found = await self._ask(query.groups(relation, limit))
        is_truth = isinstance(by, Field) and by.kind is Kind.TRUTH
        return [RunGroup(bool(value) if is_truth else value, count) for value, count in found]

    async def _by_stretches(
        self, query: _Query, sources: Sequence[_Source], after: Place | None, limit: int
    ) -> list[Row]:
        """Returns runs by id when every source has many.

        First come those in a stretch of the walk. Then the smallest source is put in order, and
        the nearest of what it finds are looked at first; is even that too large, the walk goes on.
        """
        walk = self._walk(sources)
        passed = next((source.sql for source in sources if source.in_order), None)
        edge = await self._edge(query, passed, after)
        found = await self._ask(query.by_id(walk, after, limit, edge))
        if edge is None or len(found) == limit:
            return found
        smallest = await self._fewest(sources, MANY)
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

    async def _edge(self, query: _Query, source: Sql | None, after: Place | None) -> Place | None:
        """Returns where a stretch of a source, or of all runs, ends; None when the source does."""
        rows = await self._ask(query.edge(source, after))
        return Place(rows[0][0]) if rows else None

    async def _counted(self, namespace: str, condition: Condition | None) -> _Relation | None:
        """Returns what is read to count all that match."""
        sources = self._sources(namespace, condition)
        smallest = await self._fewest(sources, _COUNTED)
        return self._few(smallest) if smallest is not None else self._walk(sources)

    async def _fewest(self, sources: Sequence[_Source], bound: int) -> _Source | None:
        """Returns the source that has the fewest rows, None when none has less than a bound."""
        chosen: _Source | None = None
        for source in sources:
            counted = self._pieces.make("counted_source", bound, source=source.sql)
            ((count,),) = await self._ask(counted)
            if count < bound:
                bound, chosen = count, source
        return chosen

    def _few(self, source: _Source) -> _Relation:
        return replace(self._relation("relation_of_few", source), few=source.sql)

    def _walk(self, sources: Sequence[_Source]) -> _Relation | None:
        """Returns the runs of a key, else None: all of them."""
        key = next((source for source in sources if source.is_walked), None)
        return self._relation("relation_of_key", key) if key is not None else None

    def _relation(self, name: str, source: _Source) -> _Relation:
        pieces = self._pieces
        return _Relation(pieces.make(name, source=source.sql), pieces.make("id_of_found"))

    def _sources(self, namespace: str, condition: Condition | None) -> list[_Source]:
        return list(islice(self._all_sources(namespace, condition), _SOURCES_MAX))

    def _all_sources(self, namespace: str, condition: Condition | None) -> Iterator[_Source]:
        make = self._pieces.make
        fields: defaultdict[str, list[Condition]] = defaultdict(list)
        for part in conjuncts(condition):
            match part:
                case Attribute(name, low, high):
                    if part.key is not None:
                        sql = make("source_by_key", namespace, name, part.key)
                        yield _Source(sql, in_order=True, is_walked=True)
                    else:
                        sql = make("source_by_range", namespace, name, low, high)
                        yield _Source(sql, in_order=False, is_walked=False)
                case Compared(Field(name="parent_run_id"), Operator.EQUAL, str(run_id)) if run_id:
                    sql = make("source_by_parent", namespace, run_id)
                    yield _Source(sql, in_order=True, is_walked=True)
                case Compared(Field(name="parent_workflow_id"), Operator.EQUAL, str(id_)) if id_:
                    sql = make("source_by_parent_workflow", namespace, id_)
                    yield _Source(sql, in_order=True, is_walked=True)
                case Compared(field, operator) if _is_indexed(field, operator):
                    fields[field.name].append(part)
        for name, parts in fields.items():
            sql = make("source_by_field", namespace, condition=sql_of(self._pieces, every(*parts)))
            yield _Source(sql, in_order=name in _ORDERED_BY_ID, is_walked=False)


@dataclass(slots=True, frozen=True)
class _Query:
    """The statements of one filter."""

    pieces: Pieces
    namespace: str
    condition: Condition | None
    order: Order

    @property
    def has_missing(self) -> bool:
        """Whether a run may have nothing to sort by."""
        by = self.order.by
        return isinstance(by, str) or by.nullable

    @property
    def missing(self) -> Condition | None:
        """What holds of runs that have nothing to sort by; None when all are sorted by id."""
        return None if self.order.by == _NEWEST.by else missing(self.order.by)

    def sorted(self, source: _Relation | None, after: Place | None, limit: int) -> Sql:
        """Returns the statement of the runs that have something to sort by."""
        by, make = self.order.by, self.pieces.make
        relation, bounds = self._relation(source), [make("always")]
        if isinstance(by, Field):
            place = make(f"column_by_{by.name}")
            present = Negation(Missing(by)) if by.nullable else None
            condition = every(self.condition, present)
        else:
            place, condition = make("place_sorted"), self.condition
            relation, bounds = self._in_order(by, source), self._within(by, after)
        if after is not None:
            name = f"after_place_by_{self._direction}"
            bounds.append(make(name, after.key, after.run_id, place=place, id=relation.id))
        keys = make(
            "page_keys",
            self.namespace,
            limit,
            id=relation.id,
            place=place,
            relation=relation.sql,
            condition=sql_of(self.pieces, condition, self._hidden),
            after=_joined(self.pieces, "both", bounds),
            direction=self._word,
        )
        return make("listed_runs", keys=keys, direction=self._word)

    def by_id(
        self,
        source: _Relation | None,
        after: Place | None,
        limit: int,
        until: Place | None = None,
    ) -> Sql:
        """Returns the statement of runs in the order of their ids, behind a place and until one."""
        make, relation = self.pieces.make, self._relation(source)
        keys = make(
            "page_keys_by_id",
            self.namespace,
            limit,
            id=relation.id,
            relation=relation.sql,
            condition=sql_of(self.pieces, self.condition, self._hidden),
            after=self._between(relation.id, after, until),
            direction=self._word,
        )
        return make("listed_runs", keys=keys, direction=self._word)

    def nearest(self, source: Sql, after: Place, limit: int) -> Sql:
        """Returns the runs of a source that come next behind a place, in order."""
        given = self._between(self.pieces.make("id_of_given"), after, None)
        return self.pieces.make(
            "nearest_of_source", limit, source=source, condition=given, direction=self._word
        )

    def edge(self, source: Sql | None, after: Place | None) -> Sql:
        """Returns the statement of the id at which a stretch of a source in order ends."""
        make = self.pieces.make
        return make(
            "edge_of_source",
            STRETCH - 1,
            source=source or make("source_of_all", self.namespace),
            condition=self._between(make("id_of_given"), after, None),
            direction=self._word,
        )

    def count(self, source: _Relation | None) -> Sql:
        """Returns the statement that counts runs."""
        return self.pieces.make(
            "counted_runs",
            self.namespace,
            relation=self._relation(source).sql,
            condition=sql_of(self.pieces, self.condition),
        )

    def groups(self, source: _Relation | None, limit: int) -> Sql:
        """Returns the statement that counts runs by value."""
        by, make = self.order.by, self.pieces.make
        relation = self._relation(source).sql
        if isinstance(by, Field):
            place = make(f"column_by_{by.name}")
        else:
            place = make("place_grouped")
            relation = make("relation_with_groups", by, relation=relation)
        return make(
            "counted_groups",
            self.namespace,
            limit,
            relation=relation,
            place=place,
            condition=sql_of(self.pieces, self.condition),
        )

    def _between(self, place: Sql, after: Place | None, until: Place | None) -> Sql:
        make, bounds = self.pieces.make, [self.pieces.make("always")]
        if after is not None:
            bounds = [make(f"after_id_by_{self._direction}", after.run_id, id=place)]
        if until is not None:
            bounds.append(make(f"until_id_by_{self._direction}", until.run_id, id=place))
        return _joined(self.pieces, "both", bounds)

    @property
    def _direction(self) -> str:
        return "descending" if self.order.descending else "ascending"

    @property
    def _hidden(self) -> frozenset[str]:
        """The fields by which the runs of a page are not found, since its order is another."""
        by = self.order.by
        return _RANGE_INDEXED - {by.name} if isinstance(by, Field) else _RANGE_INDEXED

    @property
    def _word(self) -> Sql:
        return self.pieces.make(f"in_order_by_{self._direction}")

    def _relation(self, source: _Relation | None) -> _Relation:
        make = self.pieces.make
        return source or _Relation(make("relation_of_all"), make("id_of_run"))

    def _in_order(self, name: str, source: _Relation | None) -> _Relation:
        """Returns the runs that have an attribute, in its order unless they are few."""
        make = self.pieces.make
        if source is not None and source.few is not None:
            sql = make("relation_of_few_in_order", name, source=source.few)
            return _Relation(sql, source.id)
        return _Relation(make("relation_in_order", self.namespace, name), make("id_of_sorted"))

    def _within(self, name: str, after: Place | None) -> list[Sql]:
        """Returns between which keys runs are sorted by an attribute, as far as a place does not.

        A run that has a key below a bound has its least key there. Only keywords and words can
        be several, so the least key is above the lower bound as well when these are not meant.
        """
        make = self.pieces.make
        bounds = [make("always")]
        for part in conjuncts(self.condition):
            if not isinstance(part, Attribute) or part.name != name:
                continue
            if after is None or not self.order.descending:
                bounds.append(make("place_below", part.high))
            is_single = part.high <= STRING or part.low >= INSTANT
            if is_single and (after is None or self.order.descending):
                bounds.append(make("place_since", part.low))
        return bounds


def sql_of(
    pieces: Pieces, condition: Condition | None, hidden: frozenset[str] = frozenset()
) -> Sql:
    """Returns a condition as a piece of a statement about `runs`.

    By `hidden` fields no runs are found: a database that does not know how many would walk their
    index and sort what it finds.
    """
    make = pieces.make
    match condition:
        case None:
            return make("always")
        case Every(parts):
            return _joined(pieces, "both", [sql_of(pieces, part, hidden) for part in parts])
        case Some(parts):
            return _joined(pieces, "either", [sql_of(pieces, part, hidden) for part in parts])
        case Negation(part) if not isinstance(part, Missing):
            return make("negated", part=sql_of(pieces, part, hidden))
    return _leaf(pieces, condition, hidden)


def _joined(pieces: Pieces, name: str, parts: Sequence[Sql]) -> Sql:
    return reduce(lambda left, right: pieces.make(name, left=left, right=right), parts)


def _leaf(
    pieces: Pieces,
    condition: Compared | Missing | Attribute | Negation,
    hidden: frozenset[str],
) -> Sql:
    make = pieces.make
    match condition:
        case Compared(field, operator, value):
            column = make(f"column_by_{field.name}")
            if field.name in hidden:
                column = make("hidden", column=column)
            compared = make(f"compared_by_{operator}", value, column=column)
            return make("present", column=column, part=compared) if field.nullable else compared
        case Missing(field):
            return make("missing", column=make(f"column_by_{field.name}"))
        case Negation(Missing(field)):
            return make("set", column=make(f"column_by_{field.name}"))
        case Attribute(name, low, high) if condition.key is None:
            return make("attribute_by_range", name, low, high)
        case Attribute(name, key):
            return make("attribute_by_key", name, key)
    raise AssertionError(condition)


def condition_of(where: ListFilter) -> Condition | None:
    """Returns all that a filter asks for as one condition."""
    status, type_ = where.status, where.workflow_type
    return every(
        Compared(FIELDS["status"], Operator.EQUAL, status.value) if status else None,
        Compared(FIELDS["workflow_type"], Operator.EQUAL, type_) if type_ else None,
        where.condition,
    )


def _is_indexed(field: Field, operator: Operator) -> bool:
    if operator is Operator.EQUAL:
        return field.name in _EQUAL_INDEXED | _RANGE_INDEXED
    return field.name in _RANGE_INDEXED
