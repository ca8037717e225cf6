"""The annotations are the promised surface, no more and no less than is built."""

from __future__ import annotations

import json

import pytest
from google.api import annotations_pb2
from google.protobuf.descriptor import MethodDescriptor

from perdure_server.rest.openapi import FILE
from tests.rest.contract import methods, words
from tests.rest.routes import README, routes, row_of, statuses_of, with_fresh_table
from tests.rest.surface import (
    ACTIVITY_KEYS,
    PUBLIC,
    STATUSES,
    STILL_NULL,
    STREAMS,
    TO_COME,
    WORKFLOW_KEYS,
    rows,
)

WAITING = {row for several in TO_COME.values() for row in several}
BUILT = [row for row in rows() if row not in WAITING]
ROUTES = {row_of(route): route for route in routes()}
DOCUMENT = json.loads(FILE.read_bytes())


def test_the_table_in_the_readme_is_fresh() -> None:
    text = README.read_text(encoding="utf-8")
    assert with_fresh_table(text) == text, "run 'make routes'"


def test_the_routes_are_the_rows_that_stand() -> None:
    assert sorted(ROUTES) == sorted(BUILT)


def test_what_is_to_come_is_promised_and_not_built() -> None:
    assert set(rows()) >= WAITING
    assert set(ROUTES) & WAITING == set(), "a row is built: take it off the list"


def test_no_row_waits_for_two_features() -> None:
    assert sum(len(several) for several in TO_COME.values()) == len(WAITING)


@pytest.mark.parametrize("row", BUILT)
def test_the_status_of_success(row: str) -> None:
    assert statuses_of(ROUTES[row]) == STATUSES.get(row, [200])


@pytest.mark.parametrize("row", BUILT)
def test_the_streams(row: str) -> None:
    assert ROUTES[row].streams == (row in STREAMS)


@pytest.mark.parametrize("row", BUILT)
def test_only_the_public_rows_need_no_key(row: str) -> None:
    route = ROUTES[row]
    operation = DOCUMENT["paths"][route.path][route.verb.lower()]
    assert (operation.get("security") == []) == (row in PUBLIC)


@pytest.mark.parametrize("method", methods(), ids=lambda method: method.name)
def test_an_rpc_without_a_route_says_why(method: MethodDescriptor) -> None:
    annotated = method.GetOptions().HasExtension(annotations_pb2.http)
    assert annotated != ("gRPC only:" in words().of(method.full_name))


@pytest.mark.parametrize("name", STILL_NULL)
def test_the_keys_that_nothing_sets_yet(name: str) -> None:
    properties = DOCUMENT["components"]["schemas"][name]["properties"]
    assert {key for key, told in properties.items() if told.get("type") == "null"} == STILL_NULL[
        name
    ]


@pytest.mark.parametrize(
    ("name", "keys"),
    [("Workflow", WORKFLOW_KEYS), ("Activity", ACTIVITY_KEYS), ("ActivityTask", ACTIVITY_KEYS)],
)
def test_the_keys_of_the_records(name: str, keys: str) -> None:
    assert list(DOCUMENT["components"]["schemas"][name]["properties"]) == keys.split()
