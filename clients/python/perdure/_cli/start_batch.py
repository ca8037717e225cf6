"""Owns `perdure workflow start-batch`: the starts of a file, one JSON object per line."""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Iterator
from typing import Annotated, Any, Final

import typer
from google.protobuf.message import Message

from perdure._cli import show
from perdure._cli.calls import call_once, talk
from perdure._cli.options import (
    DEFAULT_ADDRESS,
    DEFAULT_NAMESPACE,
    Address,
    ApiKey,
    Conflict,
    Ended,
    Namespace,
    Output,
    OutputOption,
    Reuse,
)
from perdure._search import to_search_attributes
from perdure._transport import Transport, error_from_status
from perdure.v1 import workflow_service_pb2 as pb
from perdure.v1.payload_pb2 import Payload

EXIT_REFUSED: Final = 1
_STARTS: Final = 500
"""Starts in one call: far from what a server refuses to take at once."""
_TEXTS: Final = ("workflow_type", "workflow_id", "task_queue", "request_id", "summary", "details")
_PAYLOADS: Final = ("input", "memo")
_NAMES: Final = frozenset((*_TEXTS, *_PAYLOADS, "priority", "search_attributes"))


def start_batch(
    file: Annotated[
        typer.FileText,
        typer.Argument(metavar="FILE", help="One start per line, a JSON object; - is the input."),
    ],
    *,
    workflow_type: Annotated[
        str, typer.Option("--type", help="The workflow type of lines without one.")
    ] = "",
    task_queue: Annotated[str, typer.Option(help="The task queue of lines without one.")] = "",
    conflict: Annotated[Conflict, typer.Option(help="When a run is open.")] = Conflict.FAIL,
    reuse: Annotated[
        Reuse, typer.Option(help="When the latest run is closed.")
    ] = Reuse.REJECT_DUPLICATE,
    address: Address = DEFAULT_ADDRESS,
    api_key: ApiKey = "",
    namespace: Namespace = DEFAULT_NAMESPACE,
    output: OutputOption = Output.TABLE,
) -> None:
    """Starts many workflows; each stands or falls alone. 1 when one was refused.

    A line has workflow_type, workflow_id, task_queue, input, request_id, priority, memo,
    search_attributes, summary and details, as it needs.
    """
    common = pb.StartWorkflowRequest(
        namespace=namespace,
        workflow_type=workflow_type,
        task_queue=task_queue,
        conflict_policy=f"CONFLICT_POLICY_{conflict.name}",
        reuse_policy=f"REUSE_POLICY_{reuse.name}",
    )
    starts = [_start(common, number, line) for number, line in _lines(file)]
    outcomes = talk(address, lambda transport: _send(transport, starts), api_key=api_key)
    _print(starts, outcomes, output)
    refused = sum(outcome.HasField("error") for outcome in outcomes)
    if refused:
        print(f"perdure: {refused} of {len(outcomes)} were refused", file=sys.stderr)
        raise Ended(EXIT_REFUSED)


def _lines(file: typer.FileText) -> Iterator[tuple[int, str]]:
    try:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield number, line
    except UnicodeDecodeError as error:
        raise typer.BadParameter(f"the file is not text: {error}") from None


def _start(common: pb.StartWorkflowRequest, number: int, line: str) -> pb.StartWorkflowRequest:
    start = pb.StartWorkflowRequest(request_id=uuid.uuid4().hex)
    start.MergeFrom(common)
    try:
        _fill(start, json.loads(line))
    except (TypeError, ValueError) as error:
        raise typer.BadParameter(f"line {number}: {error}") from None
    return start


def _fill(start: pb.StartWorkflowRequest, fields: object) -> None:
    if not isinstance(fields, dict):
        raise TypeError("not a JSON object")
    if unknown := fields.keys() - _NAMES:
        raise ValueError(f"{min(unknown)!r} is not one of {', '.join(sorted(_NAMES))}")
    for name, value in fields.items():
        _set(start, name, value)


def _set(start: pb.StartWorkflowRequest, name: str, value: Any) -> None:
    if name in _PAYLOADS:
        payload = Payload(data=json.dumps(value, ensure_ascii=False).encode())
        getattr(start, name).CopyFrom(payload)
    elif name == "search_attributes":
        if not isinstance(value, dict):
            raise TypeError("'search_attributes' is an object")
        start.search_attributes.CopyFrom(to_search_attributes(value))
    elif isinstance(value, int if name == "priority" else str) and not isinstance(value, bool):
        setattr(start, name, value)
    else:
        raise TypeError(f"{name!r} cannot be {json.dumps(value)}")


async def _send(
    transport: Transport, starts: list[pb.StartWorkflowRequest]
) -> list[pb.BatchOutcome]:
    outcomes: list[pb.BatchOutcome] = []
    for index in range(0, len(starts), _STARTS):
        request = pb.StartWorkflowBatchRequest(starts=starts[index : index + _STARTS])
        method = "WorkflowService/StartWorkflowBatch"
        answer = await call_once(transport, method, request, pb.StartWorkflowBatchResponse)
        outcomes += answer.outcomes
    return outcomes


def _print(
    starts: list[pb.StartWorkflowRequest], outcomes: list[pb.BatchOutcome], output: Output
) -> None:
    if output is Output.JSON:
        show.print_json([_json(outcome) for outcome in outcomes])
        return
    rows = []
    for start, outcome in zip(starts, outcomes, strict=True):
        answer = outcome.started
        if outcome.HasField("error"):
            said = f"refused: {error_from_status(outcome.error)}"
        else:
            said = show.enum_text(answer, "status")
        rows.append((answer.workflow_id or start.workflow_id or "-", said, answer.run_id or "-"))
    show.print_table(("WORKFLOW", "STATUS", "RUN"), rows)


def _json(outcome: pb.BatchOutcome) -> dict[str, Any]:
    if not outcome.HasField("error"):
        answer: Message = outcome.started
        return {"started": show.to_json(answer)}
    error = error_from_status(outcome.error)
    return {"error": {"code": error.code, "reason": error.reason, "message": str(error)}}
