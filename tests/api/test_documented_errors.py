"""Each error that the contract tells of an RPC is told to who provokes it, and no others."""

from __future__ import annotations

import pytest

from tests.api.calls import METHODS
from tests.api.flows import refused
from tests.api.refusals import ROWS, Doors
from tests.tidy.errors_told import errors_told

ELSEWHERE = {
    ("AdminService/CreateApiKey", "UNAUTHENTICATED"): "test_authentication.py",
    ("AdminService/GetHealth", "STORE_UNAVAILABLE"): "test_admin_service.py",
    ("WorkerService/Work", "SESSION_REPLACED"): "test_work.py",
    ("WorkflowService/QueryWorkflow", "LIMIT_EXCEEDED"): "test_queries.py",
    ("WorkflowService/QueryWorkflow", "QUERY_FAILED"): "test_queries.py",
}
"""Errors that need another server than this one, or two streams, each with where it is shown."""
OF_ANY_RPC = {
    "INVALID_REQUEST": "test_workflow_service.py",
    "LIMIT_EXCEEDED": "test_workflow_service.py",
    "INTERNAL": "test_interceptors.py",
    "RUN_CONTENDED": "tests/engine/test_races.py",
    "SHUTTING_DOWN": "test_interceptors.py",
    "STORE_BUSY": "tests/engine/test_runs.py",
    "STORE_UNAVAILABLE": "test_admin_service.py",
    "UNAUTHENTICATED": "test_authentication.py",
}
"""Errors of any RPC, most of which need a fault; the comment of the service tells of them."""
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


@pytest.fixture
def store(sqlite_store):
    return sqlite_store


@pytest.mark.parametrize(("rpc", "reason"), sorted(ROWS), ids=str)
async def test_a_documented_error_is_told(flows, rpc, reason):
    async with refused(TOLD[rpc, reason], reason):
        await ROWS[rpc, reason](Doors(flows))


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
