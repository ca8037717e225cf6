"""Owns the errors of the domain, each with the stable reason that programs act on.

DomainError
├── InvalidRequest            ├── WorkflowNotFound
│   ├── InvalidCommand        ├── ActivityNotFound
│   ├── PayloadTooLarge       ├── WorkerNotFound
│   ├── LimitExceeded         ├── WorkflowAlreadyExists
│   ├── InvalidTaskToken      ├── WorkflowClosed
│   ├── InvalidPageToken      ├── StaleTask
│   ├── InvalidCursor         ├── SessionReplaced
│   ├── InvalidFilter         │
│   ├── InvalidSchedule       ├── CursorExpired
│   └── RequestIdReused       ├── ScheduleNotFound
├── WorkflowNotFailed         ├── CannotReset
├── NamespaceNotFound         ├── ApiKeyNotFound
├── NamespaceAlreadyExists    ├── Unauthenticated
├── NamespaceInUse            ├── RunContended
├── SnapshotNotFound          │
├── RunClosed                 │
├── QueryFailed               ├── NoWorker
├── UpdateRejected            │
├── ScheduleAlreadyExists     └── StoreError
├── WatcherTooSlow                │
├── ShuttingDown                  │
└── (store only) StaleVersion     ├── StoreBusy
    RequestRecorded               └── StoreUnavailable
    StoreInUse, SchemaTooNew

The status code of each is in `api/errors.py`, its reason in `error_reason.proto`. The store-only
errors are handled by the engine or stop the start of the server; they never reach a caller.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from perdure.v1.history_pb2 import HistoryEvent


class DomainError(Exception):
    """Something a caller can be told: the text says what is wrong and what to do."""

    reason: ClassVar[str] = "INTERNAL"


class InvalidRequest(DomainError):
    """A field of the request is missing, malformed or out of range; `field` names it."""

    reason = "INVALID_REQUEST"

    def __init__(self, problem: str, field: str = "") -> None:
        super().__init__(f"{field}: {problem}" if field else problem)
        self.problem = problem
        self.field = field


class InvalidCommand(InvalidRequest):
    """A command of a batch is malformed; nothing of the batch was applied."""

    reason = "INVALID_COMMAND"

    def __init__(self, index: int, field: str, problem: str) -> None:
        super().__init__(problem, f"command {index}: {field}")
        self.field = field
        self.index = index


class PayloadTooLarge(InvalidRequest):
    """A payload is larger than the bound."""

    reason = "PAYLOAD_TOO_LARGE"


class LimitExceeded(InvalidRequest):
    """A bound other than the payload's was exceeded."""

    reason = "LIMIT_EXCEEDED"


class InvalidTaskToken(InvalidRequest):
    """The task token is not one of ours."""

    reason = "INVALID_TASK_TOKEN"


class InvalidPageToken(InvalidRequest):
    """The page token is not one of ours, or belongs to another request."""

    reason = "INVALID_PAGE_TOKEN"


class InvalidCursor(InvalidRequest):
    """The cursor is not one of ours."""

    reason = "INVALID_CURSOR"


class InvalidFilter(InvalidRequest):
    """A filter of a list cannot be understood; `column` counts its characters from 1."""

    reason = "INVALID_FILTER"

    def __init__(self, problem: str, column: int, field: str = "filter") -> None:
        super().__init__(f"column {column}: {problem}", field)
        self.column = column


class RequestIdReused(InvalidRequest):
    """The request id was used before with other content."""

    reason = "REQUEST_ID_REUSED"


class InvalidSchedule(InvalidRequest):
    """A field of a schedule cannot be understood."""

    reason = "INVALID_SCHEDULE"


class WorkflowNotFound(DomainError):
    """No run has this workflow id or run id; for cancel and terminate, also no open one."""

    reason = "WORKFLOW_NOT_FOUND"


class SnapshotNotFound(DomainError):
    """The run has published no snapshot, or none with this key."""

    reason = "SNAPSHOT_NOT_FOUND"


class ActivityNotFound(DomainError):
    """No activity has this id."""

    reason = "ACTIVITY_NOT_FOUND"


class WorkerNotFound(DomainError):
    """The worker is not registered, or was forgotten after its silence."""

    reason = "WORKER_NOT_FOUND"


class WorkflowAlreadyExists(DomainError):
    """A run of the workflow id exists and the policies forbid another."""

    reason = "WORKFLOW_ALREADY_EXISTS"


class WorkflowClosed(DomainError):
    """The run is closed.

    `ending` is how a child ended, for the run that wanted to take it over.
    """

    reason = "WORKFLOW_CLOSED"

    def __init__(self, text: str, ending: HistoryEvent | None = None) -> None:
        super().__init__(text)
        self.ending = ending


class RunClosed(DomainError):
    """The run closed before its code answered an update."""

    reason = "RUN_CLOSED"


class UpdateRejected(DomainError):
    """The code refused an update, or failed to do it; `failure_type` names the error."""

    reason = "UPDATE_REJECTED"

    def __init__(self, problem: str, failure_type: str) -> None:
        super().__init__(problem)
        self.failure_type = failure_type


class QueryFailed(DomainError):
    """The code has no such query, or failed to answer it; `failure_type` names the error."""

    reason = "QUERY_FAILED"

    def __init__(self, problem: str, failure_type: str) -> None:
        super().__init__(problem)
        self.failure_type = failure_type


class NoWorker(DomainError):
    """No worker that runs the workflow type has answered in time."""

    reason = "NO_WORKER"


class WorkflowNotFailed(DomainError):
    """The run has not failed, or none of its activities has."""

    reason = "WORKFLOW_NOT_FAILED"


class CannotReset(DomainError):
    """No run can begin with that part of the history."""

    reason = "CANNOT_RESET"


class StaleTask(DomainError):
    """The lease behind the task token is no longer current; the report changed nothing."""

    reason = "STALE_TASK"


class SessionReplaced(DomainError):
    """The session is served by a newer stream."""

    reason = "SESSION_REPLACED"


class CursorExpired(DomainError):
    """The cursor is older than what is kept, or of another epoch."""

    reason = "CURSOR_EXPIRED"


class WatcherTooSlow(DomainError):
    """The watcher fell behind by more than the bound."""

    reason = "WATCHER_TOO_SLOW"


class NamespaceNotFound(DomainError):
    """No namespace has this name."""

    reason = "NAMESPACE_NOT_FOUND"


class NamespaceAlreadyExists(DomainError):
    """A namespace of this name exists."""

    reason = "NAMESPACE_ALREADY_EXISTS"


class NamespaceInUse(DomainError):
    """The namespace still has runs or schedules, or is the one that always exists."""

    reason = "NAMESPACE_IN_USE"


class ScheduleNotFound(DomainError):
    """No schedule has this name."""

    reason = "SCHEDULE_NOT_FOUND"


class ScheduleAlreadyExists(DomainError):
    """A schedule of this name exists."""

    reason = "SCHEDULE_ALREADY_EXISTS"


class ApiKeyNotFound(DomainError):
    """No API key has this prefix."""

    reason = "API_KEY_NOT_FOUND"


class Unauthenticated(DomainError):
    """The call carries no API key, or one that is unknown or revoked."""

    reason = "UNAUTHENTICATED"


class RunContended(DomainError):
    """The run changes too often to be served now."""

    reason = "RUN_CONTENDED"


class ShuttingDown(DomainError):
    """The server is stopping, or cannot reach its database: another one may serve."""

    reason = "SHUTTING_DOWN"


class StoreError(DomainError):
    """The store did not do what it was asked; nothing was written."""


class StoreBusy(StoreError):
    """A bound of the store is reached; the same call may succeed at once."""

    reason = "STORE_BUSY"


class StoreUnavailable(StoreError):
    """The database cannot be read or written."""

    reason = "STORE_UNAVAILABLE"


class StaleVersion(Exception):
    """A changeset was decided on a state that is no longer current; decide again. Store only."""


class RequestRecorded(Exception):
    """A request with this id was answered before. Store only."""


class MessageTaken(Exception):
    """A message of the changeset was recorded before. Store only."""


class StoreInUse(Exception):
    """Another server owns the database. Store only; the text names the database."""


class SchemaTooNew(Exception):
    """The schema needs a newer server. Store only; the text names both versions."""
