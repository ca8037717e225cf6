"""Owns `perdure workflow reset | retry`."""

from __future__ import annotations

from typing import Annotated

import typer

from perdure._cli import show
from perdure._cli.calls import ask
from perdure._cli.options import (
    DEFAULT_ADDRESS,
    DEFAULT_NAMESPACE,
    Address,
    ApiKey,
    Namespace,
    Output,
    OutputOption,
    Reason,
    RunId,
    WorkflowId,
)
from perdure.v1 import workflow_service_pb2 as pb

EventSeq = Annotated[
    int, typer.Argument(metavar="EVENT", help="The last event that the new run begins with.")
]


def reset(
    workflow_id: WorkflowId,
    event_seq: EventSeq,
    *,
    run_id: RunId = "",
    reason: Reason = "",
    identity: Annotated[str, typer.Option(help="Who asks; kept in the history.")] = "",
    drop_signals: Annotated[
        bool, typer.Option("--drop-signals", help="Leave out the signals that came later.")
    ] = False,
    address: Address = DEFAULT_ADDRESS,
    api_key: ApiKey = "",
    namespace: Namespace = DEFAULT_NAMESPACE,
    output: OutputOption = Output.TABLE,
) -> None:
    """Begins again behind an event, in a new run; a run that is open is terminated."""
    request = pb.ResetWorkflowRequest(
        namespace=namespace,
        workflow_id=workflow_id,
        run_id=run_id,
        event_seq=event_seq,
        reason=reason,
        identity=identity,
        drop_signals=drop_signals,
    )
    answer = ask(
        address,
        "WorkflowService/ResetWorkflow",
        request,
        pb.ResetWorkflowResponse,
        api_key=api_key,
    )
    show.print_answer(answer, output, f"goes on as run {answer.run_id}")


def retry(
    workflow_id: WorkflowId,
    *,
    requested_by: Annotated[str, typer.Option(help="Who asks; kept in the history.")],
    reason: Annotated[str, typer.Option(help="Why; kept in the history.")],
    run_id: RunId = "",
    address: Address = DEFAULT_ADDRESS,
    api_key: ApiKey = "",
    namespace: Namespace = DEFAULT_NAMESPACE,
    output: OutputOption = Output.TABLE,
) -> None:
    """Tries the activity again that failed last in a failed run, in a new run."""
    request = pb.RetryFailedActivityRequest(
        namespace=namespace,
        workflow_id=workflow_id,
        run_id=run_id,
        requested_by=requested_by,
        reason=reason,
    )
    answer = ask(
        address,
        "WorkflowService/RetryFailedActivity",
        request,
        pb.RetryFailedActivityResponse,
        api_key=api_key,
    )
    said = f"activity {answer.activity_seq} is tried again in run {answer.run_id}"
    show.print_answer(answer, output, said)
