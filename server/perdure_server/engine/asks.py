"""Owns requests that stimulate a run: finds the run that each one means, and asks it.

Most name only a workflow and mean its latest run. When that one refuses because it has closed,
another may have begun in the same commit; the refusal stands only if none has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from perdure_server.core import limits
from perdure_server.core.draft import Draft
from perdure_server.core.errors import DomainError, WorkflowClosed, WorkflowNotFound
from perdure_server.core.state import RunState
from perdure_server.engine.background import Background
from perdure_server.engine.requests import (
    RequestKey,
    contended,
    in_namespace,
    missing,
    recorded_answer,
    request_key,
)
from perdure_server.engine.runs import Runs
from perdure_server.engine.stimuli import Stimulus, answer_as, stimulus_of
from perdure_server.store.contract import Store

Decision = Callable[[Draft, int], Message]


@dataclass(slots=True)
class Asked:
    """A request under way. `resolve` takes its answer, also as it was recorded."""

    request: Any
    key: RequestKey | None
    decide: Decision
    resolve: Callable[[Any], None]
    reject: Callable[[Exception], None]
    looks: int = 0
    """How often the store was asked which run is the latest."""


class Asks:
    """Asks runs for every door."""

    def __init__(self, store: Store, runs: Runs, *, background: Background) -> None:
        self._store = store
        self._runs = runs
        self._background = background

    def begin(
        self,
        request: Any,
        decision: Decision,
        *,
        kind: type[Message],
        resolve: Callable[[Any], None],
        reject: Callable[[Exception], None],
    ) -> None:
        """Stimulates the run that a request names: by its run id, else the latest.

        `resolve` gets a message of `kind` once it is durable. Which run is the latest is guessed
        from those in memory, else read.
        """
        rpc = kind.DESCRIPTOR.name.removesuffix("Response")
        key = request_key(rpc, in_namespace(request))

        def decide(draft: Draft, now_us: int) -> Message:
            run = draft.run
            if (run.namespace, run.workflow_id) != (request.namespace, request.workflow_id):
                raise missing(request)
            return decision(draft, now_us)

        def answered(answer: Message | bytes) -> None:
            resolve(answer_as(kind, answer))

        asked = Asked(request, key, decide, answered, reject)
        run_id = request.run_id or self._runs.latest(request.namespace, request.workflow_id)
        if run_id:
            self._ask(asked, run_id)
        else:
            self._look_up_beside(asked, "", missing(request))

    async def ask(self, request: Any, decision: Decision, *, kind: type[Message]) -> Any:
        """Does the same and waits for the answer, a message of `kind`."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        waiter = stimulus_of(future, decision)
        self.begin(request, decision, kind=kind, resolve=waiter.resolve, reject=waiter.reject)
        return await future

    def _ask(self, asked: Asked, run_id: str) -> None:
        def refused(error: Exception) -> None:
            if isinstance(error, WorkflowClosed | WorkflowNotFound):
                self._look_up_beside(asked, run_id, error)
            else:
                asked.reject(error)

        stimulus = Stimulus(asked.decide, asked.resolve, refused, asked.key)
        self._runs.stimulate(run_id, stimulus)

    def _look_up_beside(self, asked: Asked, seen: str, refusal: Exception) -> None:
        job = self._look_up(asked, seen, refusal)
        self._background.spawn(job, f"look up {asked.request.workflow_id}")

    async def _look_up(self, asked: Asked, seen: str, refusal: Exception) -> None:
        """Asks the run that is meant, unless it is `seen`, whose refusal stands then."""
        request = asked.request
        try:
            run_id = await self._store.find_run(
                request.namespace, request.workflow_id, request.run_id or None
            )
        except DomainError as error:
            asked.reject(error)
            return
        asked.looks += 1
        if run_id is None:
            asked.reject(missing(request))
        elif run_id == seen:
            await self._refuse(asked, refusal)
        elif asked.looks > limits.STALE_RETRIES_MAX:
            asked.reject(contended(request))
        else:
            self._ask(asked, run_id)

    async def _refuse(self, asked: Asked, refusal: Exception) -> None:
        """Refuses a request that the run is past; if it was answered before, it is again."""
        try:
            answer = await recorded_answer(self._store, asked.key) if asked.key else None
        except DomainError as error:
            asked.reject(error)
            return
        if answer is None:
            asked.reject(refusal)
        else:
            asked.resolve(answer)


async def state_now(runs: Runs, run_id: str) -> RunState | None:
    """Returns a run as it is now, also where other servers change it; None when there is none.

    As long as the store cannot be read it waits.
    """
    seen: asyncio.Future[RunState | None] = asyncio.get_running_loop().create_future()

    def visit(state: RunState | None) -> None:
        if not seen.done():
            seen.set_result(state)

    runs.look(run_id, visit)
    return await seen
