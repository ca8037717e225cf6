"""Owns the commands that ask the code of a workflow something."""

from __future__ import annotations

import asyncio
import sys
import uuid
from datetime import timedelta
from typing import Annotated, Any, Final

import typer

from perdure._asking import QueryMode
from perdure._cli import show
from perdure._cli.calls import ask, call_once, talk
from perdure._cli.options import (
    DEFAULT_ADDRESS,
    DEFAULT_NAMESPACE,
    EXIT_STILL_OPEN,
    Address,
    ApiKey,
    Ended,
    Input,
    Namespace,
    Output,
    OutputOption,
    RequestId,
    RunId,
    Span,
    WorkflowId,
    parse_payload,
)
from perdure._transport import Transport
from perdure.v1 import interaction_pb2 as asking
from perdure.v1.payload_pb2 import Payload

WAIT_SECONDS: Final = 60
"""How long one call waits for an answer; then it is made again."""
_SLACK_SECONDS: Final = 15.0
_QUERY_WAIT: Final = timedelta(seconds=10)


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


def update(
    workflow_id: WorkflowId,
    update_name: Annotated[str, typer.Argument(metavar="NAME", help="The update.")],
    *,
    input_: Input = None,
    timeout: Span = None,
    run_id: RunId = "",
    request_id: RequestId = "",
    address: Address = DEFAULT_ADDRESS,
    api_key: ApiKey = "",
    namespace: Namespace = DEFAULT_NAMESPACE,
    output: OutputOption = Output.TABLE,
) -> None:
    """Asks the code to do something and prints its answer; 1 if it refuses, 2 if time ran out."""
    request = asking.UpdateWorkflowRequest(
        namespace=namespace,
        workflow_id=workflow_id,
        run_id=run_id,
        update_name=update_name,
        input=parse_payload(input_),
        request_id=request_id or uuid.uuid4().hex,
    )
    answer = talk(
        address,
        lambda transport: answered(
            transport, "UpdateWorkflow", request, asking.UpdateWorkflowResponse, timeout=timeout
        ),
        api_key=api_key,
    )
    show.print_json(show.to_json(answer if output is Output.JSON else answer.result))


def query(
    workflow_id: WorkflowId,
    query_name: Annotated[str, typer.Argument(metavar="NAME", help="The query.")],
    *,
    input_: Input = None,
    mode: Annotated[QueryMode, typer.Option(help="Who answers.")] = QueryMode.LIVE,
    timeout: Span = None,
    run_id: RunId = "",
    address: Address = DEFAULT_ADDRESS,
    api_key: ApiKey = "",
    namespace: Namespace = DEFAULT_NAMESPACE,
    output: OutputOption = Output.TABLE,
) -> None:
    """Asks a worker what the code says, or the server what it said last; changes nothing."""
    wait = timeout or _QUERY_WAIT
    request = asking.QueryWorkflowRequest(
        namespace=namespace,
        workflow_id=workflow_id,
        run_id=run_id,
        query_name=query_name,
        input=parse_payload(input_),
        mode=f"QUERY_MODE_{mode.name}",
        wait=wait,
    )
    answer = talk(
        address,
        lambda transport: call_once(
            transport,
            "WorkflowService/QueryWorkflow",
            request,
            asking.QueryWorkflowResponse,
            timeout_s=wait.total_seconds() + _SLACK_SECONDS,
        ),
        api_key=api_key,
    )
    show.print_json(show.to_json(answer if output is Output.JSON else answer.value))


async def answered(
    transport: Transport, rpc: str, request: Any, answer: Any, *, timeout: timedelta | None
) -> Any:
    """Repeats a call until the code has answered; ends the command when time runs out.

    It is the server that waits, so that the update is known to stand when there is no answer.
    """
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + timeout.total_seconds() if timeout else None
    while True:
        wait_s = WAIT_SECONDS if ends_at is None else min(ends_at - loop.time(), WAIT_SECONDS)
        request.wait.FromTimedelta(timedelta(seconds=max(wait_s, 0)))
        response = await call_once(
            transport,
            f"WorkflowService/{rpc}",
            request,
            answer,
            timeout_s=WAIT_SECONDS + _SLACK_SECONDS,
        )
        if response.completed:
            return response
        if ends_at is not None and loop.time() >= ends_at:
            text = "the code has not answered in time; the update stands"
            print(f"perdure: {text}, as event {response.event_seq}", file=sys.stderr)
            raise Ended(EXIT_STILL_OPEN)
