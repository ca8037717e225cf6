"""Owns many starts in one call: each stands or falls alone."""

from __future__ import annotations

import asyncio
from typing import Any

from perdure.v1.workflow_service_pb2 import (
    BatchOutcome,
    StartWorkflowBatchRequest,
    StartWorkflowBatchResponse,
    StartWorkflowRequest,
    StartWorkflowResponse,
)
from perdure_server.core import checks
from perdure_server.core.errors import DomainError
from perdure_server.engine.calls import ToStatus, refusal_of
from perdure_server.engine.starts import Starts
from perdure_server.engine.stimuli import answer_as, stimulus_of


class StartBatches:
    """The use case."""

    def __init__(self, starts: Starts) -> None:
        self._starts = starts

    async def start(
        self, request: StartWorkflowBatchRequest, to_status: ToStatus
    ) -> StartWorkflowBatchResponse:
        """Starts all of them and answers when each is durable or refused.

        They begin one after another without a wait, in their order, so that they leave in as few
        commits as the committer makes of them. `to_status` makes of an error what the unary RPC
        would end with.
        """
        begun = [self._begin(start) for start in request.starts]
        answers = await asyncio.gather(*begun, return_exceptions=True)
        response = StartWorkflowBatchResponse()
        for answer in answers:
            response.outcomes.append(_outcome(answer, to_status))
        return response

    def _begin(self, request: StartWorkflowRequest) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        waiter = stimulus_of(future, lambda _draft, _now_us: None)
        try:
            checks.check_start(request)
            self._starts.begin(request, waiter.resolve, waiter.reject)
        except DomainError as error:
            waiter.reject(error)
        return future


def _outcome(answer: Any, to_status: ToStatus) -> BatchOutcome:
    if isinstance(answer, Exception):
        return BatchOutcome(error=refusal_of(answer, to_status))
    return BatchOutcome(started=answer_as(StartWorkflowResponse, answer))
