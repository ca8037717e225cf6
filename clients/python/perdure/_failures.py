"""Owns the way from an exception to a Failure message and back.

A failure is data of a history: messages and stacks are cut to fit the server's bound of 64 KiB,
whatever was raised.
"""

from __future__ import annotations

import asyncio
import traceback
from typing import Final

from perdure._replay.source import is_perdure
from perdure.converter import Converter
from perdure.errors import (
    ActivityCancelledError,
    ActivityError,
    ActivityTimeoutError,
    ApplicationError,
    ChildAlreadyExistsError,
    ChildWorkflowError,
    ExternalWorkflowError,
    FailureError,
    PayloadError,
    StepError,
    WorkflowCancelledError,
    WorkflowError,
    WorkflowFailedError,
    WorkflowTerminatedError,
    WorkflowTimedOutError,
)
from perdure.v1.failure_pb2 import Failure, FailureKind
from perdure.v1.history_pb2 import ChildWorkflowFailed
from perdure.v1.workflow_pb2 import WorkflowStatus

MESSAGE_BYTES_MAX: Final = 4 * 1024
STACK_BYTES_MAX: Final = 16 * 1024
CAUSE_STACK_BYTES_MAX: Final = 4 * 1024
CAUSES_MAX: Final = 5
FAILURE_BYTES_MAX: Final = 64 * 1024
"""The server's bound for a failure with its causes; recorded failures can make it longer."""
FAILURE_CAUSES_MAX: Final = 50
"""The server's bound for causes one behind another; recorded ones come on top of `CAUSES_MAX`."""

ID_IN_USE: Final = "ID_IN_USE"
"""The failure type of a child that was not started because its id is in use."""

_CLOSED_ERRORS: Final[dict[str, type[WorkflowError]]] = {
    "CANCELLED": WorkflowCancelledError,
    "TERMINATED": WorkflowTerminatedError,
    "TIMED_OUT": WorkflowTimedOutError,
}


def to_failure(error: BaseException, converter: Converter) -> Failure:
    """Describes an exception, its stack and its causes as a message; never raises."""
    failure = _describe(error, converter, stack_bytes=STACK_BYTES_MAX, causes=CAUSES_MAX)
    _cut_causes(failure)
    while _bytes_without_details(failure) > FAILURE_BYTES_MAX:
        _drop_innermost_cause(failure)
    return failure


def to_error(failure: Failure, converter: Converter) -> FailureError:
    """Makes the exception for a recorded failure, with the recorded causes behind it."""
    error = FailureError(
        _text(failure), failure=failure, details=_decode_details(failure, converter)
    )
    _chain(error, failure, converter)
    return error


def activity_error(
    failure: Failure, converter: Converter, *, activity: str, attempt: int
) -> ActivityError:
    """Makes the exception that the await of a failed activity raises."""
    cls = {
        FailureKind.FAILURE_KIND_TIMEOUT: ActivityTimeoutError,
        FailureKind.FAILURE_KIND_CANCELLED: ActivityCancelledError,
    }.get(failure.kind, ActivityError)
    error = cls(
        f"activity {activity} failed on attempt {attempt}: {_text(failure)}",
        failure=failure,
        details=_decode_details(failure, converter),
        activity=activity,
        attempt=attempt,
    )
    _chain(error, failure, converter)
    return error


def step_error(failure: Failure, converter: Converter, *, step: str, attempt: int) -> StepError:
    """Makes the exception that the await of a failed step raises."""
    error = StepError(
        f"step {step} failed on attempt {attempt}: {_text(failure)}",
        failure=failure,
        details=_decode_details(failure, converter),
        step=step,
        attempt=attempt,
    )
    _chain(error, failure, converter)
    return error


def child_error(
    end: ChildWorkflowFailed, converter: Converter, *, workflow_id: str, workflow_type: str
) -> ChildWorkflowError:
    """Makes the exception that the await of a child without a result raises."""
    failure = end.failure
    refused = failure.type == ID_IN_USE and not end.child_run_id
    cls = ChildAlreadyExistsError if refused else ChildWorkflowError
    status = WorkflowStatus.Name(end.status).removeprefix("WORKFLOW_STATUS_") if end.status else ""
    ended = status.lower().replace("_", " ") or "was not started"
    error = cls(
        f"child workflow {workflow_type} ({workflow_id}) {ended}: {_text(failure)}",
        failure=failure,
        details=_decode_details(failure, converter),
        workflow_id=workflow_id,
        run_id=end.child_run_id,
        workflow_type=workflow_type,
        status=status,
    )
    _chain(error, failure, converter)
    return error


def external_error(
    failure: Failure, converter: Converter, *, workflow_id: str
) -> ExternalWorkflowError:
    """Makes the exception for a signal or a cancellation that reached no open run."""
    error = ExternalWorkflowError(
        f"workflow {workflow_id} was not reached: {_text(failure)}",
        failure=failure,
        details=_decode_details(failure, converter),
        workflow_id=workflow_id,
    )
    _chain(error, failure, converter)
    return error


def workflow_error(
    status: str, failure: Failure, converter: Converter, *, workflow_id: str, run_id: str
) -> WorkflowError:
    """Makes the exception for a workflow that closed with another status than `COMPLETED`."""
    cls = _CLOSED_ERRORS.get(status)
    if cls is not None:
        words = f"workflow {workflow_id} {status.lower().replace('_', ' ')}"
        message = f"{words}: {failure.message}" if failure.message else words
        return cls(message, workflow_id=workflow_id, run_id=run_id)
    error = WorkflowFailedError(
        f"workflow {workflow_id} failed: {_text(failure)}",
        failure=failure,
        workflow_id=workflow_id,
        run_id=run_id,
    )
    error.__cause__ = to_error(failure, converter)
    return error


def _describe(
    error: BaseException, converter: Converter, *, stack_bytes: int, causes: int
) -> Failure:
    failure = Failure(
        message=_cut(_message(error), MESSAGE_BYTES_MAX),
        kind=FailureKind.FAILURE_KIND_APPLICATION,
        type=type(error).__name__,
        stack_trace=_cut(_stack(error), stack_bytes, tail=True),
    )
    if isinstance(error, asyncio.CancelledError):
        failure.kind = FailureKind.FAILURE_KIND_CANCELLED
    elif isinstance(error, ApplicationError):
        _add_wishes(failure, error, converter)
    elif isinstance(error, PayloadError):
        failure.non_retryable = True
    cause = _cause(error)
    if isinstance(error, FailureError):
        failure.cause.CopyFrom(error.failure)
    elif cause is not None and causes:
        failure.cause.CopyFrom(
            _describe(cause, converter, stack_bytes=CAUSE_STACK_BYTES_MAX, causes=causes - 1)
        )
    return failure


def _add_wishes(failure: Failure, error: ApplicationError, converter: Converter) -> None:
    failure.type = _cut(error.type, MESSAGE_BYTES_MAX)
    failure.non_retryable = error.non_retryable
    if error.next_retry_delay is not None:
        failure.next_retry_delay.FromTimedelta(error.next_retry_delay)
    if error.details is not None:
        try:
            failure.details.CopyFrom(converter.encode(error.details))
        except Exception as problem:  # noqa: BLE001 -- a converter of the author may raise anything
            failure.message += f" (its details were lost: {_cut(str(problem), 512)})"


def _cause(error: BaseException) -> BaseException | None:
    if error.__cause__ is not None:
        return error.__cause__
    if isinstance(error, BaseExceptionGroup):
        # The group itself says nothing; that of a TaskGroup mostly holds one.
        return error.exceptions[0]
    return None if error.__suppress_context__ else error.__context__


def _bytes_without_details(failure: Failure) -> int:
    size = failure.ByteSize() - failure.details.ByteSize()
    while failure.HasField("cause"):
        failure = failure.cause
        size -= failure.details.ByteSize()
    return size


def _cut_causes(failure: Failure) -> None:
    for _ in range(FAILURE_CAUSES_MAX):
        if not failure.HasField("cause"):
            return
        failure = failure.cause
    failure.ClearField("cause")


def _drop_innermost_cause(failure: Failure) -> None:
    while failure.cause.HasField("cause"):
        failure = failure.cause
    failure.ClearField("cause")


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as problem:  # noqa: BLE001 -- user code may do anything in __str__
        return f"its text could not be made: {type(problem).__name__}"


def _stack(error: BaseException) -> str:
    first = error.__traceback__
    while first is not None and is_perdure(first.tb_frame.f_code):
        first = first.tb_next
    return "".join(traceback.format_tb(first or error.__traceback__))


def _cut(text: str, bytes_max: int, *, tail: bool = False) -> str:
    data = text.encode("utf-8", "replace")
    kept = data[-bytes_max:] if tail else data[:bytes_max]
    return kept.decode("utf-8", "ignore")


def _text(failure: Failure) -> str:
    return f"{failure.type}: {failure.message}" if failure.type else failure.message


def _decode_details(failure: Failure, converter: Converter) -> object:
    if not failure.HasField("details"):
        return None
    try:
        return converter.decode(failure.details)
    except PayloadError:
        # The failure itself matters more than a detail that only its author can read.
        return failure.details


def _chain(error: FailureError, failure: Failure, converter: Converter) -> None:
    if failure.HasField("cause"):
        error.__cause__ = to_error(failure.cause, converter)
