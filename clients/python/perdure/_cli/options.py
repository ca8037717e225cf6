"""Owns the options that commands share, and how their texts become values."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from perdure._transport import API_KEY_VARIABLE, authorization
from perdure.v1.payload_pb2 import Payload

ADDRESS_VARIABLE: Final = "PERDURE_ADDRESS"
EXIT_STILL_OPEN: Final = 2
_UNIT_SECONDS: Final = {"": 1, "ms": 0.001, "s": 1, "m": 60, "h": 3_600, "d": 86_400}
_SPAN: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)?")


class Ended(Exception):
    """The command ended as it should, with an exit code other than 0."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code


class Output(StrEnum):
    """How answers are printed."""

    TABLE = "table"
    JSON = "json"


class Conflict(StrEnum):
    """What to do when a run is open."""

    FAIL = "fail"
    USE_EXISTING = "use_existing"
    TERMINATE_EXISTING = "terminate_existing"


class Reuse(StrEnum):
    """What to do when the latest run is closed."""

    REJECT_DUPLICATE = "reject_duplicate"
    ALLOW_DUPLICATE = "allow_duplicate"
    ALLOW_DUPLICATE_FAILED_ONLY = "allow_duplicate_failed_only"


def parse_span(text: str) -> timedelta:
    """Returns the span of `90`, `1.5s`, `10m`, `2h` or `30d`."""
    match = _SPAN.fullmatch(text)
    if match is None:
        raise typer.BadParameter(f"{text!r} is not a span of time: use 90, 1.5s, 10m, 2h or 30d")
    number, unit = match.groups()
    try:
        return timedelta(seconds=float(number) * _UNIT_SECONDS[unit or ""])
    except OverflowError:
        raise typer.BadParameter(f"{text!r} is longer than any span that can be kept") from None


def parse_payload(text: str | None) -> Payload | None:
    """Returns the payload of a JSON text, or of a file as `@PATH`; the bytes stay as given."""
    if text is None:
        return None
    if text.startswith("@"):
        text = _read(Path(text[1:]))
    try:
        json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"the input is not JSON: {error}") from None
    return Payload(data=text.encode())


def _checked_address(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal():
        # Without this, gRPC would try another port in silence.
        raise typer.BadParameter(f"{text!r} is not an address: use HOST:PORT")
    return text


def _checked_api_key(text: str) -> str:
    try:
        authorization(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    return text


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{path} cannot be read: {error}") from None


Address = Annotated[
    str,
    typer.Option(
        envvar=ADDRESS_VARIABLE,
        metavar="HOST:PORT",
        help="The server.",
        callback=_checked_address,
    ),
]
ApiKey = Annotated[
    str,
    typer.Option(
        envvar=API_KEY_VARIABLE,
        metavar="KEY",
        help="For a server that asks for one; other users of this machine see arguments.",
        callback=_checked_api_key,
    ),
]
Namespace = Annotated[str, typer.Option(envvar="PERDURE_NAMESPACE", help="The namespace.")]
OutputOption = Annotated[Output, typer.Option("--output", "-o", help="Tables, or JSON.")]
WorkflowId = Annotated[str, typer.Argument(metavar="ID", help="The workflow id.")]
RunId = Annotated[str, typer.Option(help="The run; by default the latest.")]
Input = Annotated[
    str | None, typer.Option("--input", metavar="JSON", help="One JSON value, or @PATH.")
]
RequestId = Annotated[str, typer.Option(help="Makes repeating the command safe.")]
Reason = Annotated[str, typer.Option(help="Why; kept in the history.")]
Span = Annotated[
    timedelta | None, typer.Option(parser=parse_span, metavar="SPAN", help="As 90, 10m or 2h.")
]

DEFAULT_ADDRESS: Final = "localhost:7766"
DEFAULT_NAMESPACE: Final = "main"
