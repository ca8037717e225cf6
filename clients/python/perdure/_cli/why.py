"""Owns the command `perdure workflow why`: why nothing happens in a workflow."""

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
    RunId,
    WorkflowId,
)
from perdure.v1 import explanation_pb2 as pb


def why(
    workflow_id: WorkflowId,
    *,
    run_id: RunId = "",
    as_json: Annotated[bool, typer.Option("--json", help="The same as --output json.")] = False,
    address: Address = DEFAULT_ADDRESS,
    api_key: ApiKey = "",
    namespace: Namespace = DEFAULT_NAMESPACE,
    output: OutputOption = Output.TABLE,
) -> None:
    """Says why nothing happens in a workflow; what blocks most comes first."""
    request = pb.ExplainWorkflowRequest(namespace=namespace, workflow_id=workflow_id, run_id=run_id)
    method = "WorkflowService/ExplainWorkflow"
    answer = ask(address, method, request, pb.ExplainWorkflowResponse, api_key=api_key)
    if as_json or output is Output.JSON:
        show.print_json(show.to_json(answer))
        return
    print(f"{answer.workflow_id} is {show.enum_text(answer, 'status')}")
    for cause in answer.causes:
        print(f"- {cause.text}")
    if answer.more:
        print(f"- and {answer.more} more")
