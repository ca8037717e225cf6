"""Owns queries: what a worker is asked about a run, and what its answer means."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.v1.task_pb2 import QueryTask
from perdure_server.core.errors import QueryFailed
from perdure_server.core.limits import PAYLOAD_BYTES_MAX

if TYPE_CHECKING:
    from perdure.v1.interaction_pb2 import QueryOutcome, QueryWorkflowRequest
    from perdure.v1.payload_pb2 import Payload
    from perdure_server.core.model import Run


def question(request: QueryWorkflowRequest, run: Run) -> QueryTask:
    """Returns what a worker is asked about a run that stands so.

    A run in memory may answer when it has applied what the code has been shown, and what it has to
    be shown yet. What stands behind that are its own commands, and what the code does not hear of.
    """
    return QueryTask(
        namespace=run.namespace,
        workflow_id=run.workflow_id,
        run_id=run.run_id,
        workflow_type=run.workflow_type,
        task_queue=run.task_queue,
        query_name=request.query_name,
        input=request.input if request.HasField("input") else None,
        current_seq=max(run.seen_seq, run.stimulus_seq),
    )


def value_of(outcome: QueryOutcome) -> Payload:
    """Returns what the code answered. Raises `QueryFailed`."""
    if outcome.HasField("failure"):
        failure = outcome.failure
        raise QueryFailed(failure.message or failure.type, failure.type)
    size = len(outcome.value.data)
    if size > PAYLOAD_BYTES_MAX:
        text = f"the answer has {size} bytes; the bound is {PAYLOAD_BYTES_MAX}"
        raise QueryFailed(text, "PAYLOAD_TOO_LARGE")
    return outcome.value
