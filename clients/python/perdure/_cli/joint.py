"""Owns the commands that start a workflow, if that is needed, with a signal or an update."""

from __future__ import annotations

import uuid
from typing import Annotated

import typer

from perdure._cli import show
from perdure._cli.ask import answered
from perdure._cli.calls import ask, talk
from perdure._cli.options import (
    DEFAULT_ADDRESS,
    DEFAULT_NAMESPACE,
    Address,
    ApiKey,
    Conflict,
    Input,
    Namespace,
    Output,
    OutputOption,
    RequestId,
    Reuse,
    Span,
    parse_payload,
)
from perdure.v1 import workflow_service_pb2 as pb

_Type = Annotated[str, typer.Argument(metavar="TYPE", help="The workflow type.")]
_Id = Annotated[str, typer.Option("--id", help="The workflow id.")]
_Queue = Annotated[str, typer.Option(help="The task queue.")]
_Value = Annotated[
    str | None, typer.Option(metavar="JSON", help="The value for it: one JSON value, or @PATH.")
]
_Conflict = Annotated[Conflict, typer.Option(help="When a run is open.")]
_Reuse = Annotated[Reuse, typer.Option(help="When the latest run is closed.")]


def signal_with_start(
    workflow_type: _Type,
    signal_name: Annotated[str, typer.Argument(metavar="NAME", help="The signal.")],
    *,
    workflow_id: _Id,
    value: _Value = None,
    task_queue: _Queue = "default",
    input_: Input = None,
    conflict: _Conflict = Conflict.USE_EXISTING,
    reuse: _Reuse = Reuse.REJECT_DUPLICATE,
    request_id: RequestId = "",
    address: Address = DEFAULT_ADDRESS,
    api_key: ApiKey = "",
    namespace: Namespace = DEFAULT_NAMESPACE,
    output: OutputOption = Output.TABLE,
) -> None:
    """Delivers a signal to the open run of an id, or to one that it starts."""
    start = _start(workflow_type, workflow_id, conflict, reuse)
    _add(start, namespace, task_queue, input_, request_id=request_id)
    request = pb.SignalWithStartRequest(
        start=start, signal_name=signal_name, payload=parse_payload(value)
    )
    method = "WorkflowService/SignalWithStart"
    answer = ask(address, method, request, pb.SignalWithStartResponse, api_key=api_key)
    begun = "started" if answer.started else "open already"
    text = f"recorded as event {answer.event_seq} of run {answer.run_id}, {begun}"
    show.print_answer(answer, output, text)


def update_with_start(
    workflow_type: _Type,
    update_name: Annotated[str, typer.Argument(metavar="NAME", help="The update.")],
    *,
    workflow_id: _Id,
    value: _Value = None,
    task_queue: _Queue = "default",
    input_: Input = None,
    conflict: _Conflict = Conflict.USE_EXISTING,
    reuse: _Reuse = Reuse.REJECT_DUPLICATE,
    timeout: Span = None,
    request_id: RequestId = "",
    address: Address = DEFAULT_ADDRESS,
    api_key: ApiKey = "",
    namespace: Namespace = DEFAULT_NAMESPACE,
    output: OutputOption = Output.TABLE,
) -> None:
    """Asks the open run of an id, or one that it starts, to do something; prints the answer."""
    start = _start(workflow_type, workflow_id, conflict, reuse)
    _add(start, namespace, task_queue, input_, request_id=request_id)
    request = pb.UpdateWithStartRequest(
        start=start,
        update_name=update_name,
        input=parse_payload(value),
    )
    answer = talk(
        address,
        lambda transport: answered(
            transport, "UpdateWithStart", request, pb.UpdateWithStartResponse, timeout=timeout
        ),
        api_key=api_key,
    )
    show.print_json(show.to_json(answer if output is Output.JSON else answer.result))


def _start(
    workflow_type: str, workflow_id: str, conflict: Conflict, reuse: Reuse
) -> pb.StartWorkflowRequest:
    return pb.StartWorkflowRequest(
        workflow_type=workflow_type,
        workflow_id=workflow_id,
        conflict_policy=f"CONFLICT_POLICY_{conflict.name}",
        reuse_policy=f"REUSE_POLICY_{reuse.name}",
    )


def _add(
    start: pb.StartWorkflowRequest,
    namespace: str,
    task_queue: str,
    input_: str | None,
    *,
    request_id: str,
) -> None:
    start.namespace = namespace
    start.task_queue = task_queue
    start.request_id = request_id or uuid.uuid4().hex
    payload = parse_payload(input_)
    if payload is not None:
        start.input.CopyFrom(payload)
