"""Owns the answer to why nothing happens in a workflow."""

from __future__ import annotations

from functools import partial
from typing import Final

from perdure.v1 import explanation_pb2 as pb
from perdure_server.core import limits
from perdure_server.core.model import EventRow, Message, Run
from perdure_server.core.state import RunState
from perdure_server.engine.asks import state_now
from perdure_server.engine.causes import EVENT_KINDS, ServiceOf, Story, causes_of, closed_cause
from perdure_server.engine.ports import Clock
from perdure_server.engine.records import status_of
from perdure_server.engine.roster import Roster
from perdure_server.engine.runs import Runs
from perdure_server.store.contract import RunSummary, Store

_CAUSES_MAX: Final = 100
"""Causes in one answer: who reads more wants the lists of what is pending."""


class Explanations:
    """Says why nothing happens in a run, from its rows, its newest waits and who the workers are.

    Where the code has recorded more than `limits.EXPLAIN_EVENTS_MAX` waits, signals and requests,
    the older ones are not looked at; nor are more than `limits.EXPLAIN_MESSAGES_MAX` messages.
    """

    def __init__(self, store: Store, runs: Runs, *, roster: Roster, clock: Clock) -> None:
        self._store = store
        self._runs = runs
        self._roster = roster
        self._clock = clock

    async def explain(self, summary: RunSummary) -> pb.ExplainWorkflowResponse:
        """Explains one run."""
        if summary.run.status.is_closed:
            return _closed(summary)
        return await self._roster.serve(partial(self._explain_open, summary))

    async def _explain_open(
        self, summary: RunSummary, service: ServiceOf
    ) -> pb.ExplainWorkflowResponse:
        run_id = summary.run.run_id
        state = await state_now(self._runs, run_id)
        if state is None or state.run.status.is_closed:
            # It ended, and may be deleted, since it was found.
            return _closed(await self._store.summarize_run(run_id) or summary)
        story = Story(await self._events(state), await self._messages(state))
        causes = causes_of(state, story, service, self._clock.now_us())
        return pb.ExplainWorkflowResponse(
            workflow_id=state.run.workflow_id,
            run_id=run_id,
            status=status_of(state.run.status),
            causes=causes[:_CAUSES_MAX],
            more=max(0, len(causes) - _CAUSES_MAX),
        )

    async def _events(self, state: RunState) -> list[EventRow]:
        """Returns what the history says beyond the rows, ascending, as of the state."""
        run = state.run
        is_unseen = run.seen_seq < run.history_length
        has_paused = any(activity.paused for activity in state.activities.values())
        said = run.wait_seq_max or run.cancel_requested or run.pause or state.updates or is_unseen
        if not (said or has_paused):
            return []
        found = await self._store.find_events(
            run.run_id, EVENT_KINDS, limit=limits.EXPLAIN_EVENTS_MAX
        )
        return [row for row in reversed(found) if row.seq <= run.history_length]

    async def _messages(self, state: RunState) -> list[Message]:
        """Returns what is on its way to the run or from it, the oldest of each sender first."""
        run, most = state.run, limits.EXPLAIN_MESSAGES_MAX
        sent = await self._store.read_inbox(
            after=(run.run_id, 0), before_us=limits.END_OF_TIME_US, limit=most
        )
        others = await self._store.read_inbox(
            after=None, before_us=limits.END_OF_TIME_US, limit=most
        )
        return [
            *(each for each in others if _is_for(each, run)),
            *(each for each in sent if each.sender_run_id == run.run_id),
        ]


def _closed(summary: RunSummary) -> pb.ExplainWorkflowResponse:
    run = summary.run
    return pb.ExplainWorkflowResponse(
        workflow_id=run.workflow_id,
        run_id=run.run_id,
        status=status_of(run.status),
        causes=[closed_cause(run.status, run.closed_at_us)],
    )


def _is_for(message: Message, run: Run) -> bool:
    if message.run_id:
        return message.run_id == run.run_id
    return (message.namespace, message.workflow_id) == (run.namespace, run.workflow_id)
