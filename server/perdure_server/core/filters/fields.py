"""Owns the fields that every run has, as filters name them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from types import MappingProxyType
from typing import Final

from perdure_server.core.model import RunStatus


class Kind(Enum):
    """What kind of value a field has."""

    STRING = auto()
    STATUS = auto()
    WHOLE = auto()
    TRUTH = auto()
    INSTANT = auto()


@dataclass(slots=True, frozen=True)
class Field:
    """A field of every run: `column` is the name of it in `Run`."""

    name: str
    column: str
    kind: Kind
    nullable: bool = False


_ALL: Final = (
    Field("workflow_id", "workflow_id", Kind.STRING),
    Field("run_id", "run_id", Kind.STRING),
    Field("workflow_type", "workflow_type", Kind.STRING),
    Field("task_queue", "task_queue", Kind.STRING),
    Field("status", "status", Kind.STATUS),
    Field("parent_workflow_id", "parent_workflow_id", Kind.STRING),
    Field("parent_run_id", "parent_run_id", Kind.STRING),
    Field("attempt", "attempt", Kind.WHOLE),
    Field("priority", "priority", Kind.WHOLE),
    Field("history_length", "history_length", Kind.WHOLE),
    Field("history_bytes", "history_bytes", Kind.WHOLE),
    Field("cancel_requested", "cancel_requested", Kind.TRUTH),
    Field("created_at", "created_at_us", Kind.INSTANT),
    Field("updated_at", "updated_at_us", Kind.INSTANT),
    Field("started_at", "started_at_us", Kind.INSTANT, nullable=True),
    Field("completed_at", "closed_at_us", Kind.INSTANT, nullable=True),
)
_ALIASES: Final = {
    "id": "workflow_id",
    "type": "workflow_type",
    "parent_id": "parent_workflow_id",
    "WorkflowId": "workflow_id",
    "RunId": "run_id",
    "WorkflowType": "workflow_type",
    "TaskQueue": "task_queue",
    "ExecutionStatus": "status",
    "ParentWorkflowId": "parent_workflow_id",
    "ParentId": "parent_workflow_id",
    "ParentRunId": "parent_run_id",
    "Attempt": "attempt",
    "HistoryLength": "history_length",
    "HistorySizeBytes": "history_bytes",
    "StartTime": "created_at",
    "ExecutionTime": "started_at",
    "CloseTime": "completed_at",
}
_BY_NAME: Final = {field.name: field for field in _ALL}
FIELDS: Final[Mapping[str, Field]] = MappingProxyType(
    _BY_NAME | {alias: _BY_NAME[name] for alias, name in _ALIASES.items()}
)
"""The fields by each of their names: those of records, and those that Temporal has for them."""

STATUSES: Final[Mapping[str, RunStatus]] = MappingProxyType(
    {status.replace("_", ""): status for status in RunStatus} | {"CANCELED": RunStatus.CANCELLED}
)
"""The statuses, by their names without `_`: also `TimedOut` and `ContinuedAsNew` are understood."""
