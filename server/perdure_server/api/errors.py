"""Owns the one table from domain errors to status codes, and how an error looks on the wire."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from perdure_server.core import errors as domain

ERROR_DOMAIN: Final = "perdure"

STATUS_CODES: Final = MappingProxyType(
    {
        domain.InvalidRequest: grpc.StatusCode.INVALID_ARGUMENT,
        domain.InvalidCommand: grpc.StatusCode.INVALID_ARGUMENT,
        domain.PayloadTooLarge: grpc.StatusCode.INVALID_ARGUMENT,
        domain.LimitExceeded: grpc.StatusCode.INVALID_ARGUMENT,
        domain.InvalidTaskToken: grpc.StatusCode.INVALID_ARGUMENT,
        domain.InvalidPageToken: grpc.StatusCode.INVALID_ARGUMENT,
        domain.InvalidCursor: grpc.StatusCode.INVALID_ARGUMENT,
        domain.InvalidFilter: grpc.StatusCode.INVALID_ARGUMENT,
        domain.InvalidSchedule: grpc.StatusCode.INVALID_ARGUMENT,
        domain.RequestIdReused: grpc.StatusCode.INVALID_ARGUMENT,
        domain.WorkflowNotFound: grpc.StatusCode.NOT_FOUND,
        domain.SnapshotNotFound: grpc.StatusCode.NOT_FOUND,
        domain.ActivityNotFound: grpc.StatusCode.NOT_FOUND,
        domain.WorkerNotFound: grpc.StatusCode.NOT_FOUND,
        domain.NamespaceNotFound: grpc.StatusCode.NOT_FOUND,
        domain.ScheduleNotFound: grpc.StatusCode.NOT_FOUND,
        domain.ApiKeyNotFound: grpc.StatusCode.NOT_FOUND,
        domain.WorkflowAlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
        domain.NamespaceAlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
        domain.ScheduleAlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
        domain.NamespaceInUse: grpc.StatusCode.FAILED_PRECONDITION,
        domain.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
        domain.WorkflowClosed: grpc.StatusCode.FAILED_PRECONDITION,
        domain.RunClosed: grpc.StatusCode.FAILED_PRECONDITION,
        domain.UpdateRejected: grpc.StatusCode.FAILED_PRECONDITION,
        domain.QueryFailed: grpc.StatusCode.FAILED_PRECONDITION,
        domain.NoWorker: grpc.StatusCode.FAILED_PRECONDITION,
        domain.WorkflowNotFailed: grpc.StatusCode.FAILED_PRECONDITION,
        domain.CannotReset: grpc.StatusCode.FAILED_PRECONDITION,
        domain.StaleTask: grpc.StatusCode.FAILED_PRECONDITION,
        domain.SessionReplaced: grpc.StatusCode.FAILED_PRECONDITION,
        domain.CursorExpired: grpc.StatusCode.OUT_OF_RANGE,
        domain.WatcherTooSlow: grpc.StatusCode.RESOURCE_EXHAUSTED,
        domain.RunContended: grpc.StatusCode.UNAVAILABLE,
        domain.ShuttingDown: grpc.StatusCode.UNAVAILABLE,
        domain.StoreError: grpc.StatusCode.UNAVAILABLE,
        domain.StoreBusy: grpc.StatusCode.UNAVAILABLE,
        domain.StoreUnavailable: grpc.StatusCode.UNAVAILABLE,
        domain.DomainError: grpc.StatusCode.INTERNAL,
    }
)


def code_of(error: domain.DomainError) -> grpc.StatusCode:
    """Returns the status code of an error."""
    return STATUS_CODES[type(error)]


def to_status(error: domain.DomainError) -> Status:
    """Returns an error as it travels: code, text for people, and ErrorInfo for programs."""
    info = ErrorInfo(reason=error.reason, domain=ERROR_DOMAIN, metadata=_metadata(error))
    detail = AnyMessage()
    detail.Pack(info)
    return Status(code=code_of(error).value[0], message=str(error), details=[detail])


def _metadata(error: domain.DomainError) -> dict[str, str]:
    match error:
        case domain.InvalidCommand():
            return {"command_index": str(error.index), "field": error.field}
        case domain.InvalidFilter():
            return {"column": str(error.column), "field": error.field}
        case domain.UpdateRejected() | domain.QueryFailed():
            return {"failure_type": error.failure_type}
        case domain.InvalidRequest(field=str(field)) if field:
            return {"field": field}
        case _:
            return {}
