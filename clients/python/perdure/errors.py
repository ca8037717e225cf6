"""Owns what applications and authors catch.

    PerdureError
    ├── WorkflowError                 a workflow did not end well
    │   ├── WorkflowFailedError       ├── WorkflowTerminatedError
    │   ├── WorkflowCancelledError    └── WorkflowTimedOutError
    ├── FailureError                  a recorded failure, and what caused it
    │   ├── ActivityError             raised at the await of an activity
    │   │   ├── ActivityTimeoutError
    │   │   └── ActivityCancelledError
    │   ├── ChildWorkflowError        raised at the await of a child
    │   │   └── ChildAlreadyExistsError
    │   ├── ExternalWorkflowError     a signal or a cancellation found nobody
    │   └── StepError                 raised at the await of a step
    ├── ApplicationError              raised by authors to say more than a plain exception can
    ├── PayloadError                  a value cannot be encoded or decoded
    ├── ForbiddenCallError            workflow code touched the outside world
    ├── HistoryError                  a history that cannot be applied
    │   └── DeterminismError          the code no longer does what the history holds
    ├── DetachedActivityError         raised by `activity.detach()`, not an error to report
    └── RpcError                      a call was refused; one class per reason, see `from_reason`

Those of recorded failures are in `_failure_errors.py`. How failures become exceptions is in
`_failures.py`; how a call fails is in `_transport.py`.
"""

# ruff: noqa: PLC0414 -- what users import from here is made elsewhere

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, ClassVar

from perdure._failure_errors import ActivityCancelledError as ActivityCancelledError
from perdure._failure_errors import ActivityError as ActivityError
from perdure._failure_errors import ActivityTimeoutError as ActivityTimeoutError
from perdure._failure_errors import ChildAlreadyExistsError as ChildAlreadyExistsError
from perdure._failure_errors import ChildWorkflowError as ChildWorkflowError
from perdure._failure_errors import ExternalWorkflowError as ExternalWorkflowError
from perdure._failure_errors import FailureError as FailureError
from perdure._failure_errors import PerdureError as PerdureError
from perdure._failure_errors import StepError as StepError
from perdure._times import require_span
from perdure.v1.failure_pb2 import Failure


class WorkflowError(PerdureError):
    """A workflow did not complete.

    Attributes:
        workflow_id: The workflow.
        run_id: The run that closed.
    """

    def __init__(self, message: str, *, workflow_id: str = "", run_id: str = "") -> None:
        super().__init__(message)
        self.workflow_id = workflow_id
        self.run_id = run_id


class WorkflowFailedError(WorkflowError):
    """The workflow's code raised, or the engine reached a limit; `__cause__` says why.

    Attributes:
        failure: The message as recorded.
        type: The error type that the code raised.
    """

    def __init__(
        self, message: str, *, failure: Failure, workflow_id: str = "", run_id: str = ""
    ) -> None:
        super().__init__(message, workflow_id=workflow_id, run_id=run_id)
        self.failure = failure
        self.type = failure.type


class WorkflowCancelledError(WorkflowError):
    """The workflow ended after a cancellation."""


class WorkflowTerminatedError(WorkflowError):
    """An operator ended the workflow."""


class WorkflowTimedOutError(WorkflowError):
    """The run or execution timeout ended the workflow."""


class ApplicationError(PerdureError):
    """An error that an activity or a workflow raises to say how it is to be treated.

    `type` is what retry policies match (the class name by default); `non_retryable` forbids
    further attempts; `next_retry_delay` replaces the back-off before the next one; `details` is
    any value that the converter encodes.
    """

    def __init__(
        self,
        message: str,
        *,
        type: str | None = None,  # noqa: A002 -- the word of the contract
        non_retryable: bool = False,
        details: Any = None,
        next_retry_delay: timedelta | None = None,
    ) -> None:
        super().__init__(message)
        if next_retry_delay is not None:
            require_span("next_retry_delay", next_retry_delay)
        self.type = self.__class__.__name__ if type is None else type
        self.non_retryable = non_retryable
        self.details = details
        self.next_retry_delay = next_retry_delay


class PayloadError(PerdureError):
    """A value cannot be encoded or decoded; the text names the type and the path to it."""


class ForbiddenCallError(PerdureError):
    """Workflow code asked its event loop for something that only the outside world has."""


class HistoryError(PerdureError):
    """A history cannot be applied: it has a gap, or an event that this SDK does not know."""


class DeterminismError(HistoryError):
    """Workflow code did not ask for what the history holds; the text names event, command and line.

    Attributes:
        event_seq: The event that did not fit.
        event: What the history holds.
        command: What the code asked instead; empty when it asked for nothing.
        source: Where the code asked or waits, as `file:line`.
    """

    def __init__(self, *, event_seq: int, event: str, command: str, source: str) -> None:
        asked = (
            f"the code asked for {command}" if command else "the code asked for nothing and waits"
        )
        super().__init__(
            f"the workflow code no longer fits its history: event {event_seq} is {event}, but "
            f"{asked} at {source or 'an unknown line'}; restore the calls that made the history, "
            "and put new ones behind `workflow.patched`"
        )
        self.event_seq = event_seq
        self.event = event
        self.command = command
        self.source = source


class DetachedActivityError(PerdureError):
    """Leaves an activity that somebody else will complete by its task token.

    The worker reports nothing.
    """


class RpcError(PerdureError):
    """A call was refused or did not reach a server.

    Attributes:
        reason: The stable reason, for example `WORKFLOW_NOT_FOUND`; empty when no server answered.
        code: The canonical status code, for example `NOT_FOUND`.
        metadata: Further facts that the server attached.
    """

    REASON: ClassVar[str] = ""

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        code: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason or self.REASON
        self.code = code
        self.metadata = dict(metadata or {})


class InvalidRequestError(RpcError):
    """A field of the request is missing, malformed or out of range."""

    REASON = "INVALID_REQUEST"


class InvalidCommandError(InvalidRequestError):
    """A command of a batch is malformed; nothing of the batch was applied."""

    REASON = "INVALID_COMMAND"


class PayloadTooLargeError(InvalidRequestError):
    """A payload is larger than the bound."""

    REASON = "PAYLOAD_TOO_LARGE"


class LimitExceededError(InvalidRequestError):
    """Another bound was exceeded."""

    REASON = "LIMIT_EXCEEDED"


class InvalidTaskTokenError(InvalidRequestError):
    """The task token is not one of the server's."""

    REASON = "INVALID_TASK_TOKEN"


class InvalidPageTokenError(InvalidRequestError):
    """The page token is not one of the server's, or belongs to another request."""

    REASON = "INVALID_PAGE_TOKEN"


class InvalidCursorError(InvalidRequestError):
    """The cursor is not one of the server's."""

    REASON = "INVALID_CURSOR"


class InvalidFilterError(InvalidRequestError):
    """The filter or the order of a list cannot be understood; the text names the column."""

    REASON = "INVALID_FILTER"


class RequestIdReusedError(InvalidRequestError):
    """The request id was used before with other content."""

    REASON = "REQUEST_ID_REUSED"


class InvalidScheduleError(InvalidRequestError):
    """A field of a schedule cannot be understood, for example its cron expression."""

    REASON = "INVALID_SCHEDULE"


class CursorExpiredError(RpcError):
    """The cursor is older than what is kept."""

    REASON = "CURSOR_EXPIRED"


class WorkflowNotFoundError(RpcError):
    """No run has this workflow id or run id."""

    REASON = "WORKFLOW_NOT_FOUND"


class SnapshotNotFoundError(RpcError):
    """The run has published no snapshot, or none with this key."""

    REASON = "SNAPSHOT_NOT_FOUND"


class ActivityNotFoundError(RpcError):
    """The activity does not exist or is closed."""

    REASON = "ACTIVITY_NOT_FOUND"


class WorkflowAlreadyExistsError(RpcError):
    """A run of the workflow id exists and the policies forbid another."""

    REASON = "WORKFLOW_ALREADY_EXISTS"


class WorkflowClosedError(RpcError):
    """The run is closed."""

    REASON = "WORKFLOW_CLOSED"


class RunClosedError(RpcError):
    """The run closed before its code answered the update."""

    REASON = "RUN_CLOSED"


class UpdateRejectedError(RpcError):
    """The code refused the update, or failed to do it.

    `metadata["failure_type"]` names the error.
    """

    REASON = "UPDATE_REJECTED"


class QueryFailedError(RpcError):
    """The code has no such query, or failed to answer it.

    `metadata["failure_type"]` names the error.
    """

    REASON = "QUERY_FAILED"


class NoWorkerError(RpcError):
    """No worker that runs the workflow type has answered in time."""

    REASON = "NO_WORKER"


class WorkflowNotFailedError(RpcError):
    """The run has not failed, or none of its activities has."""

    REASON = "WORKFLOW_NOT_FAILED"


class CannotResetError(RpcError):
    """No run can begin with that part of the history."""

    REASON = "CANNOT_RESET"


class StaleTaskError(RpcError):
    """The lease behind the task token is no longer current; the report changed nothing."""

    REASON = "STALE_TASK"


class WorkerNotFoundError(RpcError):
    """The worker is not registered, or was forgotten after its silence."""

    REASON = "WORKER_NOT_FOUND"


class SessionReplacedError(RpcError):
    """A newer stream serves the session."""

    REASON = "SESSION_REPLACED"


class NamespaceNotFoundError(RpcError):
    """No namespace has this name."""

    REASON = "NAMESPACE_NOT_FOUND"


class NamespaceAlreadyExistsError(RpcError):
    """A namespace of this name exists."""

    REASON = "NAMESPACE_ALREADY_EXISTS"


class NamespaceInUseError(RpcError):
    """The namespace still has runs or schedules, or is the one that always exists."""

    REASON = "NAMESPACE_IN_USE"


class ScheduleNotFoundError(RpcError):
    """No schedule has this name."""

    REASON = "SCHEDULE_NOT_FOUND"


class ScheduleAlreadyExistsError(RpcError):
    """A schedule of this name exists."""

    REASON = "SCHEDULE_ALREADY_EXISTS"


class ApiKeyNotFoundError(RpcError):
    """No API key has this prefix."""

    REASON = "API_KEY_NOT_FOUND"


class UnauthenticatedError(RpcError):
    """The call carries no API key, or one that is unknown or revoked."""

    REASON = "UNAUTHENTICATED"


class WatcherTooSlowError(RpcError):
    """The watcher fell behind by more than the bound; resume from the last cursor."""

    REASON = "WATCHER_TOO_SLOW"


class UnavailableError(RpcError):
    """The server cannot serve the call now; the same call may succeed later."""


class RunContendedError(UnavailableError):
    """The run changes too often to be served now."""

    REASON = "RUN_CONTENDED"


class StoreBusyError(UnavailableError):
    """The store cannot take more work now."""

    REASON = "STORE_BUSY"


class StoreUnavailableError(UnavailableError):
    """The store cannot be read or written."""

    REASON = "STORE_UNAVAILABLE"


class ShuttingDownError(UnavailableError):
    """The server is stopping."""

    REASON = "SHUTTING_DOWN"


class InternalError(RpcError):
    """The server failed in a way it should not; the text carries an id that is in its log."""

    REASON = "INTERNAL"


RPC_ERRORS: dict[str, type[RpcError]] = {
    cls.REASON: cls
    for cls in (
        InvalidRequestError,
        InvalidCommandError,
        PayloadTooLargeError,
        LimitExceededError,
        InvalidTaskTokenError,
        InvalidPageTokenError,
        InvalidCursorError,
        InvalidFilterError,
        InvalidScheduleError,
        RequestIdReusedError,
        CursorExpiredError,
        WorkflowNotFoundError,
        SnapshotNotFoundError,
        ActivityNotFoundError,
        WorkflowAlreadyExistsError,
        WorkflowClosedError,
        RunClosedError,
        UpdateRejectedError,
        QueryFailedError,
        NoWorkerError,
        WorkflowNotFailedError,
        CannotResetError,
        StaleTaskError,
        WorkerNotFoundError,
        SessionReplacedError,
        NamespaceNotFoundError,
        NamespaceAlreadyExistsError,
        NamespaceInUseError,
        ScheduleNotFoundError,
        ScheduleAlreadyExistsError,
        ApiKeyNotFoundError,
        UnauthenticatedError,
        WatcherTooSlowError,
        RunContendedError,
        StoreBusyError,
        StoreUnavailableError,
        ShuttingDownError,
        InternalError,
    )
}


def from_reason(
    reason: str, message: str, code: str = "", metadata: Mapping[str, str] | None = None
) -> RpcError:
    """Makes the error for a refused call.

    The class of its reason, else UnavailableError or RpcError.
    """
    fallback = UnavailableError if code == "UNAVAILABLE" else RpcError
    cls = RPC_ERRORS.get(reason, fallback)
    return cls(message, reason=reason, code=code, metadata=metadata)
