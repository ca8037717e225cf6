"""The errors that the contract tells of each RPC have a row that provokes them, and no others have.

`tests/api/test_documented_errors.py` lets each row do so.
"""

from __future__ import annotations

import pytest

from perdure.v1.error_reason_pb2 import ErrorReason
from tests.api.calls import METHODS
from tests.api.refusals import ROWS
from tests.tidy.errors_told import errors_told
from tests.tidy.sources import ROOT

ELSEWHERE = {
    ("AdminService/CreateApiKey", "UNAUTHENTICATED"): "tests/api/test_authentication.py",
    ("AdminService/GetHealth", "STORE_UNAVAILABLE"): "tests/api/test_admin_service.py",
    ("WorkerService/Work", "SESSION_REPLACED"): "tests/api/test_work.py",
    ("WorkflowService/QueryWorkflow", "LIMIT_EXCEEDED"): "tests/api/test_queries.py",
    ("WorkflowService/QueryWorkflow", "QUERY_FAILED"): "tests/api/test_queries.py",
}
"""Errors that need another server than this one, or two streams, each with where it is shown."""
OF_ANY_RPC = {
    "INVALID_REQUEST": "tests/api/test_workflow_service.py",
    "LIMIT_EXCEEDED": "tests/api/test_workflow_service.py",
    "INTERNAL": "tests/api/test_interceptors.py",
    "RUN_CONTENDED": "tests/engine/test_resets.py",
    "SHUTTING_DOWN": "tests/api/test_interceptors.py",
    "STORE_BUSY": "tests/store/test_sqlite.py",
    "STORE_UNAVAILABLE": "tests/api/test_admin_service.py",
    "UNAUTHENTICATED": "tests/api/test_authentication.py",
}
"""Errors of any RPC, most of which need a fault; the comment of the service tells of them."""
NEVER_SENT = {"UNSPECIFIED", "WATCHER_TOO_SLOW"}
TOLD = {(rpc, reason): code for rpc, pairs in errors_told().items() for code, reason in pairs}
IMPLIED = {
    "page_token": "INVALID_PAGE_TOKEN",
    "request_id": "REQUEST_ID_REUSED",
    "task_token": "INVALID_TASK_TOKEN",
}
"""Errors that any request with such a field may end with."""
SPARED = {
    ("ScheduleService/DeleteSchedule", "REQUEST_ID_REUSED"): "it says nothing but what is deleted",
    ("WorkerService/ListWorkers", "INVALID_PAGE_TOKEN"): "any worker id is a page token",
}
"""Those that cannot happen, with the reason."""


def test_every_documented_error_has_a_row_and_every_row_is_documented():
    assert TOLD.keys() - ELSEWHERE.keys() - ROWS.keys() == set()
    assert ROWS.keys() - TOLD.keys() == set()
    assert ELSEWHERE.keys() <= TOLD.keys() - ROWS.keys()


@pytest.mark.parametrize("rpc", sorted(METHODS))
def test_what_the_fields_of_a_request_imply_is_documented(rpc):
    known = {reason for told, reason in TOLD.keys() | SPARED.keys() if told == rpc}
    fields = METHODS[rpc].input_type.fields
    implied = {IMPLIED[field.name] for field in fields if field.name in IMPLIED}
    if any(field.message_type and field.message_type.name == "Payload" for field in fields):
        implied.add("PAYLOAD_TOO_LARGE")
    assert implied <= known


@pytest.mark.parametrize(
    ("reason", "path"),
    [*OF_ANY_RPC.items(), *((reason, path) for (_, reason), path in ELSEWHERE.items())],
)
def test_what_is_shown_elsewhere_is_shown(reason, path):
    text = (ROOT / path).read_text(encoding="utf-8")
    assert reason in text or reason.title().replace("_", "") in text


def test_every_reason_is_told_of_some_rpc_or_of_any():
    told = {reason for _, reason in TOLD} | OF_ANY_RPC.keys() | NEVER_SENT
    assert {f"ERROR_REASON_{reason}" for reason in told} == set(ErrorReason.keys())
