"""Owns updates: asking the code of a run to do something, and waiting for its answer.

The request is recorded with the number of its event; what became of it is a row. So a repetition,
at whichever server, finds the event it means and waits for the same answer.
"""

from __future__ import annotations

import asyncio
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from perdure.v1.interaction_pb2 import (
    UpdateWorkflowRequest,
    UpdateWorkflowResponse,
)
from perdure_server.core import decide, limits
from perdure_server.core.draft import Draft
from perdure_server.core.errors import DomainError, WorkflowNotFound
from perdure_server.core.times import from_duration
from perdure_server.core.update import answer_of
from perdure_server.engine.asks import Asks
from perdure_server.engine.outcomes import Outcomes, Waiter
from perdure_server.engine.stimuli import stimulus_of
from perdure_server.store.contract import Store


class Updates:
    """The use cases of updates."""

    def __init__(self, store: Store, asks: Asks, outcomes: Outcomes) -> None:
        self._store = store
        self._asks = asks
        self._outcomes = outcomes

    def close(self, error: DomainError) -> None:
        """Ends the calls that wait for an answer."""
        self._outcomes.close(error)

    async def update(self, request: UpdateWorkflowRequest) -> UpdateWorkflowResponse:
        """Records an update and waits for its answer, for at most `request.wait`.

        Raises RunClosed and UpdateRejected.
        """
        # How long a caller waits does not make it another request.
        asked = UpdateWorkflowRequest()
        asked.CopyFrom(request)
        asked.ClearField("wait")

        def decision(draft: Draft, now_us: int) -> Message:
            seq = decide.decide_update(draft, asked, now_us)
            return UpdateWorkflowResponse(run_id=draft.run.run_id, event_seq=seq)

        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        waiter = stimulus_of(future, decision)
        self._asks.begin(
            asked,
            decision,
            kind=UpdateWorkflowResponse,
            resolve=waiter.resolve,
            reject=waiter.reject,
        )
        answer: UpdateWorkflowResponse = await future
        await self.answer(answer, request.wait if request.HasField("wait") else None)
        return answer

    async def answer(self, response: Any, wait: Duration | None) -> None:
        """Fills `completed` and `result` of a response that has `run_id` and `event_seq`.

        Waits for at most `wait`. Raises RunClosed and UpdateRejected.
        """
        wait_us = limits.UPDATE_WAIT_US if wait is None else from_duration(wait)
        found = await self._outcome(response.run_id, response.event_seq, wait_us)
        if not found:
            return
        response.result.CopyFrom(answer_of(response.run_id, found))
        response.completed = True

    async def _outcome(self, run_id: str, seq: int, wait_us: int) -> bytes:
        """Returns the encoded UpdateOutcome; empty when there was none in time."""
        waiter: Waiter = asyncio.get_running_loop().create_future()
        self._outcomes.add(run_id, seq, waiter)
        try:
            found = await self._store.find_update(run_id, seq)
            if found is None:
                raise WorkflowNotFound(f"run {run_id}, which took the update, was deleted")
            if found.outcome or not wait_us:
                return found.outcome
            await asyncio.wait([waiter], timeout=wait_us / 1e6)
            return waiter.result() if waiter.done() else b""
        finally:
            self._outcomes.drop(run_id, seq, waiter)
            if not waiter.cancel():
                # A refusal that nobody has come to look at is no defect.
                waiter.exception()
