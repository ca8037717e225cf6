"""Owns the commands that ask the code of a workflow something."""

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
from perdure.v1 import interaction_pb2 as asking
from perdure.v1.payload_pb2 import Payload


def state(
    workflow_id: WorkflowId,
    name: Annotated[str, typer.Argument(metavar="NAME", help="One key of it only.")] = "",
    *,
    run_id: RunId = "",
    address: Address = DEFAULT_ADDRESS,
    api_key: ApiKey = "",
    namespace: Namespace = DEFAULT_NAMESPACE,
    output: OutputOption = Output.TABLE,
) -> None:
    """Prints what the code published last; needs no worker."""
    answer: asking.GetSnapshotResponse | asking.GetSnapshotValueResponse
    if name:
        request = asking.GetSnapshotValueRequest(
            namespace=namespace, workflow_id=workflow_id, run_id=run_id, name=name
        )
        method = "WorkflowService/GetSnapshotValue"
        answer = ask(address, method, request, asking.GetSnapshotValueResponse, api_key=api_key)
        value: Payload = answer.value
    else:
        whole = asking.GetSnapshotRequest(
            namespace=namespace, workflow_id=workflow_id, run_id=run_id
        )
        method = "WorkflowService/GetSnapshot"
        answer = ask(address, method, whole, asking.GetSnapshotResponse, api_key=api_key)
        value = answer.state
    show.print_json(show.to_json(answer if output is Output.JSON else value))
