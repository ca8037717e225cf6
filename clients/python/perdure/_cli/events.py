"""Owns how events are read from the server and printed, one line each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

from google.protobuf.json_format import MessageToDict

from perdure._cli import show
from perdure._cli.calls import call_once
from perdure._cli.options import Output
from perdure._transport import Transport, one
from perdure.v1.history_pb2 import History, HistoryEvent
from perdure.v1.watch_service_pb2 import (
    WatchRequest,
    WatchResponse,
    WatchWorkflowRequest,
    WatchWorkflowResponse,
)
from perdure.v1.workflow_service_pb2 import GetWorkflowHistoryRequest, GetWorkflowHistoryResponse


async def history_events(
    transport: Transport, request: GetWorkflowHistoryRequest
) -> AsyncIterator[HistoryEvent]:
    """Yields the events of a run, page after page."""
    while True:
        page = await call_once(
            transport, "WorkflowService/GetWorkflowHistory", request, GetWorkflowHistoryResponse
        )
        for event in page.history.events:
            yield event
        if not page.next_page_token:
            return
        # Later pages are of the run that the first was, even if a new one was started meanwhile.
        request.run_id = page.run_id
        request.page_token = page.next_page_token


async def follow_run(transport: Transport, request: WatchWorkflowRequest, output: Output) -> None:
    """Prints the events of one run until it has closed."""
    answers = transport.stream("WatchService/WatchWorkflow", one(request))
    async with aclosing(answers):
        async for answer in answers:
            assert isinstance(answer, WatchWorkflowResponse)
            if output is Output.JSON:
                show.print_json(show.to_json(answer))
            else:
                print(event_line(answer.event), flush=True)


async def follow_namespace(transport: Transport, request: WatchRequest, output: Output) -> None:
    """Prints the events of a namespace until it is interrupted."""
    answers = transport.stream("WatchService/Watch", one(request))
    async with aclosing(answers):
        async for answer in answers:
            assert isinstance(answer, WatchResponse)
            if output is Output.JSON:
                show.print_json(show.to_json(answer))
            elif answer.kind:
                print(f"{answer.workflow_id}  {event_line(answer.event)}", flush=True)


def exported_history(workflow_id: str, events: Sequence[HistoryEvent]) -> dict[str, object]:
    """Returns a history in the form that replaying takes: exact, in protobuf's own JSON."""
    exported = MessageToDict(History(events=events), preserving_proto_field_name=True)
    return {"workflow_id": workflow_id, **exported}


def event_line(event: HistoryEvent) -> str:
    """Returns an event as one line: number, time, kind, content."""
    return "  ".join(event_cells(event))


def event_cells(event: HistoryEvent) -> tuple[str, str, str, str]:
    """Returns number, time, kind and content of an event."""
    kind = event.WhichOneof("event") or ""
    content = show.gist(getattr(event, kind)) if kind else ""
    return str(event.seq), show.time_text(event.timestamp), kind, content
