"""The description is valid, complete, true to its own examples, and fresh."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from perdure_server.rest import openapi
from perdure_server.rest.openapi import FILE, document, encoded
from tests.rest.contract import words
from tests.rest.routes import routes

DOCUMENT = json.loads(FILE.read_bytes())
COMPONENTS = {"components": DOCUMENT["components"]}
OPERATIONS = [
    pytest.param(operation, id=f"{verb.upper()} {path}")
    for path, item in DOCUMENT["paths"].items()
    for verb, operation in item.items()
]


def validator(schema: dict[str, Any]) -> Draft202012Validator:
    return Draft202012Validator({**schema, **COMPONENTS})


def resolved(response: dict[str, Any]) -> dict[str, Any]:
    name = response.get("$ref", "").rpartition("/")[2]
    return DOCUMENT["components"]["responses"][name] if name else response


def media(operation: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the content of the request and of every answer."""
    yield from operation.get("requestBody", {}).get("content", {}).items()
    for response in operation["responses"].values():
        yield from resolved(response).get("content", {}).items()


def test_the_committed_file_is_fresh() -> None:
    assert encoded(document(words())) == FILE.read_bytes(), "run 'make rest'"


def test_another_contract_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openapi, "routes_of", lambda services: routes()[:-1])
    assert encoded(document(words())) != FILE.read_bytes()


def test_it_is_valid() -> None:
    validate(DOCUMENT)


def test_every_route_is_described() -> None:
    described = {(verb.upper(), path) for path, item in DOCUMENT["paths"].items() for verb in item}
    assert described == {(route.verb, route.path) for route in routes()}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_request_and_answer_has_an_example_that_fits(operation: dict[str, Any]) -> None:
    for kind, content in media(operation):
        example = content["example"]
        if kind == "application/json":
            assert list(validator(content["schema"]).iter_errors(example)) == []
        else:
            data = content["schema"]["properties"]["data"]["contentSchema"]
            line = example.partition("data: ")[2].strip()
            assert list(validator(data).iter_errors(json.loads(line))) == []


@pytest.mark.parametrize("operation", OPERATIONS)
def test_parameters_are_described_and_their_examples_fit(operation: dict[str, Any]) -> None:
    for parameter in operation.get("parameters", []):
        assert parameter["description"]
        assert "example" in parameter or not parameter["required"]
        if "example" in parameter:
            assert validator(parameter["schema"]).is_valid(parameter["example"])


@pytest.mark.parametrize("operation", OPERATIONS)
def test_refusals_have_the_shape_of_errors(operation: dict[str, Any]) -> None:
    refusals = {s: resolved(r) for s, r in operation["responses"].items() if s >= "400"}
    assert {"429", "503", "504"} <= refusals.keys()
    for refusal in refusals.values():
        (schema,) = [content["schema"] for content in refusal["content"].values()]
        assert schema == {"$ref": "#/components/schemas/Error"}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_nothing_is_undescribed(operation: dict[str, Any]) -> None:
    assert operation["summary"]
    assert operation["description"]
    assert all(resolved(response)["description"] for response in operation["responses"].values())


@pytest.mark.parametrize("name", DOCUMENT["components"]["schemas"])
def test_every_key_has_a_type_or_a_description(name: str) -> None:
    schema = DOCUMENT["components"]["schemas"][name]
    assert schema["description"]
    bare = [key for key, told in schema.get("properties", {}).items() if told == {}]
    assert bare == []
