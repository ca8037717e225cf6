"""Owns the one table from gRPC's status codes to HTTP's, and how a refusal looks as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Final

import grpc
import msgspec
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

STATUS_DETAILS_KEY: Final = "grpc-status-details-bin"

HTTP_STATUSES: Final = MappingProxyType(
    {
        grpc.StatusCode.CANCELLED: 499,
        grpc.StatusCode.UNKNOWN: 500,
        grpc.StatusCode.INVALID_ARGUMENT: 400,
        grpc.StatusCode.DEADLINE_EXCEEDED: 504,
        grpc.StatusCode.NOT_FOUND: 404,
        grpc.StatusCode.ALREADY_EXISTS: 409,
        grpc.StatusCode.PERMISSION_DENIED: 403,
        grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
        grpc.StatusCode.FAILED_PRECONDITION: 409,
        grpc.StatusCode.ABORTED: 409,
        grpc.StatusCode.OUT_OF_RANGE: 410,
        grpc.StatusCode.UNIMPLEMENTED: 404,
        grpc.StatusCode.INTERNAL: 500,
        grpc.StatusCode.UNAVAILABLE: 503,
        grpc.StatusCode.DATA_LOSS: 500,
        grpc.StatusCode.UNAUTHENTICATED: 401,
    }
)

REASON_STATUSES: Final = MappingProxyType({"PAYLOAD_TOO_LARGE": 413})
"""The reasons whose status says more than that of their code."""


class Refusal(Exception):
    """Says why a call has no answer, as REST tells it."""

    def __init__(
        self, status: int, text: str, *, reason: str, details: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.reason = reason
        self.details = dict(details or {})

    def body(self) -> bytes:
        """Returns the refusal as JSON, in one line."""
        return msgspec.json.encode(
            {"error": self.text, "reason": self.reason, "details": self.details}
        )


def http_status(code: grpc.StatusCode, reason: str) -> int:
    """Returns the HTTP status of a refusal."""
    return REASON_STATUSES.get(reason) or HTTP_STATUSES[code]


def refusal_of(
    code: grpc.StatusCode,
    text: str,
    trailing_metadata: Iterable[tuple[str, str | bytes]],
    rest_name: Callable[[str], str],
) -> Refusal:
    """Returns what gRPC callers are told by a status, with the fields under their REST names."""
    info = _error_info(trailing_metadata)
    reason = info.reason or code.name
    # In an order of their own: a map of protobuf has none.
    details = dict(sorted(info.metadata.items()))
    if field := details.get("field"):
        details["field"] = named = _rest_field(details, rest_name)
        text = text.replace(f"{field}: ", f"{named}: ", 1)
    return Refusal(http_status(code, reason), text, reason=reason, details=details)


def _rest_field(details: Mapping[str, str], rest_name: Callable[[str], str]) -> str:
    if "command_index" not in details:
        return rest_name(details["field"])
    # A command is told by its index; its field is named as seen from the command.
    return rest_name(f"commands.{details['field']}").removeprefix("commands.")


def _error_info(trailing_metadata: Iterable[tuple[str, str | bytes]]) -> ErrorInfo:
    info = ErrorInfo()
    for key, value in trailing_metadata:
        if key == STATUS_DETAILS_KEY and isinstance(value, bytes):
            for detail in _status(value).details:
                detail.Unpack(info)
    return info


def _status(value: bytes) -> Status:
    try:
        return Status.FromString(value)
    except DecodeError:
        return Status()
