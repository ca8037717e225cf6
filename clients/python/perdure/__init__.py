"""Perdure: workflows written as async functions that survive crashes.

The names below are loaded when they are first used, so that importing `perdure.v1` (the generated
messages, which the server shares) loads nothing of the SDK. `workflow`, `activity` and `signal`
are decorators and carry the author's other words: `workflow.now()`, `activity.heartbeat(...)`.
Their modules are therefore named `_workflow`, `_activity`, `_signal`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perdure._activity import activity as activity
    from perdure._asking import QueryMode as QueryMode
    from perdure._asking import query as query
    from perdure._asking import update as update
    from perdure._child import ChildHandle as ChildHandle
    from perdure._handles import WorkflowDescription as WorkflowDescription
    from perdure._handles import WorkflowHandle as WorkflowHandle
    from perdure._handles import WorkflowStatus as WorkflowStatus
    from perdure._inject import inject as inject
    from perdure._options import RetryPolicy as RetryPolicy
    from perdure._run import run as run
    from perdure._schedules import ScheduleDescription as ScheduleDescription
    from perdure._schedules import ScheduledRun as ScheduledRun
    from perdure._schedules import ScheduleHandle as ScheduleHandle
    from perdure._search import SearchAttributeKey as SearchAttributeKey
    from perdure._signal import signal as signal
    from perdure._start_batch import Start as Start
    from perdure._workflow import workflow as workflow
    from perdure.client import Client as Client
    from perdure.codec import Codec as Codec
    from perdure.codec import Compression as Compression
    from perdure.codec import SealedFailures as SealedFailures
    from perdure.converter import Converter as Converter
    from perdure.errors import ActivityCancelledError as ActivityCancelledError
    from perdure.errors import ActivityError as ActivityError
    from perdure.errors import ActivityTimeoutError as ActivityTimeoutError
    from perdure.errors import ApplicationError as ApplicationError
    from perdure.errors import ChildAlreadyExistsError as ChildAlreadyExistsError
    from perdure.errors import ChildWorkflowError as ChildWorkflowError
    from perdure.errors import DeterminismError as DeterminismError
    from perdure.errors import ExternalWorkflowError as ExternalWorkflowError
    from perdure.errors import PayloadError as PayloadError
    from perdure.errors import PerdureError as PerdureError
    from perdure.errors import RpcError as RpcError
    from perdure.errors import RunClosedError as RunClosedError
    from perdure.errors import SnapshotNotFoundError as SnapshotNotFoundError
    from perdure.errors import StepError as StepError
    from perdure.errors import UnavailableError as UnavailableError
    from perdure.errors import UpdateRejectedError as UpdateRejectedError
    from perdure.errors import WorkflowAlreadyExistsError as WorkflowAlreadyExistsError
    from perdure.errors import WorkflowCancelledError as WorkflowCancelledError
    from perdure.errors import WorkflowClosedError as WorkflowClosedError
    from perdure.errors import WorkflowError as WorkflowError
    from perdure.errors import WorkflowFailedError as WorkflowFailedError
    from perdure.errors import WorkflowNotFoundError as WorkflowNotFoundError
    from perdure.errors import WorkflowTerminatedError as WorkflowTerminatedError
    from perdure.errors import WorkflowTimedOutError as WorkflowTimedOutError
    from perdure.interceptors import ActivityInterceptor as ActivityInterceptor
    from perdure.interceptors import CarryContext as CarryContext
    from perdure.interceptors import ClientInterceptor as ClientInterceptor
    from perdure.interceptors import WorkflowInterceptor as WorkflowInterceptor
    from perdure.worker import Worker as Worker
    from perdure.worker import WorkerOptions as WorkerOptions

__version__ = "0.1.0"

_HOMES = {
    "ActivityInterceptor": "interceptors",
    "CarryContext": "interceptors",
    "ChildHandle": "_child",
    "Client": "client",
    "ClientInterceptor": "interceptors",
    "Codec": "codec",
    "Compression": "codec",
    "Converter": "converter",
    "RetryPolicy": "_options",
    "SealedFailures": "codec",
    "SearchAttributeKey": "_search",
    "ScheduleDescription": "_schedules",
    "ScheduleHandle": "_schedules",
    "ScheduledRun": "_schedules",
    "Start": "_start_batch",
    "Worker": "worker",
    "WorkerOptions": "worker",
    "WorkflowDescription": "_handles",
    "WorkflowHandle": "_handles",
    "WorkflowStatus": "_handles",
    "WorkflowInterceptor": "interceptors",
    "activity": "_activity",
    "inject": "_inject",
    "QueryMode": "_asking",
    "query": "_asking",
    "run": "_run",
    "signal": "_signal",
    "update": "_asking",
    "workflow": "_workflow",
    **dict.fromkeys(
        (
            "ActivityCancelledError",
            "ActivityError",
            "ActivityTimeoutError",
            "ApplicationError",
            "ChildAlreadyExistsError",
            "ChildWorkflowError",
            "DeterminismError",
            "ExternalWorkflowError",
            "PayloadError",
            "PerdureError",
            "RpcError",
            "RunClosedError",
            "SnapshotNotFoundError",
            "UnavailableError",
            "StepError",
            "UpdateRejectedError",
            "WorkflowAlreadyExistsError",
            "WorkflowCancelledError",
            "WorkflowClosedError",
            "WorkflowError",
            "WorkflowFailedError",
            "WorkflowNotFoundError",
            "WorkflowTerminatedError",
            "WorkflowTimedOutError",
        ),
        "errors",
    ),
}

__all__ = [  # noqa: PLE0604 -- the names are those of the table
    "__version__",
    *_HOMES,
]


def __getattr__(name: str) -> object:
    """Loads the module that owns `name`; raises AttributeError for any other name."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Lists the public names."""
    return sorted(__all__)
