"""Owns the wait for a result, and what a person sees meanwhile."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import timedelta
from typing import Final

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from perdure._cli.calls import CALL_SECONDS, call_once
from perdure._transport import Transport, one
from perdure.errors import RpcError
from perdure.v1.watch_service_pb2 import WatchWorkflowRequest, WatchWorkflowResponse
from perdure.v1.workflow_pb2 import WorkflowStatus
from perdure.v1.workflow_service_pb2 import GetWorkflowResultRequest, GetWorkflowResultResponse

POLL_SECONDS: Final = 60.0
"""One long poll; the next follows at once."""
PATIENCE_SECONDS: Final = 120.0
"""How long a server that has answered may be away."""
RETRY_SECONDS: Final = 0.5
OPEN_STATUSES: Final = frozenset(
    {
        WorkflowStatus.WORKFLOW_STATUS_PENDING,
        WorkflowStatus.WORKFLOW_STATUS_RUNNING,
        WorkflowStatus.WORKFLOW_STATUS_PAUSED,
    }
)


async def wait_for_result(
    transport: Transport, request: GetWorkflowResultRequest, limit: timedelta | None
) -> GetWorkflowResultResponse:
    """Returns the end of a workflow, or its status when the wait ran out.

    On a terminal, standard error shows what the workflow is doing.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        return await _wait(transport, request, limit)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        narrator = asyncio.create_task(_narrate(transport, request, progress))
        try:
            return await _wait(transport, request, limit)
        finally:
            narrator.cancel()
            await asyncio.gather(narrator, return_exceptions=True)


async def _wait(
    transport: Transport, request: GetWorkflowResultRequest, limit: timedelta | None
) -> GetWorkflowResultResponse:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + (limit.total_seconds() if limit is not None else float("inf"))
    # The first question is answered at once; from then on a server that restarts is waited for.
    answer, heard = await _ask(transport, request, 0.0), loop.time()
    while answer.status in OPEN_STATUSES and loop.time() < deadline:
        # The runs before the one that is waited for now may be deleted meanwhile.
        request.run_id = answer.run_id
        try:
            wait_s = max(0.0, min(POLL_SECONDS, deadline - loop.time()))
            answer, heard = await _ask(transport, request, wait_s), loop.time()
        except RpcError as error:
            if error.code != "UNAVAILABLE" or loop.time() - heard > PATIENCE_SECONDS:
                raise
            await asyncio.sleep(RETRY_SECONDS)
    return answer


async def _ask(
    transport: Transport, request: GetWorkflowResultRequest, wait_s: float
) -> GetWorkflowResultResponse:
    request.wait.FromTimedelta(timedelta(seconds=wait_s))
    return await call_once(
        transport,
        "WorkflowService/GetWorkflowResult",
        request,
        GetWorkflowResultResponse,
        timeout_s=wait_s + CALL_SECONDS,
    )


async def _narrate(
    transport: Transport, request: GetWorkflowResultRequest, progress: Progress
) -> None:
    task = progress.add_task(f"{request.workflow_id}: waiting", total=None)
    watch = WatchWorkflowRequest(
        namespace=request.namespace, workflow_id=request.workflow_id, run_id=request.run_id
    )
    answers = transport.stream("WatchService/WatchWorkflow", one(watch))
    try:
        async with aclosing(answers):
            async for answer in answers:
                assert isinstance(answer, WatchWorkflowResponse)
                if not answer.kind:
                    continue
                kind = (answer.event.WhichOneof("event") or "").replace("_", " ")
                text = f"{request.workflow_id}: event {answer.event.seq}, {kind}"
                progress.update(task, description=text)
    except RpcError:
        # The wait itself meets the same trouble and tells it; the display only stands still.
        return
