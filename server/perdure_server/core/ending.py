"""Owns how the end of a run reads to others: its closing event as a failure."""

from __future__ import annotations

from perdure.v1.failure_pb2 import Failure, FailureKind, TimeoutType
from perdure.v1.history_pb2 import HistoryEvent


def failure_of(event: HistoryEvent) -> Failure:
    """Returns why a run did not complete, from its closing event."""
    kind = event.WhichOneof("event")
    if kind == "workflow_failed":
        return event.workflow_failed.failure
    if kind == "workflow_cancelled":
        reason = event.workflow_cancelled.reason
        return Failure(message=reason or "cancelled", kind=FailureKind.FAILURE_KIND_CANCELLED)
    if kind == "workflow_terminated":
        reason = event.workflow_terminated.reason
        return Failure(message=reason or "terminated", kind=FailureKind.FAILURE_KIND_TERMINATED)
    timeout = event.workflow_timed_out.timeout_type
    name = TimeoutType.Name(timeout).removeprefix("TIMEOUT_TYPE_").lower()
    return Failure(
        message=f"the {name} timeout ran out",
        kind=FailureKind.FAILURE_KIND_TIMEOUT,
        timeout_type=timeout,
    )
