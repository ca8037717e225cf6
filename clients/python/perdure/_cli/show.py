"""Owns how answers look: JSON for machines, tables for people."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Sequence
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console
from rich.table import Table

from perdure._cli.options import Output
from perdure.v1.payload_pb2 import Payload

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
    return moment.ToDatetime().isoformat(sep=" ", timespec="milliseconds")


def enum_text(message: Message, field: str) -> str:
    """Returns the short name of an enum's value, for example `COMPLETED`."""
    descriptor: Any = message.DESCRIPTOR.fields_by_name[field]
    return str(_scalar_json(descriptor, getattr(message, field)))


def to_json(message: Message) -> Any:
    """Returns a message as JSON values: what is set, payloads inline, enums by short names."""
    match message:
        case Payload():
            return _payload_json(message)
        case Timestamp():
            return message.ToJsonString()
        case Duration():
            return message.ToNanoseconds() / 1e9
    return {field.name: _field_json(field, value) for field, value in message.ListFields()}


def _payload_json(payload: Payload) -> Any:
    if payload.encoding in ("", "json/plain"):
        try:
            return json.loads(payload.data)
        except ValueError:
            pass
    return {"encoding": payload.encoding, "data": base64.b64encode(payload.data).decode()}


def _field_json(field: FieldDescriptor, value: Any) -> Any:
    if field.is_repeated:
        return [_single_json(field, item) for item in value]
    return _single_json(field, value)


def _single_json(field: FieldDescriptor, value: Any) -> Any:
    return to_json(value) if isinstance(value, Message) else _scalar_json(field, value)


def _scalar_json(field: FieldDescriptor, value: Any) -> Any:
    if field.enum_type is None:
        return base64.b64encode(value).decode() if isinstance(value, bytes) else value
    names = field.enum_type.values_by_number
    # The first value is named <ENUM>_UNSPECIFIED by rule, which gives the prefix of all.
    prefix = names[0].name.removesuffix("UNSPECIFIED")
    return names[value].name.removeprefix(prefix) if value in names else value
