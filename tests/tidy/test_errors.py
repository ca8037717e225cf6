"""Every error of the domain has a reason, a status code and a class in the SDK."""

from __future__ import annotations

import pytest

from perdure import errors as sdk
from perdure.v1 import error_reason_pb2
from perdure_server.api.errors import STATUS_CODES
from perdure_server.core import errors as domain
from perdure_server.core.errors import DomainError

PREFIX = "ERROR_REASON_"
REASONS = {
    name.removeprefix(PREFIX)
    for name in error_reason_pb2.ErrorReason.keys()  # noqa: SIM118
} - {"UNSPECIFIED"}
ERRORS = [
    error
    for error in vars(domain).values()
    if isinstance(error, type) and issubclass(error, DomainError)
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_a_domain_error_has_a_reason_and_a_status(error: type[DomainError]) -> None:
    assert error.reason in REASONS
    assert error in STATUS_CODES


def test_every_reason_is_raised_by_one_error() -> None:
    reasons = [error.reason for error in ERRORS if "reason" in vars(error)]
    assert sorted(reasons) == sorted(REASONS)


@pytest.mark.parametrize("reason", sorted(REASONS))
def test_the_sdk_knows_every_reason(reason: str) -> None:
    error = sdk.from_reason(reason, "text", "UNKNOWN")
    assert error.reason == reason
    assert type(error) is not sdk.RpcError
