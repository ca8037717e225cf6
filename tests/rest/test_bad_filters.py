"""What is wrong in a filter is refused at its column, counted in characters."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import pytest

from tests.rest.caller import START, Caller, assert_refused
from tests.rest.process import rest_server

AT = "⟪"
"""Stands in a text before what is wrong with it."""
FILTERS = (
    "team⟪",
    "team =⟪",
    "⟪= 'a'",
    "team = ⟪a",
    "team ==⟪= 'a'",
    "team =⟪> 3",
    "team = ⟪'a",
    "⟪`team = 'a'",
    "team = 'a' AND⟪",
    "team = 'a' ⟪team = 'b'",
    "team = 'a' AND OR ⟪amount > 1",
    "(team = 'a'⟪",
    "team = 'a'⟪)",
    "team = 'a'⟪; DROP TABLE runs",
    "NOT⟪",
    "team IN ⟪'a'",
    "team IN (⟪)",
    "team IN ('a', ⟪)",
    "team IN ('a' ⟪'b')",
    "team BETWEEN 1⟪",
    "team BETWEEN 1 AND ⟪'b'",
    "team IS ⟪3",
    "team STARTS_WITH ⟪5",
    "team ⟪LIKE 'a%'",
    "team = ⟪null",
    "amount > 1⟪,5",
    "amount > ⟪1e999",
    "amount > ⟪- 5",
    "created_at > now() - ⟪1y",
    "created_at > now(⟪1)",
    "created_at > ⟪'yesterday'",
    "created_at > ⟪'2026-02-30'",
    "created_at BETWEEN now() AND ⟪'x'",
    "status = ⟪'DONE'",
    "status > ⟪'FAILED'",
    "status STARTS_WITH ⟪'F'",
    "attempt = ⟪1.5",
    "attempt = ⟪9999999999999999999",
    "cancel_requested = ⟪1",
    "run_id IN ('a', ⟪5)",
    "team = 'a' ORDER⟪",
    "ORDER BY amount ⟪DOWN",
    "ORDER BY amount⟪, team",
    "team = 'a' ORDER BY amount DESC ⟪LIMIT 5",
    "team = 'ü😀' AND ⟪é = 3",
    "team\n=\n'a' ⟪x",
)
OTHERS = (
    ("order_by", "", "team ⟪up"),
    ("order_by", "", "⟪1"),
    ("group_by", ":count", "team ⟪status"),
    ("group_by", ":count", "⟪'team'"),
)


@pytest.fixture(scope="module")
def caller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    with rest_server(tmp_path_factory.mktemp("data")) as address:
        yield Caller(address)


def refused_at(caller: Caller, route: str, field: str, marked: str) -> None:
    """Asks with a text that is wrong at its mark, and is told of that place."""
    column, text = marked.index(AT) + 1, marked.replace(AT, "")
    answer = caller.send("GET", f"{START}{route}?{field}={quote(text, safe='')}")
    assert_refused(answer, 400)
    told = answer[1]
    assert told["reason"] == "INVALID_FILTER"
    assert told["details"] == {"field": field, "column": str(column)}
    assert told["error"].startswith(f"{field}: column {column}: ")


@pytest.mark.parametrize("route", ["", ":count"])
@pytest.mark.parametrize("marked", FILTERS)
def test_a_bad_filter(caller: Caller, marked: str, route: str) -> None:
    refused_at(caller, route, "filter", marked)


@pytest.mark.parametrize(("field", "route", "marked"), OTHERS)
def test_a_bad_order_or_group(caller: Caller, field: str, route: str, marked: str) -> None:
    refused_at(caller, route, field, marked)
