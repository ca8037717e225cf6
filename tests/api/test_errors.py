"""The table from domain errors to statuses."""

from __future__ import annotations

import inspect

import pytest
from google.rpc.error_details_pb2 import ErrorInfo

from perdure.v1.error_reason_pb2 import ErrorReason
from perdure_server.api.errors import ERROR_DOMAIN, STATUS_CODES, to_status
from perdure_server.core import errors

DOMAIN_ERRORS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, errors.DomainError)
]


@pytest.mark.parametrize("kind", DOMAIN_ERRORS)
def test_every_error_has_a_row_and_a_reason_of_the_contract(kind):
    assert kind in STATUS_CODES
    assert f"ERROR_REASON_{kind.reason}" in ErrorReason.keys()  # noqa: SIM118 - not a dict


def info_of(error):
    status = to_status(error)
    info = ErrorInfo()
    assert status.details[0].Unpack(info)
    return status, info


def test_a_status_carries_text_reason_and_domain():
    status, info = info_of(errors.WorkflowNotFound("no workflow 'a'"))
    assert (status.code, status.message) == (5, "no workflow 'a'")
    assert (info.reason, info.domain) == ("WORKFLOW_NOT_FOUND", ERROR_DOMAIN)
    assert not info.metadata


def test_an_invalid_request_names_its_field():
    _, info = info_of(errors.InvalidRequest("is empty", "workflow_type"))
    assert dict(info.metadata) == {"field": "workflow_type"}


def test_an_invalid_request_without_a_field_names_none():
    _, info = info_of(errors.InvalidRequest("is odd"))
    assert not info.metadata


def test_an_invalid_command_names_index_and_field():
    _, info = info_of(errors.InvalidCommand(3, "duration", "is negative"))
    assert dict(info.metadata) == {"command_index": "3", "field": "duration"}
