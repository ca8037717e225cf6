"""Owns the examples of the description: one value per key, put together as the schemas say."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from perdure_server.rest.openapi_bounds import Schema

_RUN_ID: Final = "0199f0c2-7a41-7c55-b1a5-3d2f6c0f9e11"
_TOKEN: Final = f"1a1.1.1.0.{_RUN_ID}"
_INSTANT: Final = 1_763_726_400.25

_VALUES: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "activities": ["charge"],
        "activity_id": _TOKEN,
        "attempt": 1,
        "backoff_coefficient": 2,
        "claimed_by": "worker-1",
        "completed_at": _INSTANT,
        "created_at": _INSTANT,
        "history_length": 4,
        "identity": "worker-1",
        "initial_interval_secs": 1,
        "input": {"order": "o-1", "cents": 4200},
        "kind": "signal_received",
        "label": "ci",
        "last_heartbeat": _INSTANT,
        "max_attempts": 3,
        "max_concurrent_activities": 10,
        "max_concurrent_workflows": 10,
        "max_interval_secs": 100,
        "name": "charge",
        "namespace": "main",
        "oldest_pending_secs": 0.25,
        "payload": {"approved_by": "ada"},
        "plaintext": "pk_4f1d0c9a_Zx3Q8yT2mV6nB1kL",
        "prefix": "pk_4f1d0c9a",
        "priority": 3,
        "query_name": "listed",
        "queue": "shop",
        "reason": "the customer called",
        "registered_at": _INSTANT,
        "result": {"receipt": "r-77"},
        "run_id": _RUN_ID,
        "scheduled_at": _INSTANT,
        "seq": 1,
        "service": "perdure",
        "signal_name": "approvals",
        "update_name": "add_item",
        "start_to_close_secs": 300,
        "started_at": _INSTANT,
        "task_queue": "shop",
        "task_token": _TOKEN,
        "timestamp": _INSTANT,
        "updated_at": _INSTANT,
        "version": "0.1.0",
        "wait_secs": 0,
        "worker_id": "worker-1",
        "workflow_id": "order-1",
        "workflow_type": "checkout",
        "workflows": ["checkout"],
    }
)
_NIGHTLY: Final = MappingProxyType({"cron_expr": "30 3 * * *", "timezone": "Europe/Berlin"})
_BY_COMPONENT: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "Workflow": {"id": "order-1", "status": "COMPLETED", "error": None},
        "Activity": {"id": _TOKEN, "status": "COMPLETED"},
        "ActivityTask": {"id": _TOKEN, "input": '{"order":"o-1","cents":4200}', "result": None},
        "WorkerInfo": {"id": "worker-1"},
        "Cause": {
            "kind": "SIGNAL",
            "text": "the code waits for signal 'approvals' since 2026-03-29 01:00:00Z",
            "name": "approvals",
        },
        "Namespace": {"name": "main"},
        "NamespaceStats": {"completed": 12, "total_workflows": 12},
        "CreateNamespaceRequest": {"name": "billing"},
        "StartWorkflowResponse": {"status": "PENDING", "started": True},
        "GetHealthResponse": {"status": "ok"},
        "GetVersionResponse": {"build_profile": "release"},
        "GetWorkflowResultResponse": {"status": "COMPLETED", "closed": True},
        "FailActivityRequest": {"error": "the card was declined", "non_retryable": True},
        "HeartbeatActivityRequest": {"details": {"done": 17}},
        "CompleteWorkflowTaskRequest": {
            "commands": [{"type": "ScheduleActivity", "seq": 1, "name": "charge", "input": 4200}]
        },
        "HistoryEvent": {"event_type": "WorkflowStarted", "payload": {"order": "o-1"}},
        "CreateApiKeyRequest": {"label": "ci"},
        "CancelWorkflowResponse": {"status": "RUNNING"},
        "SignalWorkflowResponse": {"event_seq": 2},
        "CreateScheduleRequest": {"name": "nightly", "workflow_type": "report", **_NIGHTLY},
        "UpdateScheduleRequest": {"cron_expr": "30 4 * * *"},
        "BackfillScheduleRequest": {"start_at": 1_767_225_600, "end_at": 1_767_398_400},
        "ScheduledRun": {"workflow_id": "nightly-2026-01-01T02:30:00Z"},
        "Schedule": {
            "name": "nightly",
            "workflow_type": "report",
            "last_workflow_id": "nightly-2026-01-01T02:30:00Z",
            **_NIGHTLY,
        },
        "WatchResponse": {"id": "1.42.0", "seq": 3},
        "WatchWorkflowResponse": {"id": f"{_RUN_ID}:3", "seq": 3},
    }
)
_ANSWERS: Final[Mapping[tuple[str, int], Mapping[str, Any]]] = MappingProxyType(
    {
        ("GetOpenApi", 200): {"openapi": "3.1.0", "info": {"title": "Perdure", "version": "1"}},
        ("CreateApiKey", 200): {"prefix": "pk_4f1d0c9a", "label": "ci", "created_at": _INSTANT},
        ("GetWorkflowResult", 202): {
            "run_id": _RUN_ID,
            "status": "RUNNING",
            "result": None,
            "error": None,
            "failure": None,
            "closed": False,
        },
    }
)
"""Answers that the keys alone do not give."""
_ASKED: Final = frozenset({"input", "payload", "reason", "result", "task_queue", "workflow_id"})
"""What a request shows beside what it requires."""


class Examples:
    """Makes examples of the schemas of one document."""

    def __init__(self, components: Mapping[str, Schema]) -> None:
        self._components = components

    def request(self, name: str) -> dict[str, Any]:
        """Returns a request that is accepted, of the component with this name."""
        schema, own = self._components[name], _BY_COMPONENT.get(name, {})
        required = set(schema.get("required", ()))
        keys = [key for key in schema["properties"] if key in required | own.keys() | _ASKED]
        return {key: self._property(name, key) for key in keys}

    def answer(self, schema: Schema, operation: str, status: int) -> Any:
        """Returns an answer of an operation with a status."""
        usual = _ANSWERS.get((operation, status))
        return self._value(schema, ()) if usual is None else dict(usual)

    def parameter(self, name: str) -> Any:
        """Returns the value of a parameter that is required; KeyError when there is none."""
        return _VALUES[name]

    def _property(self, component: str, key: str, within: tuple[str, ...] = ()) -> Any:
        schema = self._components[component]["properties"][key]
        known = {**_VALUES, **_BY_COMPONENT.get(component, {})}
        if "const" in schema:
            return schema["const"]
        if key in known and not _is_always_null(schema):
            return known[key]
        return None if _may_be_null(schema) else self._value(schema, (*within, component))

    def _value(self, schema: Schema, within: tuple[str, ...]) -> Any:
        if "$ref" in schema:
            return self._component(schema["$ref"].rpartition("/")[2], within)
        if "anyOf" in schema:
            return self._value(schema["anyOf"][0], within)
        if schema.get("type") == "array":
            items = schema.get("items")
            return [self._value(items, within)] if items else []
        return _plain_value(schema)

    def _component(self, name: str, within: tuple[str, ...]) -> Any:
        if name in within:
            return None
        properties = self._components[name].get("properties", {})
        return {key: self._property(name, key, within) for key in properties}


def _plain_value(schema: Schema) -> Any:
    match schema.get("type"):
        case "integer" | "number":
            return schema.get("minimum", 0)
        case "string":
            return schema.get("enum", ["text"])[0]
        case "boolean":
            return False
    return None


def _may_be_null(schema: Schema) -> bool:
    return "null" in (schema.get("type") or "null") or {"type": "null"} in schema.get("anyOf", ())


def _is_always_null(schema: Schema) -> bool:
    return bool(schema.get("type") == "null")
