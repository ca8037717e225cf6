"""What a refusal becomes over REST: a status, and JSON."""

from __future__ import annotations

import json

import grpc
import pytest

from perdure_server.api.errors import code_of, to_status
from perdure_server.core import errors as domain
from perdure_server.rest.statuses import (
    HTTP_STATUSES,
    STATUS_DETAILS_KEY,
    http_status,
    refusal_of,
)


def refusal(error, rest_name=str):
    trailing = ((STATUS_DETAILS_KEY, to_status(error).SerializeToString()),)
    return refusal_of(code_of(error), str(error), trailing, rest_name)


def told(error, rest_name=str):
    return json.loads(refusal(error, rest_name).body())


def test_every_code_has_a_status():
    assert set(HTTP_STATUSES) == set(grpc.StatusCode) - {grpc.StatusCode.OK}


@pytest.mark.parametrize(
    ("code", "reason", "status"),
    [
        ("INVALID_ARGUMENT", "INVALID_REQUEST", 400),
        ("INVALID_ARGUMENT", "PAYLOAD_TOO_LARGE", 413),
        ("NOT_FOUND", "WORKFLOW_NOT_FOUND", 404),
        ("ALREADY_EXISTS", "WORKFLOW_ALREADY_EXISTS", 409),
        ("FAILED_PRECONDITION", "STALE_TASK", 409),
        ("OUT_OF_RANGE", "CURSOR_EXPIRED", 410),
        ("RESOURCE_EXHAUSTED", "WATCHER_TOO_SLOW", 429),
        ("UNAUTHENTICATED", "UNAUTHENTICATED", 401),
        ("UNAVAILABLE", "SHUTTING_DOWN", 503),
        ("INTERNAL", "INTERNAL", 500),
    ],
)
def test_statuses(code, reason, status):
    assert http_status(grpc.StatusCode[code], reason) == status


def kinds(kind):
    return [kind, *(deeper for child in kind.__subclasses__() for deeper in kinds(child))]


@pytest.mark.parametrize(
    "kind", [kind for kind in kinds(domain.DomainError) if kind.__module__ == domain.__name__]
)
def test_a_mistake_of_the_caller_is_never_5xx(kind):
    others = {
        domain.InvalidCommand: (0, "f", "p"),
        domain.InvalidFilter: ("text", 1),
        domain.UpdateRejected: ("text", "type"),
        domain.QueryFailed: ("text", "type"),
    }
    error = kind(*others.get(kind, ("text",)))
    is_ours = code_of(error).name in {"UNAVAILABLE", "INTERNAL"}
    assert refusal(error).status // 100 == (5 if is_ours else 4)


def test_a_refusal_tells_text_reason_and_details():
    assert told(domain.WorkflowNotFound("no workflow 'ä'")) == {
        "error": "no workflow 'ä'",
        "reason": "WORKFLOW_NOT_FOUND",
        "details": {},
    }


def test_a_field_bears_its_rest_name_in_text_and_details():
    error = domain.InvalidRequest("is required; task_queue: never", "task_queue")
    assert told(error, {"task_queue": "queue"}.get) == {
        "error": "queue: is required; task_queue: never",
        "reason": "INVALID_REQUEST",
        "details": {"field": "queue"},
    }


def test_a_command_is_told_by_its_index_and_field():
    error = domain.InvalidCommand(3, "schedule_activity.options.max_attempts", "is negative")
    names = {"commands.schedule_activity.options.max_attempts": "commands.max_attempts"}
    assert told(error, names.get) == {
        "error": "command 3: max_attempts: is negative",
        "reason": "INVALID_COMMAND",
        "details": {"command_index": "3", "field": "max_attempts"},
    }


@pytest.mark.parametrize("trailing", [(), ((STATUS_DETAILS_KEY, b"\xff"),), (("x", "y"),)])
def test_a_status_without_details_names_its_code(trailing):
    found = refusal_of(grpc.StatusCode.PERMISSION_DENIED, "no", trailing, str)
    assert (found.status, found.reason, found.details) == (403, "PERMISSION_DENIED", {})


def test_json_of_a_refusal_is_one_line():
    assert b"\n" not in refusal(domain.InvalidRequest("a\nb\r\nc")).body()
