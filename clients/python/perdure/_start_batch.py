"""Owns many starts in one call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Final, Generic, TypeVar, Unpack, overload

from perdure._connection import Connection
from perdure._definition import Runs, RunsAlone
from perdure._handles import WorkflowHandle
from perdure._starting import Startable, StartOptions, handle_of, start_call, start_request
from perdure._transport import error_from_status
from perdure._workflow import Workflow
from perdure.errors import RpcError, UnavailableError
from perdure.interceptors import ClientCall
from perdure.v1 import workflow_service_pb2 as pb

R = TypeVar("R")
V = TypeVar("V")

_STARTS_MAX: Final = 1_000
_BYTES_MAX: Final = 4 * 1024 * 1024
"""Below what the server takes, since codecs may make more of it."""


class Start(Generic[R]):
    """One of the starts of `Client.start_batch`; takes what `Client.start` takes.

    `Start(checkout, order, id=order.id)`. TypeError for what no start takes.
    """

    @overload
    def __init__(
        self: Start[R], workflow: Workflow[[], R], /, **options: Unpack[StartOptions]
    ) -> None: ...
    @overload
    def __init__(
        self: Start[R], workflow: Workflow[[V], R], value: V, /, **options: Unpack[StartOptions]
    ) -> None: ...
    @overload
    def __init__(
        self: Start[R], workflow: type[RunsAlone[R]], /, **options: Unpack[StartOptions]
    ) -> None: ...
    @overload
    def __init__(
        self: Start[R], workflow: type[Runs[V, R]], value: V, /, **options: Unpack[StartOptions]
    ) -> None: ...
    @overload
    def __init__(
        self: Start[Any], workflow: str, value: Any = ..., /, **options: Unpack[StartOptions]
    ) -> None: ...
    def __init__(
        self, workflow: Startable, /, *value: Any, **options: Unpack[StartOptions]
    ) -> None:
        self.workflow: Final = workflow
        self._options = options
        self._call = start_call("start_batch", workflow, value, options)

    def request(self, connection: Connection, headers: dict[str, Any]) -> pb.StartWorkflowRequest:
        """Makes the request, with what travels beside the input. Raises PayloadError."""
        self._call.headers = headers
        return start_request(connection, self.workflow, self._call, self._options)


async def start_batch(
    connection: Connection, starts: Sequence[Start[R]]
) -> list[WorkflowHandle[R] | RpcError]:
    """Starts many workflows: as many calls as they need, one after another."""
    call = ClientCall(operation="start_batch", workflow_id="", arguments=tuple(starts))
    outcomes: list[WorkflowHandle[R] | RpcError] = await connection.intercepted(
        call, partial(_start, connection)
    )
    return outcomes


async def _start(connection: Connection, call: ClientCall) -> list[WorkflowHandle[Any] | RpcError]:
    starts: tuple[Start[Any], ...] = call.arguments
    requests = [start.request(connection, call.headers) for start in starts]
    found: dict[int, WorkflowHandle[Any] | RpcError] = {}
    patience = connection.patience()
    while left := [index for index in range(len(starts)) if _is_open(found.get(index))]:
        for some in _batches(left, requests):
            response = await connection.unary(
                "WorkflowService/StartWorkflowBatch",
                pb.StartWorkflowBatchRequest(starts=[requests[index] for index in some]),
                pb.StartWorkflowBatchResponse,
            )
            for index, outcome in zip(some, response.outcomes, strict=True):
                found[index] = _outcome(connection, starts[index].workflow, outcome)
        away = next((each for each in found.values() if isinstance(each, UnavailableError)), None)
        if away is None:
            break
        try:
            await patience.after(away)
        except UnavailableError:
            break
    return [found[index] for index in range(len(starts))]


def _is_open(outcome: WorkflowHandle[Any] | RpcError | None) -> bool:
    """Whether a start is to be sent, for the first time or again: its request id is the same."""
    return outcome is None or isinstance(outcome, UnavailableError)


def _batches(left: list[int], requests: list[pb.StartWorkflowRequest]) -> Iterator[list[int]]:
    """Yields the starts that go together; one that is large goes alone."""
    batch: list[int] = []
    size = 0
    for index in left:
        more = requests[index].ByteSize()
        if batch and (len(batch) == _STARTS_MAX or size + more > _BYTES_MAX):
            yield batch
            batch, size = [], 0
        batch.append(index)
        size += more
    if batch:
        yield batch


def _outcome(
    connection: Connection, workflow: Startable, outcome: pb.BatchOutcome
) -> WorkflowHandle[Any] | RpcError:
    if outcome.HasField("error"):
        return error_from_status(outcome.error)
    ids = outcome.started
    return handle_of(connection, workflow, workflow_id=ids.workflow_id, run_id=ids.run_id)
