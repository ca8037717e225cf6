"""Owns how events are read from the server and printed, one line each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Final

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

KINDS: Final = frozenset(
    field.name for field in HistoryEvent.DESCRIPTOR.oneofs_by_name["event"].fields
) | {"workflow_running", "workflow_continued", "schedule_triggered"}
"""The kinds of events that this version knows, and the notices between events."""
_HIDDEN: Final = frozenset({"execution_started_at", "first_run_id", "options", "seed"})
"""What a program needs and a person does not; JSON shows it."""
_WIDTHS: Final = (4, 24, max(map(len, KINDS)), 0)
"""Of number, time, kind and content."""
_ID_WIDTH: Final = 12


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
            if not answer.kind:
                continue
            if output is Output.JSON:
                show.print_json(show.to_json(answer))
            else:
                show.print_row(event_cells(answer.event), _WIDTHS)


async def follow_namespace(transport: Transport, request: WatchRequest, output: Output) -> None:
    """Prints the events of a namespace until it is interrupted."""
    answers = transport.stream("WatchService/Watch", one(request))
    async with aclosing(answers):
        async for answer in answers:
            assert isinstance(answer, WatchResponse)
            if output is Output.JSON:
                show.print_json(show.to_json(answer))
            elif answer.kind:
                cells = (answer.workflow_id, *event_cells(answer.event, answer.kind))
                show.print_row(cells, (_ID_WIDTH, *_WIDTHS))


def exported_history(workflow_id: str, events: Sequence[HistoryEvent]) -> dict[str, object]:
    """Returns a history in the form that replaying takes: exact, in protobuf's own JSON."""
    exported = MessageToDict(History(events=events), preserving_proto_field_name=True)
    return {"workflow_id": workflow_id, **exported}


def event_cells(event: HistoryEvent, notice: str = "") -> tuple[str, str, str, str]:
    """Returns number, time, kind and content of an event; a `notice` is one without the others."""
    kind = event.WhichOneof("event") or ""
    content = show.gist(getattr(event, kind), hidden=_HIDDEN) if kind else ""
    return str(event.seq or ""), show.time_text(event.timestamp), kind or notice, content
