"""Owns how the bounds of `core/limits.py` look in JSON Schema, field by field.

Sizes of text are bounds on UTF-8 bytes, which JSON Schema cannot count: `maxLength` is the loosest
bound on characters.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from perdure_server.core.limits import (
    BATCH_MAX,
    COMMANDS_MAX,
    DURATION_US_MAX,
    EXTERNAL_SEQ_MAX,
    FILTER_BYTES_MAX,
    HEADERS_MAX,
    ID_BYTES_MAX,
    OFFSET_MAX,
    PAGE_SIZE_MAX,
    PRIORITY_MAX,
    REASON_BYTES_MAX,
    REMAINING_RUNS_MAX,
    SCHEDULE_TIME_US_MAX,
    SEARCH_ATTRIBUTES_MAX,
    SEARCH_TEXT_BYTES_MAX,
    SEARCH_VALUES_MAX,
    SECOND_US,
    SLOTS_MAX,
    TYPES_MAX,
    WAIT_US_MAX,
)
from perdure_server.core.worker_checks import EVENT_KINDS, NOTICE_KINDS

Schema = dict[str, Any]

ID: Final = MappingProxyType(
    {
        "type": "string",
        "maxLength": ID_BYTES_MAX,
        "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]*$",
    }
)
INSTANT: Final = MappingProxyType(
    {"type": "number", "minimum": 0, "maximum": SCHEDULE_TIME_US_MAX // SECOND_US - 1}
)
_KEYWORD: Final = MappingProxyType(
    {"type": "string", "maxLength": ID_BYTES_MAX, "pattern": "^[^\\u0000]*$"}
)
OPAQUE: Final = MappingProxyType({"type": "string"})
"""What this server gave out before."""

_OPAQUE_NAMES: Final = frozenset({"page_token", "after", "task_token", "activity_id"})
_REASONS: Final = frozenset({"reason", "note"})
_KINDS: Final = "kinds"
_FILTER: Final = "filter"
_FREE_MESSAGES: Final = frozenset({"perdure.v1.Failure"})
_FREE_FIELDS: Final = frozenset({"perdure.v1.Command.source"})
_MICROSECOND: Final = 1 / SECOND_US

_NUMBERS: Final = MappingProxyType(
    {
        "page_size": (0, PAGE_SIZE_MAX),
        "priority": (0, PRIORITY_MAX),
        "offset": (0, OFFSET_MAX),
        "workflow_tasks": (0, SLOTS_MAX),
        "activity_tasks": (0, SLOTS_MAX),
        "max_attempts": (0, 2**31 - 1),
        "count": (0, PAGE_SIZE_MAX),
        "remaining_runs": (1, REMAINING_RUNS_MAX),
        "after_seq": (0, 2**63 - 1),
        "received_batch": (0, BATCH_MAX),
        "wait": (0, WAIT_US_MAX // SECOND_US),
        "initial_interval": (_MICROSECOND, DURATION_US_MAX // SECOND_US),
        "max_interval": (_MICROSECOND, DURATION_US_MAX // SECOND_US),
    }
)
_OF_ONE_FIELD: Final = MappingProxyType(
    {
        "perdure.v1.ScheduleActivityRequest.seq": (1, EXTERNAL_SEQ_MAX),
        "perdure.v1.ScheduleActivity.seq": (1, 2**63 - 1),
        "perdure.v1.ResetWorkflowRequest.event_seq": (1, 2**63 - 1),
    }
)
_COUNTS: Final = MappingProxyType(
    {
        "workflow_types": TYPES_MAX,
        "activity_types": TYPES_MAX,
        "commands": COMMANDS_MAX,
        "headers": HEADERS_MAX,
    }
)
_REQUIRED: Final = frozenset(
    {
        "perdure.v1.StreamTasksRequest.worker_id",
        "perdure.v1.StreamTasksRequest.task_queue",
        "perdure.v1.HeartbeatRequest.worker_id",
        "perdure.v1.ScheduleActivity.seq",
        "perdure.v1.ScheduleActivity.name",
        "perdure.v1.CancelActivity.seq",
        "perdure.v1.ScheduleTimer.seq",
        "perdure.v1.ScheduleTimer.duration",
        "perdure.v1.CancelTimer.seq",
        "perdure.v1.WaitForSignal.signal_name",
    }
)
"""Required fields whose comment does not say so, because another field may stand in on gRPC."""

_INTEGERS: Final = MappingProxyType(
    {
        FieldDescriptor.TYPE_INT32: ("int32", -(2**31), 2**31 - 1),
        FieldDescriptor.TYPE_INT64: ("int64", -(2**63), 2**63 - 1),
        FieldDescriptor.TYPE_UINT64: ("uint64", 0, 2**64 - 1),
    }
)

_ALWAYS_SET: Final = frozenset(
    {
        "activity_id",
        "build_profile",
        "created_at",
        "history",
        "cursor",
        "kind",
        "name",
        "namespace",
        "prefix",
        "queue",
        "registered_at",
        "run_id",
        "scheduled_at",
        "service",
        "signal_name",
        "update_name",
        "status",
        "task_queue",
        "task_token",
        "timestamp",
        "updated_at",
        "version",
        "worker_id",
        "workflow_id",
        "workflow_type",
    }
)
"""Names of fields that every answer holds; all others may be `null`."""
_SOMETIMES_UNSET: Final = frozenset({"perdure.v1.Failure", "perdure.v1.ScheduledRun"})
_MAYBE_UNSET: Final = frozenset({"perdure.v1.Cause.name", "perdure.v1.Cause.task_queue"})


def integer_format(field: FieldDescriptor) -> str:
    """Returns how large an integer of an answer can be."""
    return _INTEGERS[field.type][0]


def message_of(field: FieldDescriptor) -> Descriptor:
    """Returns the message that a field holds. Raises ValueError when it holds none."""
    if field.message_type is None:
        raise ValueError(f"{field.full_name} is no message")
    return field.message_type


def text_of(field: FieldDescriptor) -> Schema:
    """Returns what a text may be in a request."""
    if field.name in _OPAQUE_NAMES:
        return dict(OPAQUE)
    if _owner(field) in _FREE_MESSAGES or field.full_name in _FREE_FIELDS:
        return {"type": "string"}
    if field.name in _REASONS:
        return {"type": "string", "maxLength": REASON_BYTES_MAX}
    if field.name == _FILTER:
        return {"type": "string", "maxLength": FILTER_BYTES_MAX}
    if field.name == _KINDS:
        return {"type": "string", "enum": sorted(EVENT_KINDS | NOTICE_KINDS)}
    return dict(ID)


def number_of(field: FieldDescriptor) -> Schema:
    """Returns what a number may be in a request, also one that is an instant."""
    if field.message_type is not None:
        return dict(INSTANT)
    if field.type == FieldDescriptor.TYPE_DOUBLE:
        return {"type": "number", "minimum": 1}
    low, high = _NUMBERS.get(field.name, _INTEGERS[field.type][1:])
    low, high = _OF_ONE_FIELD.get(field.full_name, (low, high))
    return {"type": "integer", "minimum": low, "maximum": high}


def span_of(field: FieldDescriptor) -> Schema:
    """Returns what a span of seconds may be in a request."""
    low, high = _NUMBERS.get(field.name, (0, DURATION_US_MAX // SECOND_US))
    return {"type": "number", "minimum": low, "maximum": high}


def attributes_asked() -> Schema:
    """Returns what search attributes may be in a request."""
    keywords = {"type": "array", "items": dict(_KEYWORD), "maxItems": SEARCH_VALUES_MAX}
    plain: list[Schema] = [
        {"type": "string", "maxLength": SEARCH_TEXT_BYTES_MAX, "pattern": _KEYWORD["pattern"]},
        {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
        {"type": ["number", "boolean", "null"]},
        keywords,
    ]
    typed: dict[str, Schema] = {
        "keyword": dict(_KEYWORD),
        "text": {"type": "string", "maxLength": SEARCH_TEXT_BYTES_MAX},
        "int": plain[1],
        "double": {"type": "number"},
        "bool": {"type": "boolean"},
        "datetime": {"type": "string", "format": "date-time"},
        "keyword_list": keywords,
    }
    return {
        "type": "object",
        "maxProperties": SEARCH_ATTRIBUTES_MAX,
        "propertyNames": {**ID, "minLength": 1},
        "additionalProperties": {"anyOf": plain + [_typed(*each) for each in typed.items()]},
    }


def _typed(kind: str, value: Schema) -> Schema:
    return {
        "type": "object",
        "properties": {
            "type": {"const": kind},
            "value": {**value, "type": [value["type"], "null"]},
        },
        "required": ["type", "value"],
        "additionalProperties": False,
    }


def count_of(field: FieldDescriptor) -> int | None:
    """Returns the bound on the length of a list in a request, if there is one."""
    return _COUNTS.get(field.name)


def requires(field: FieldDescriptor) -> bool:
    """Tells whether a field must be given although its comment does not say so."""
    return field.full_name in _REQUIRED


def is_always_set(field: FieldDescriptor) -> bool:
    """Tells whether a field of an answer is never `null`."""
    if _owner(field) in _SOMETIMES_UNSET or field.full_name in _MAYBE_UNSET:
        return False
    return field.name in _ALWAYS_SET


def _owner(field: FieldDescriptor) -> str:
    return field.full_name.rpartition(".")[0]
