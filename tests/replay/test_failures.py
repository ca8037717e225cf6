"""Exceptions become failures that fit the server's bound, and failures become exceptions."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta

import pytest

from perdure import errors
from perdure._failures import CAUSES_MAX, FAILURE_CAUSES_MAX, to_error, to_failure, workflow_error
from perdure.converter import Converter
from perdure.errors import ApplicationError, PayloadError, RpcError, from_reason
from perdure.v1.error_reason_pb2 import ErrorReason
from perdure.v1.failure_pb2 import Failure, FailureKind
from perdure.v1.payload_pb2 import Payload

CONVERTER = Converter()


def raised(error, cause=None):
    try:
        raise error from cause
    except type(error) as caught:
        return caught


def test_an_exception_is_described_by_class_text_and_stack():
    failure = to_failure(raised(ValueError("bad")), CONVERTER)
    assert (failure.type, failure.message) == ("ValueError", "bad")
    assert failure.kind == FailureKind.FAILURE_KIND_APPLICATION
    assert "in raised" in failure.stack_trace
    assert not failure.non_retryable
    assert not failure.HasField("cause")


def test_causes_follow_explicit_and_implicit_but_not_suppressed():
    error = raised(ValueError("a"), KeyError("b"))
    assert to_failure(error, CONVERTER).cause.type == "KeyError"
    error = ValueError("a")
    error.__context__ = KeyError("b")
    assert to_failure(error, CONVERTER).cause.type == "KeyError"
    error.__suppress_context__ = True
    assert not to_failure(error, CONVERTER).HasField("cause")


def test_an_application_error_carries_its_wishes():
    error = ApplicationError(
        "no",
        type="Refused",
        non_retryable=True,
        details={"code": 7},
        next_retry_delay=timedelta(seconds=5),
    )
    failure = to_failure(error, CONVERTER)
    assert (failure.type, failure.non_retryable) == ("Refused", True)
    assert failure.next_retry_delay.seconds == 5
    assert CONVERTER.decode(failure.details) == {"code": 7}
    assert to_failure(ApplicationError("no"), CONVERTER).type == "ApplicationError"


def test_details_that_cannot_be_encoded_are_lost_and_said_to_be():
    failure = to_failure(ApplicationError("no", details=object()), CONVERTER)
    assert failure.message.startswith("no (its details were lost: value: cannot encode object")
    assert not failure.HasField("details")


def test_cancellation_and_payload_errors_have_their_kind():
    cancelled = to_failure(asyncio.CancelledError(), CONVERTER)
    assert cancelled.kind == FailureKind.FAILURE_KIND_CANCELLED
    assert to_failure(PayloadError("x"), CONVERTER).non_retryable


def test_everything_is_cut_to_fit():
    def deep(n):
        raise ValueError("\ud800ä" * 100_000) if n == 0 else deep(n - 1)

    error: BaseException = ValueError("end")
    for _ in range(20):
        try:
            deep(200)
        except (ValueError, TypeError) as caught:
            caught.__cause__ = error
            error = caught
    failure = to_failure(error, CONVERTER)
    assert failure.ByteSize() < 64 * 1024
    assert len(failure.stack_trace.encode()) <= 16 * 1024
    assert depth_of(failure) == CAUSES_MAX


def test_an_exception_whose_text_fails():
    class Rude(Exception):
        def __str__(self):
            raise KeyError

    assert to_failure(Rude(), CONVERTER).message == "its text could not be made: KeyError"


def test_a_recorded_failure_becomes_an_exception_with_its_causes():
    failure = Failure(
        message="slow",
        type="T",
        kind=FailureKind.FAILURE_KIND_TIMEOUT,
        timeout_type=4,
        details=CONVERTER.encode([1]),
        stack_trace="st",
        cause=Failure(message="deep"),
    )
    error = to_error(failure, CONVERTER)
    assert (str(error), error.type, error.kind, error.timeout) == (
        "T: slow",
        "T",
        "timeout",
        "heartbeat",
    )
    assert (error.details, error.stack_trace) == ([1], "st")
    assert str(error.__cause__) == "deep"
    assert error.__cause__.kind == "application"
    assert to_failure(error, CONVERTER).cause == failure


def test_details_that_cannot_be_read_stay_a_payload():
    payload = Payload(data=b"x", encoding="avro")
    assert to_error(Failure(details=payload), CONVERTER).details == payload


@pytest.mark.parametrize(
    ("status", "cls", "text"),
    [
        ("FAILED", errors.WorkflowFailedError, "workflow w failed: E: why"),
        ("CANCELLED", errors.WorkflowCancelledError, "workflow w cancelled: why"),
        ("TERMINATED", errors.WorkflowTerminatedError, "workflow w terminated: why"),
        ("TIMED_OUT", errors.WorkflowTimedOutError, "workflow w timed out: why"),
    ],
)
def test_a_closed_workflow_has_an_exception_by_status(status, cls, text):
    failure = Failure(message="why", type="E")
    error = workflow_error(status, failure, CONVERTER, workflow_id="w", run_id="r")
    assert type(error) is cls
    assert str(error) == text
    assert (error.workflow_id, error.run_id) == ("w", "r")
    if status == "FAILED":
        assert (error.type, str(error.__cause__)) == ("E", "E: why")
    else:
        bare = workflow_error(status, Failure(), CONVERTER, workflow_id="w", run_id="r")
        assert str(bare) == text.removesuffix(": why")


def test_every_reason_has_a_class():
    reasons = {name.removeprefix("ERROR_REASON_") for name in ErrorReason.keys()}  # noqa: SIM118
    assert reasons - {"UNSPECIFIED"} == set(errors.RPC_ERRORS)


def test_an_error_by_reason_keeps_what_the_server_said():
    error = from_reason("WORKFLOW_NOT_FOUND", "no w", "NOT_FOUND", {"workflow_id": "w"})
    assert type(error) is errors.WorkflowNotFoundError
    assert (str(error), error.reason, error.code) == ("no w", "WORKFLOW_NOT_FOUND", "NOT_FOUND")
    assert error.metadata == {"workflow_id": "w"}
    assert type(from_reason("", "x", "UNAVAILABLE")) is errors.UnavailableError
    assert type(from_reason("NEW_REASON", "x")) is RpcError
    assert errors.StaleTaskError("x").reason == "STALE_TASK"


def test_the_tree_in_the_docstring_names_classes_that_exist():
    named = set(re.findall(r"\b[A-Z]\w+Error\b", errors.__doc__))
    assert all(hasattr(errors, name) for name in named)


def test_a_group_is_explained_by_its_first_exception():
    error = raised(ExceptionGroup("two", [ValueError("a"), KeyError("b")]))
    error.__suppress_context__ = True  # as a TaskGroup raises it
    assert to_failure(error, CONVERTER).cause.type == "ValueError"


def test_a_recorded_cause_is_cut_where_the_server_would_refuse_it():
    recorded = Failure(type="inner", message="m" * 30_000)
    recorded.cause.CopyFrom(Failure(type="innermost", message="m" * 40_000))
    recorded.cause.details.data = b"d" * 100_000  # is bounded by itself
    failure = to_failure(to_error(recorded, CONVERTER), CONVERTER)
    assert failure.cause.type == "inner"
    assert not failure.cause.HasField("cause")


def test_recorded_causes_are_cut_where_the_server_would_refuse_them():
    recorded = link = Failure(type="recorded")
    for _ in range(FAILURE_CAUSES_MAX):
        link = link.cause
        link.details.data = b"d"
    recorded_error: BaseException = to_error(recorded, CONVERTER)
    shallow = to_failure(recorded_error, CONVERTER)
    assert depth_of(shallow) == FAILURE_CAUSES_MAX
    error = recorded_error
    for _ in range(CAUSES_MAX - 1):
        error = raised(ValueError("outer"), error)
    failure = to_failure(error, CONVERTER)
    assert depth_of(failure) == FAILURE_CAUSES_MAX
    assert failure.cause.cause.cause.cause.cause.type == "recorded"


def depth_of(failure):
    """How many causes stand one behind another."""
    depth = 0
    while failure.HasField("cause"):
        failure, depth = failure.cause, depth + 1
    return depth


def test_details_are_lost_however_a_converter_fails():
    class Broken(Converter):
        def encode(self, value):
            raise RuntimeError("no key")

    failure = to_failure(ApplicationError("no", details=1), Broken())
    assert failure.message == "no (its details were lost: no key)"
