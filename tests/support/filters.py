"""Owns random filters and attributes for tests, and which queries are pieces of filters."""

from __future__ import annotations

import re
from pathlib import Path
from random import Random
from typing import Final

from perdure.v1.search_attributes_pb2 import KeywordList, SearchAttribute, SearchAttributes
from perdure_server.core.attribute_keys import instant_text
from perdure_server.core.attributes import encoded
from perdure_server.core.filters.conditions import Condition, Order
from perdure_server.core.filters.fields import FIELDS, Kind
from perdure_server.core.filters.reading import read_filter
from perdure_server.core.times import to_timestamp
from tests.support.histories import START_US

NAMES: Final = ("team", "amount", "due", "note", "status")
FIELD_NAMES: Final = tuple(sorted({field.name for field in FIELDS.values()}))
_WORDS: Final = ("a", "ab", "b", "ba", "late parcel", "")
_COMPARISONS: Final = ("=", "!=", "<", "<=", ">", ">=")
_PIECES: Final = Path("server/perdure_server/store/postgres/queries/filters.sql")


def pieces_of_filters() -> set[str]:
    """Returns the names of the queries that are pieces of others."""
    root = Path(__file__).parents[2]
    text = root.joinpath(_PIECES).read_text(encoding="utf-8")
    return set(re.findall(r"^-- name: (\w+)$", text, re.MULTILINE))


def random_attributes(random: Random) -> bytes:
    """Returns encoded attributes of a run, few of each kind, so that runs share them."""
    attributes = SearchAttributes()
    for name in random.sample(NAMES, random.randint(0, 3)):
        attributes.values[name].CopyFrom(_random_value(random))
    return encoded(attributes)


def random_filter(random: Random, depth: int = 0) -> str:
    """Returns a filter as text that is good."""
    if depth < 3 and random.random() < 0.5:
        join = random.choice([" AND ", " OR "])
        parts = [random_filter(random, depth + 1) for _ in range(random.randint(2, 3))]
        return f"({join.join(parts)})"
    if random.random() < 0.2:
        return f"NOT {random_filter(random, depth + 1)}"
    return random.choice([_about_attribute, _about_field])(random)


def random_condition(random: Random) -> Condition | None:
    """Returns a checked filter."""
    return read_filter(random_filter(random), now_us=START_US)[0]


def random_order(random: Random) -> Order | None:
    """Returns an order, or none."""
    if random.random() < 0.4:
        return None
    by = random.choice(NAMES) if random.random() < 0.5 else FIELDS[random.choice(FIELD_NAMES)]
    return Order(by, descending=random.random() < 0.5)


def _about_attribute(random: Random) -> str:
    name = f"`{random.choice(NAMES)}`"
    kind = random.random()
    if kind < 0.15:
        return f"{name} IS {random.choice(['', 'NOT '])}NULL"
    if kind < 0.3:
        return f"{name} STARTS_WITH '{random.choice(_WORDS)}'"
    if kind < 0.45:
        low, high = sorted(random.sample(range(5), 2))
        return f"{name} BETWEEN {low} AND {high}.5"
    if kind < 0.6:
        return f"{name} IN ({_literal(random)}, {_literal(random)})"
    return f"{name} {random.choice(_COMPARISONS)} {_literal(random)}"


def _about_field(random: Random) -> str:
    field = FIELDS[random.choice(FIELD_NAMES)]
    if random.random() < 0.15:
        return f"{field.name} IS {random.choice(['', 'NOT '])}NULL"
    comparison = random.choice(_COMPARISONS)
    match field.kind:
        case Kind.STATUS:
            status = random.choice(["PENDING", "RUNNING", "FAILED", "COMPLETED"])
            return f"{field.name} {random.choice(['=', '!='])} '{status}'"
        case Kind.TRUTH:
            return f"{field.name} = {random.choice(['true', 'false'])}"
        case Kind.STRING:
            return f"{field.name} {comparison} '{random.choice(['order-7', 'refund', 'shop'])}'"
        case Kind.INSTANT:
            return f"{field.name} {comparison} now() + {random.randint(0, 900)}us"
        case Kind.WHOLE:
            return f"{field.name} {comparison} {random.randint(0, 5)}"


def _literal(random: Random) -> str:
    return random.choice(
        [
            f"'{random.choice(_WORDS)}'",
            str(random.randint(0, 5)),
            f"{random.randint(0, 4)}.5",
            random.choice(["true", "false"]),
            f"'{instant_text(START_US + random.randint(0, 3))}'",
        ]
    )


def _random_value(random: Random) -> SearchAttribute:
    words = random.sample(_WORDS, random.randint(0, 3))
    return random.choice(
        [
            SearchAttribute(keyword=random.choice(_WORDS)),
            SearchAttribute(text=" ".join(words)),
            SearchAttribute(int=random.randint(0, 5)),
            SearchAttribute(double=random.randint(0, 9) / 2),
            SearchAttribute(bool=random.random() < 0.5),
            SearchAttribute(datetime=to_timestamp(START_US + random.randint(0, 3))),
            SearchAttribute(keyword_list=KeywordList(values=words)),
        ]
    )
