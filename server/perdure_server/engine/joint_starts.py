"""Owns starts that do something else in the same commit: a signal, or an update."""

from __future__ import annotations

import asyncio
from typing import Any

from perdure.v1.interaction_pb2 import UpdateWorkflowRequest
from perdure.v1.workflow_pb2 import ConflictPolicy
from perdure.v1.workflow_service_pb2 import (
    SignalWithStartRequest,
    SignalWithStartResponse,
    SignalWorkflowRequest,
    StartWorkflowRequest,
    UpdateWithStartRequest,
    UpdateWithStartResponse,
)
from perdure_server.core import decide
from perdure_server.core.draft import Draft
from perdure_server.core.model import Run
from perdure_server.engine.starts import Beginning, Starts
from perdure_server.engine.stimuli import answer_as, stimulus_of
from perdure_server.engine.updates import Updates


class JointStarts:
    """The use cases."""

    def __init__(self, starts: Starts, updates: Updates) -> None:
        self._starts = starts
        self._updates = updates

    async def signal(self, request: SignalWithStartRequest) -> SignalWithStartResponse:
        """Delivers a signal to a workflow, which is started if that is needed."""
        signal = SignalWorkflowRequest(signal_name=request.signal_name)
        if request.HasField("payload"):
            signal.payload.CopyFrom(request.payload)

        def also(draft: Draft, now_us: int) -> int:
            return decide.decide_signal(draft, signal, now_us)

        def answer(run: Run, started: bool, seq: int) -> SignalWithStartResponse:
            return SignalWithStartResponse(
                workflow_id=run.workflow_id, run_id=run.run_id, started=started, event_seq=seq
            )

        beginning = Beginning("SignalWithStart", request, also, answer)
        found: SignalWithStartResponse | bytes = await self._begin(request.start, beginning)
        return answer_as(SignalWithStartResponse, found)

    async def update(self, request: UpdateWithStartRequest) -> UpdateWithStartResponse:
        """Asks the code of a workflow, which is started if that is needed, and waits.

        Raises RunClosed and UpdateRejected.
        """
        update = UpdateWorkflowRequest(
            update_name=request.update_name, request_id=request.start.request_id
        )
        if request.HasField("input"):
            update.input.CopyFrom(request.input)

        def also(draft: Draft, now_us: int) -> int:
            return decide.decide_update(draft, update, now_us)

        def answer(run: Run, started: bool, seq: int) -> UpdateWithStartResponse:
            return UpdateWithStartResponse(
                workflow_id=run.workflow_id, run_id=run.run_id, started=started, event_seq=seq
            )

        # How long a caller waits does not make it another request.
        content = UpdateWithStartRequest()
        content.CopyFrom(request)
        content.ClearField("wait")
        beginning = Beginning("UpdateWithStart", content, also, answer)
        found: UpdateWithStartResponse | bytes = await self._begin(request.start, beginning)
        response = answer_as(UpdateWithStartResponse, found)
        await self._updates.answer(response, request.wait if request.HasField("wait") else None)
        return response

    async def _begin(self, request: StartWorkflowRequest, beginning: Beginning) -> Any:
        start = StartWorkflowRequest()
        start.CopyFrom(request)
        start.conflict_policy = (
            request.conflict_policy or ConflictPolicy.CONFLICT_POLICY_USE_EXISTING
        )
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        waiter = stimulus_of(future, beginning.also)
        self._starts.begin(start, waiter.resolve, waiter.reject, beginning)
        return await future
