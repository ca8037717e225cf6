"""Owns those who wait for a workflow to close."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from perdure.v1.workflow_service_pb2 import GetWorkflowResultRequest, GetWorkflowResultResponse
from perdure_server.core.ending import failure_of
from perdure_server.core.frames import parse_frame
from perdure_server.core.model import Run
from perdure_server.engine.requests import in_namespace, missing
from perdure_server.store.contract import RunSummary, Store

Waiter = Callable[[GetWorkflowResultResponse], None]


@dataclass(slots=True, eq=False)
class Ticket:
    """Names a waiter, from before it is added. `dropped` once nobody waits any more."""

    dropped: bool = False


class Results:
    """Waiters by run. A waiter of a run that is tried again waits for the run that follows it."""

    def __init__(self) -> None:
        self._waiters: dict[str, dict[Ticket, Waiter]] = {}
        self._runs: dict[Ticket, str] = {}

    def __len__(self) -> int:
        return len(self._runs)

    def add(self, run_id: str, ticket: Ticket, waiter: Waiter) -> None:
        """Calls `waiter` once with the end of the chain that `run_id` belongs to.

        Does nothing for a ticket that was dropped.
        """
        if ticket.dropped:
            return
        self._waiters.setdefault(run_id, {})[ticket] = waiter
        self._runs[ticket] = run_id

    def drop(self, ticket: Ticket) -> None:
        """Forgets a waiter, and one that is still to be added."""
        ticket.dropped = True
        self.remove(ticket)

    def remove(self, ticket: Ticket) -> bool:
        """Takes a waiter out; False when it was told already, or dropped."""
        run_id = self._runs.pop(ticket, None)
        if run_id is None:
            return False
        waiters = self._waiters[run_id]
        del waiters[ticket]
        if not waiters:
            del self._waiters[run_id]
        return True

    def awaited(self, run_ids: Iterable[str] | None) -> list[str]:
        """Returns those runs that somebody waits for; with None, all that are waited for."""
        if run_ids is None:
            return list(self._waiters)
        return [run_id for run_id in run_ids if run_id in self._waiters]

    def closed(self, run: Run, closing_frame: bytes) -> list[str]:
        """Tells those who waited for a run its end, or lets them wait for the next run.

        Returns that one if somebody waits for it now.
        """
        waiters = self._waiters.pop(run.run_id, None)
        if waiters is None:
            return []
        for ticket in waiters:
            del self._runs[ticket]
        if run.next_run_id:
            for ticket, waiter in waiters.items():
                self.add(run.next_run_id, ticket, waiter)
            return [run.next_run_id]
        end = result_of(run, closing_frame)
        for waiter in waiters.values():
            waiter(end)
        return []


async def find_awaited(store: Store, request: GetWorkflowResultRequest) -> str:
    """Returns the id of the run whose end is asked for. Raises WorkflowNotFound.

    Who waits for a workflow that continues as new again and again names its first run, also when
    the stream has to be opened anew; once that is deleted, the latest run of its chain is meant.
    """
    in_namespace(request)
    name = (request.namespace, request.workflow_id)
    found = await store.find_run(*name, request.run_id or None)
    if found is not None:
        return found
    latest = await store.find_run(*name, None)
    summary = None if latest is None else await store.summarize_run(latest)
    if summary is None or _first_run_id(summary) != request.run_id:
        raise missing(request)
    return summary.run.run_id


def _first_run_id(summary: RunSummary) -> str:
    return parse_frame(summary.started).workflow_started.first_run_id


def result_of(run: Run, closing_frame: bytes) -> GetWorkflowResultResponse:
    """Returns how a closed run ended, from its last event."""
    response = GetWorkflowResultResponse(
        run_id=run.run_id, status=f"WORKFLOW_STATUS_{run.status}", closed=True
    )
    event = parse_frame(closing_frame)
    if event.HasField("workflow_completed"):
        if event.workflow_completed.HasField("result"):
            response.result.CopyFrom(event.workflow_completed.result)
        return response
    response.failure.CopyFrom(failure_of(event))
    return response
