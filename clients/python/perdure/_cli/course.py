"""Owns `perdure workflow pause | unpause | continue-as-new`."""

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
    Input,
    Namespace,
    Output,
    OutputOption,
    Reason,
    RunId,
    WorkflowId,
    parse_payload,
)
from perdure.v1 import workflow_service_pb2 as pb

Identity = Annotated[str, typer.Option(help="Who asks; kept in the history.")]


def pause(
    workflow_id: WorkflowId,
    *,
    run_id: RunId = "",
    reason: Reason = "",
    identity: Identity = "",
    address: Address = DEFAULT_ADDRESS,
    api_key: ApiKey = "",
    namespace: Namespace = DEFAULT_NAMESPACE,
    output: OutputOption = Output.TABLE,
) -> None:
    """Holds back what no worker has yet; timers and timeouts run on."""
    request = pb.PauseWorkflowRequest(
        namespace=namespace,
        workflow_id=workflow_id,
        run_id=run_id,
        reason=reason,
        identity=identity,
    )
    answer = ask(
        address,
        "WorkflowService/PauseWorkflow",
        request,
        pb.PauseWorkflowResponse,
        api_key=api_key,
    )
    show.print_answer(answer, output, f"the run is {show.enum_text(answer, 'status')}")


def unpause(
    workflow_id: WorkflowId,
    *,
    run_id: RunId = "",
    reason: Reason = "",
    identity: Identity = "",
    address: Address = DEFAULT_ADDRESS,
    api_key: ApiKey = "",
    namespace: Namespace = DEFAULT_NAMESPACE,
    output: OutputOption = Output.TABLE,
) -> None:
    """Lets a paused workflow go on."""
    request = pb.UnpauseWorkflowRequest(
        namespace=namespace,
        workflow_id=workflow_id,
        run_id=run_id,
        reason=reason,
        identity=identity,
    )
    answer = ask(
        address,
        "WorkflowService/UnpauseWorkflow",
        request,
        pb.UnpauseWorkflowResponse,
        api_key=api_key,
    )
    show.print_answer(answer, output, f"the run is {show.enum_text(answer, 'status')}")


def continue_as_new(
    workflow_id: WorkflowId,
    *,
    run_id: RunId = "",
    input_: Input = None,
    address: Address = DEFAULT_ADDRESS,
    api_key: ApiKey = "",
    namespace: Namespace = DEFAULT_NAMESPACE,
    output: OutputOption = Output.TABLE,
) -> None:
    """Ends the run and goes on as another one with a new history, without a word to the code."""
    request = pb.ContinueAsNewRequest(
        namespace=namespace,
        workflow_id=workflow_id,
        run_id=run_id,
        input=parse_payload(input_),
    )
    answer = ask(
        address,
        "WorkflowService/ContinueAsNew",
        request,
        pb.ContinueAsNewResponse,
        api_key=api_key,
    )
    show.print_answer(answer, output, f"goes on as run {answer.run_id}")
