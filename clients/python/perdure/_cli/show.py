"""Owns how answers look: JSON for machines, tables for people."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console
from rich.table import Table
from rich.text import Text

from perdure._cli.options import Output
from perdure._search import from_search_attribute
from perdure.v1.payload_pb2 import Payload
from perdure.v1.search_attributes_pb2 import SearchAttribute, SearchAttributes

Field: TypeAlias = Any
"""A field descriptor; protobuf has two classes of them with one interface."""
FieldsOf: TypeAlias = Callable[[Message], Iterable[tuple[Field, Any]]]
"""Which fields of a message are shown."""

_PIPE_COLUMNS = 1_000
"""Wide enough that nothing is folded when the reader is a program."""


def print_json(value: object) -> None:
    """Prints one JSON document on one line of standard output."""
    print(json.dumps(value, ensure_ascii=False), flush=True)


def print_answer(answer: Message, output: Output, text: str) -> None:
    """Prints an answer as JSON, or the text that says the same."""
    if output is Output.JSON:
        print_json(to_json(answer))
    else:
        print(text)


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints rows under headings."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*row)
    _print(table)


def print_fields(fields: Iterable[tuple[str, str]]) -> None:
    """Prints names and values, those without a value left out."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in fields:
        if value:
            table.add_row(name, value)
    _print(table)


def print_row(cells: Sequence[str], widths: Sequence[int]) -> None:
    """Prints one row of a table that grows; on a terminal in columns and on one line."""
    console = Console()
    if not console.is_terminal:
        print("  ".join(cells), flush=True)
        return
    columns = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
    console.print(Text("  ".join(columns)), no_wrap=True, overflow="ellipsis")


def _print(table: Table) -> None:
    console = Console()
    if console.is_terminal:
        console.print(table, markup=False)
        return
    console.width = _PIPE_COLUMNS
    with console.capture() as capture:
        console.print(table, markup=False)
    for line in capture.get().splitlines():
        print(line.rstrip())


def compact(value: object) -> str:
    """Returns a value as one line of JSON."""
    return json.dumps(value, ensure_ascii=False)


def time_text(moment: Timestamp) -> str:
    """Returns an instant in UTC to the millisecond; empty when unset."""
    if not moment.ByteSize():
        return ""
    return moment.ToDatetime().isoformat(sep=" ", timespec="milliseconds") + "Z"


def enum_text(message: Message, field: str) -> str:
    """Returns the short name of an enum's value, for example `COMPLETED`."""
    descriptor: Any = message.DESCRIPTOR.fields_by_name[field]
    return str(_scalar_json(descriptor, getattr(message, field)))


def to_json(message: Message) -> Any:
    """Returns a message as JSON values: payloads inline, enums by short names, null for absent."""
    return _message_json(message, _all_fields)


def gist(message: Message, *, hidden: Collection[str] = ()) -> str:
    """Returns what is set in a message as one line of JSON, fields named in `hidden` left out."""

    def shown_fields(part: Message) -> Iterator[tuple[Field, Any]]:
        return ((field, value) for field, value in part.ListFields() if field.name not in hidden)

    return compact(_message_json(message, shown_fields))


def _message_json(message: Message, fields_of: FieldsOf) -> Any:
    match message:
        case Payload():
            return _payload_json(message)
        case Timestamp():
            return message.ToJsonString()
        case Duration():
            return message.ToNanoseconds() / 1e9
        case SearchAttributes():
            names = sorted(message.values)
            return {name: _attribute_json(message.values[name]) for name in names}
        case SearchAttribute():
            return _attribute_json(message)
    return {field.name: _field_json(field, value, fields_of) for field, value in fields_of(message)}


def _attribute_json(attribute: SearchAttribute) -> Any:
    if attribute.HasField("datetime"):
        return attribute.datetime.ToJsonString()
    return from_search_attribute(attribute)


def _all_fields(message: Message) -> Iterator[tuple[Field, Any]]:
    for field in message.DESCRIPTOR.fields:
        if not field.has_presence or message.HasField(field.name):
            yield field, getattr(message, field.name)
        elif field.containing_oneof is None or len(field.containing_oneof.fields) == 1:
            # Of a choice only what was chosen is shown; an optional field is a choice of one.
            yield field, None


def _payload_json(payload: Payload) -> Any:
    if payload.encoding in ("", "json/plain"):
        try:
            return json.loads(payload.data)
        except ValueError:
            pass
    return {"encoding": payload.encoding, "data": base64.b64encode(payload.data).decode()}


def _field_json(field: Field, value: Any, fields_of: FieldsOf) -> Any:
    if isinstance(value, Message):
        return _message_json(value, fields_of)
    if not field.is_repeated:
        return _scalar_json(field, value)
    if field.message_type is not None:
        return [_message_json(item, fields_of) for item in value]
    return [_scalar_json(field, item) for item in value]


def _scalar_json(field: Field, value: Any) -> Any:
    if field.enum_type is None:
        return base64.b64encode(value).decode() if isinstance(value, bytes) else value
    if not value:
        return None
    names = field.enum_type.values_by_number
    # The first value is named <ENUM>_UNSPECIFIED by rule, which gives the prefix of all.
    prefix = names[0].name.removesuffix("UNSPECIFIED")
    return names[value].name.removeprefix(prefix) if value in names else value
