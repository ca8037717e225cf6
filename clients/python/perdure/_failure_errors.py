"""Owns the errors that stand for a failure which a history holds.

Users import them from `errors.py`, which owns all others.
"""

from __future__ import annotations

from typing import Any

from perdure.v1.failure_pb2 import Failure, FailureKind, TimeoutType


class PerdureError(Exception):
    """Anything that Perdure raises."""


class FailureError(PerdureError):
    """A failure that a history holds. `__cause__` is the failure that caused it.

    Attributes:
        type: The error type as the code that failed knows it, for example `ValueError`.
        kind: `application`, `timeout`, `cancelled`, `terminated`, `worker_lost` or `limit`.
        timeout: For kind `timeout`, which one: for example `start_to_close`; else empty.
        details: The value attached to the error, decoded as plain JSON.
        stack_trace: Where it was raised, as text.
        failure: The message as recorded.
    """

    def __init__(self, message: str, *, failure: Failure, details: Any = None) -> None:
        super().__init__(message)
        self.failure = failure
        self.details = details
        self.type = failure.type
        self.kind = _short(FailureKind.Name(failure.kind or FailureKind.FAILURE_KIND_APPLICATION))
        self.timeout = _short(TimeoutType.Name(failure.timeout_type))
        self.stack_trace = failure.stack_trace


class ActivityError(FailureError):
    """An activity failed for good.

    Attributes:
        activity: The activity's name.
        attempt: The number of the last attempt.
    """

    def __init__(
        self, message: str, *, failure: Failure, details: Any = None, activity: str, attempt: int
    ) -> None:
        super().__init__(message, failure=failure, details=details)
        self.activity = activity
        self.attempt = attempt


class ActivityTimeoutError(ActivityError):
    """A timeout ended the activity for good; `timeout` names it."""


class ActivityCancelledError(ActivityError):
    """The activity ended by cancellation that this code did not ask for."""


class StepError(FailureError):
    """A step failed for good.

    Attributes:
        step: The step's name.
        attempt: How often it was run.
    """

    def __init__(
        self, message: str, *, failure: Failure, details: Any = None, step: str, attempt: int
    ) -> None:
        super().__init__(message, failure=failure, details=details)
        self.step = step
        self.attempt = attempt


class ChildWorkflowError(FailureError):
    """A child ended without a result: it failed, was cancelled or terminated, or ran out of time.

    Attributes:
        workflow_id: The child.
        run_id: The run that closed; empty when none was started.
        workflow_type: The child's type.
        status: How it ended, for example `FAILED`; empty when it was never started.
    """

    def __init__(
        self,
        message: str,
        *,
        failure: Failure,
        details: Any = None,
        workflow_id: str,
        run_id: str,
        workflow_type: str,
        status: str,
    ) -> None:
        super().__init__(message, failure=failure, details=details)
        self.workflow_id = workflow_id
        self.run_id = run_id
        self.workflow_type = workflow_type
        self.status = status


class ChildAlreadyExistsError(ChildWorkflowError):
    """The child was not started: its workflow id is in use, and the policies forbid another run."""


class ExternalWorkflowError(FailureError):
    """A signal to another workflow, or its cancellation, found no open run.

    Attributes:
        workflow_id: The other workflow.
    """

    def __init__(
        self, message: str, *, failure: Failure, details: Any = None, workflow_id: str
    ) -> None:
        super().__init__(message, failure=failure, details=details)
        self.workflow_id = workflow_id


def _short(name: str) -> str:
    short = name.removeprefix("FAILURE_KIND_").removeprefix("TIMEOUT_TYPE_").lower()
    return "" if short == "unspecified" else short
