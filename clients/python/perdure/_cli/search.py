"""Owns search attributes on the command line, and the command `perdure workflow count`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Final

import typer

from perdure._cli import show
from perdure._cli.calls import ask
from perdure._cli.options import (
    DEFAULT_ADDRESS,
    DEFAULT_NAMESPACE,
    Address,
    ApiKey,
    Namespace,
    Output,
    OutputOption,
)
from perdure._search import SearchAttributeKey, to_search_attributes
from perdure.v1 import workflow_service_pb2 as pb
from perdure.v1.search_attributes_pb2 import SearchAttributes

SearchAttribute = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=VALUE",
        help="What the run is to be found by; NAME:TYPE=VALUE says of which type. May repeat.",
    ),
]
Filter = Annotated[
    str, typer.Option("--filter", metavar="FILTER", help="As `team = 'a' AND amount > 5`.")
]
_TEXTS: Final = frozenset({"keyword", "text", "datetime"})
_TYPES: Final = frozenset({"int", "double", "bool", "keyword_list"}) | _TEXTS


def parse_search_attributes(texts: Sequence[str] | None) -> SearchAttributes | None:
    """Returns the attributes that `NAME=VALUE` and `NAME:TYPE=VALUE` say.

    Without a type a number, a truth or a list of strings in JSON is what it looks like, and all
    else is a keyword.
    """
    if not texts:
        return None
    attributes: dict[str | SearchAttributeKey[Any], Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        name, _, kind = name.partition(":")
        if not name or not equals or kind not in _TYPES | {""}:
            raise typer.BadParameter(
                f"{text!r} is not NAME=VALUE or NAME:TYPE=VALUE with one of the types"
                f" {', '.join(sorted(_TYPES))}"
            )
        try:
            key = SearchAttributeKey[Any](name, kind) if kind else name
            attributes[key] = _value(kind, value)
            to_search_attributes({key: attributes[key]})
        except (TypeError, ValueError) as error:
            raise typer.BadParameter(f"{text!r}: {error}") from None
    return to_search_attributes(attributes)


def count(
    *,
    filter_: Filter = "",
    group_by: Annotated[str, typer.Option(metavar="NAME", help="A field or an attribute.")] = "",
    address: Address = DEFAULT_ADDRESS,
    api_key: ApiKey = "",
    namespace: Namespace = DEFAULT_NAMESPACE,
    output: OutputOption = Output.TABLE,
) -> None:
    """Counts runs, all together or by the value of a field or an attribute."""
    request = pb.CountWorkflowsRequest(namespace=namespace, filter=filter_, group_by=group_by)
    method = "WorkflowService/CountWorkflows"
    answer = ask(address, method, request, pb.CountWorkflowsResponse, api_key=api_key)
    if output is Output.JSON or not group_by:
        show.print_answer(answer, output, str(answer.count))
        return
    rows = [(_shown(show.to_json(group.value)), str(group.count)) for group in answer.groups]
    show.print_table((group_by.upper(), "RUNS"), rows)


def _value(kind: str, text: str) -> Any:
    if kind == "datetime":
        return datetime.fromisoformat(text)
    if kind in _TEXTS:
        return text
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    return value if kind or isinstance(value, bool | int | float | list) else text


def _shown(value: object) -> str:
    if isinstance(value, str):
        return value
    return "-" if value is None else json.dumps(value)
