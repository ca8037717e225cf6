"""Owns the statements of one filter: its pages, behind a place and until one, and its counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from types import MappingProxyType
from typing import Final

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
from perdure_server.core.filters.fields import FIELDS, Field
from perdure_server.core.filters.syntax import Operator
from perdure_server.store.contract import ListFilter, Place
from perdure_server.store.pieces import Pieces, Sql

NEWEST: Final = Order(FIELDS["run_id"], descending=True)
BY_TIME: Final = frozenset({"created_at", "completed_at"})
"""The instants that have an index."""
_HIDDEN: Final = MappingProxyType(dict.fromkeys(BY_TIME, "hidden"))
"""The fields by which no runs are found, and the piece that keeps a database from it."""
_NOTHING_HIDDEN: Final[Mapping[str, str]] = MappingProxyType({})
_UPPER: Final = frozenset({Operator.BELOW, Operator.UP_TO})


@dataclass(slots=True, frozen=True)
class Relation:
    """What a statement reads: runs, and where their ids are read."""

    sql: Sql
    id: Sql
    parts: tuple[Condition, ...] = ()
    """The conditions that hold of all of them, which are not looked at again."""
    few: Sql | None = None
    """The source, when it has few runs."""


@dataclass(slots=True, frozen=True)
class Source:
    """What an index finds."""

    sql: Sql
    in_order: bool
    """Whether it has each run once, by run id."""
    is_walked: bool
    """Whether a walk goes along it: in order, and not as well along the runs themselves."""
    parts: tuple[Condition, ...]
    """The conditions that hold of all that it finds."""


@dataclass(slots=True, frozen=True)
class Query:
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
        return None if self.order.by == NEWEST.by else missing(self.order.by)

    @property
    def is_timed(self) -> bool:
        """Whether it is sorted by an instant that has an index."""
        return isinstance(self.order.by, Field) and self.order.by.name in BY_TIME

    def bounds(self, source: Source) -> bool:
        """Whether a source is what the order has between two bounds."""
        return any(
            isinstance(each, Compared) and each.field == self.order.by for each in source.parts
        )

    def sorted(
        self,
        source: Relation | None,
        after: Place | None,
        limit: int,
        until: Place | None = None,
    ) -> Sql:
        """Returns the statement of the runs that have something to sort by, until a place."""
        by, make = self.order.by, self.pieces.make
        relation, bounds = self._relation(source), [make("always")]
        if isinstance(by, Field):
            place = make(f"column_by_{by.name}")
            condition = every(self._left(source), self._present)
            bounds = self._within_time(after, until)
        else:
            condition = self._left(source if source is not None and source.few else None)
            place = make("place_sorted")
            relation, bounds = self._in_order(by, source), self._within(by, after)
        if after is not None:
            name = f"after_place_by_{self._direction}"
            bounds.append(make(name, after.key, after.run_id, place=place, id=relation.id))
        if until is not None:
            name = f"until_place_by_{self._direction}"
            bounds.append(make(name, until.key, until.run_id, place=place, id=relation.id))
        keys = make(
            "page_keys",
            self.namespace,
            limit,
            id=relation.id,
            place=place,
            relation=relation.sql,
            condition=sql_of(self.pieces, condition, self._kept_from_indexes),
            after=_joined(self.pieces, "both", bounds),
            direction=self._word,
        )
        return make("listed_runs", keys=keys, direction=self._word)

    def by_id(
        self,
        source: Relation | None,
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
            condition=sql_of(self.pieces, self._left(source), _HIDDEN),
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

    def edge(self, source: Sql | None, after: Place | None, length: int) -> Sql:
        """Returns the statement of the id at which a stretch of a source in order ends."""
        make = self.pieces.make
        return make(
            "edge_of_source",
            length - 1,
            source=source or make("source_of_all", self.namespace),
            condition=self._between(make("id_of_given"), after, None),
            direction=self._word,
        )

    def edge_by_time(self, after: Place | None, length: int) -> Sql:
        """Returns the statement of the place at which a stretch in the order of time ends."""
        by, make = self.order.by, self.pieces.make
        assert isinstance(by, Field)
        place, bounds = make(f"column_by_{by.name}"), self._within_time(after, None)
        if after is not None:
            name = f"after_place_by_{self._direction}"
            bounds.append(make(name, after.key, after.run_id, place=place, id=make("id_of_run")))
        return make(
            "edge_by_time",
            self.namespace,
            length - 1,
            place=place,
            condition=sql_of(self.pieces, self._present),
            after=_joined(self.pieces, "both", bounds),
            direction=self._word,
        )

    def count(self, source: Relation | None) -> Sql:
        """Returns the statement that counts runs."""
        return self.pieces.make(
            "counted_runs",
            self.namespace,
            relation=self._relation(source).sql,
            condition=sql_of(self.pieces, self._left(source)),
        )

    def groups(self, source: Relation | None, limit: int) -> Sql:
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
            condition=sql_of(self.pieces, self._left(source)),
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
    def _kept_from_indexes(self) -> Mapping[str, str]:
        """The fields by which the runs of a sorted page are not found.

        The instant by which it is sorted is sought between the bounds of `_within_time` alone:
        beside a place, the bounds of the list would make PostgreSQL walk until these.
        """
        by = self.order.by
        if not isinstance(by, Field) or by.name not in BY_TIME:
            return _HIDDEN
        return {**_HIDDEN, by.name: "barred"}

    def _left(self, source: Relation | None) -> Condition | None:
        """Returns what does not hold anyway of the runs that are read."""
        parts = source.parts if source is not None else ()
        return every(*(each for each in conjuncts(self.condition) if each not in parts))

    @property
    def _present(self) -> Condition | None:
        """What holds of runs that have a field to sort by; None when all have it."""
        by = self.order.by
        return Negation(Missing(by)) if isinstance(by, Field) and by.nullable else None

    @property
    def _word(self) -> Sql:
        return self.pieces.make(f"in_order_by_{self._direction}")

    def _relation(self, source: Relation | None) -> Relation:
        make = self.pieces.make
        return source or Relation(make("relation_of_all"), make("id_of_run"))

    def _in_order(self, name: str, source: Relation | None) -> Relation:
        """Returns the runs that have an attribute, in its order unless they are few."""
        make = self.pieces.make
        if source is not None and source.few is not None:
            sql = make("relation_of_few_in_order", name, source=source.few)
            return Relation(sql, source.id)
        return Relation(make("relation_in_order", self.namespace, name), make("id_of_sorted"))

    def _within_time(self, after: Place | None, until: Place | None) -> list[Sql]:
        """Returns between which instants runs are sorted by one, as far as places do not.

        Beside a place the bound on its side would only keep the index from being entered there.
        """
        bounds = [self.pieces.make("always")]
        for part in conjuncts(self.condition):
            if not isinstance(part, Compared) or part.field != self.order.by or not self.is_timed:
                continue
            is_first = (part.operator in _UPPER) == self.order.descending
            if (after if is_first else until) is None:
                bounds.append(sql_of(self.pieces, part))
        return bounds

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
    pieces: Pieces, condition: Condition | None, hidden: Mapping[str, str] = _NOTHING_HIDDEN
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
    hidden: Mapping[str, str],
) -> Sql:
    make = pieces.make
    match condition:
        case Compared(field, operator, value):
            column = make(f"column_by_{field.name}")
            if field.name in hidden:
                column = make(hidden[field.name], column=column)
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
