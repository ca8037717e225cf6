"""Every row meets nonsense with an answer that its description has; none fails or hangs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from perdure_server.rest.openapi import FILE
from perdure_server.rest.options import Route
from tests.rest.caller import Caller, assert_refused
from tests.rest.process import rest_server
from tests.rest.routes import routes, row_of

PATHS = json.loads(FILE.read_bytes())["paths"]
ROWS = {row_of(route): route for route in routes()}
WITH_BODY = [row for row, route in ROWS.items() if route.has_body]
WITH_NAMES = [row for row, route in ROWS.items() if route.path_fields]
NO_BODIES = [
    b"5",
    b'"text"',
    b"true",
    b"[1]",
    b'{"namespace": ',
    b'{"namespace": "a"} {}',
    b'{"namespace": "\xff"}',
    b'{"namespace": "a\nb"}',
    b'{"namespace": NaN}',
    b"\xef\xbb\xbf{}",
    b'{"nothing": ' + b"[" * 100 + b"]" * 100 + b"}",
    b'{"nothing": ' * 1_000_000,
]
ODD_NAMES = ["..", "%2e%2e", "%2F", "a%2Fb", "a:b", ":cancel", "caf%C3%A9", "%F0%9F%A6%80", "{a}"]
NO_NAMES = ["%00", "%0A", "%FF", "%ED%A0%80"]


@pytest.fixture(scope="module")
def caller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    with rest_server(tmp_path_factory.mktemp("data")) as address:
        yield Caller(address)


def path_of(route: Route, name: str = "nobody") -> str:
    return re.sub(r"\{\w+\}", lambda _: name, route.path)


def assert_described(route: Route, answer: tuple[int, Any]) -> None:
    status, told = answer
    assert str(status) in PATHS[route.path][route.verb.lower()]["responses"], told
    if status >= 400:
        assert_refused(answer, status)


@pytest.mark.parametrize("row", WITH_BODY)
def test_a_body_that_is_no_json_object(caller: Caller, row: str) -> None:
    route = ROWS[row]
    for body in NO_BODIES:
        answer = caller.send(route.verb, path_of(route), body)
        assert_refused(answer, 400)
        assert_described(route, answer)


@pytest.mark.parametrize("row", WITH_BODY)
def test_of_two_equal_keys_the_last_one_counts(caller: Caller, row: str) -> None:
    route = ROWS[row]
    last_bad = b'{"wait_secs": 0, "namespace": "a", "namespace": 5}'
    last_good = b'{"wait_secs": 0, "namespace": 5, "namespace": "a"}'
    answers = [caller.send(route.verb, path_of(route), body) for body in (last_bad, last_good)]
    for answer in answers:
        assert_described(route, answer)
    (status, told), (_, told_of_good) = answers
    if {"namespace", "start"} & set(route.request.fields_by_name):
        assert (status, told["details"]) == (400, {"field": "namespace"})
    assert told_of_good.get("details") != {"field": "namespace"}


@pytest.mark.parametrize("row", WITH_NAMES)
def test_names_in_paths(caller: Caller, row: str) -> None:
    route = ROWS[row]
    for name in ODD_NAMES:
        answer = caller.send(route.verb, f"{path_of(route, name)}?wait_secs=0", b"")
        assert_described(route, answer)
    for name in NO_NAMES:
        assert_refused(caller.send(route.verb, path_of(route, name), b""), 400)
    assert_refused(caller.send(route.verb, path_of(route, "x" * 30_000), b""), 400, 404, 409)


@pytest.mark.parametrize("row", ROWS)
def test_parameters_that_are_none(caller: Caller, row: str) -> None:
    route = ROWS[row]
    for query in ("namespace=%00", "namespace=%FF", "=", "&&", "?", "%zz=1", "nothing=%00"):
        status, told = caller.head_of(route.verb, f"{path_of(route)}?wait_secs=0&{query}")
        assert_described(route, (status, told))
    answer = caller.send(route.verb, f"{path_of(route)}?" + "&".join(["a=1"] * 1_001))
    assert_refused(answer, 400)


@pytest.mark.parametrize("row", ROWS)
def test_methods_that_it_has_not(caller: Caller, row: str) -> None:
    for verb in ("PUT", "TRACE", "BREW", "OPTIONS"):
        assert_refused(caller.send(verb, path_of(ROWS[row]), b""), 400, 404, 405)
    status, told = caller.send("HEAD", path_of(ROWS[row]))
    assert (status, told) == (404, None)
