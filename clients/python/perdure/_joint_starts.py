"""Owns starts of the client that do something else in the same commit: a signal, or an update."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any, Final, Generic, TypeVar, Unpack

from perdure._asking import UpdateMethod, result_type_of
from perdure._connection import LONG_POLL_S, Connection
from perdure._handles import WorkflowHandle
from perdure._signal import Signal
from perdure._starting import (
    Startable,
    StartOptions,
    handle_of,
    start_call,
    start_request,
)
from perdure.interceptors import ClientCall
from perdure.v1 import workflow_service_pb2 as pb

R = TypeVar("R")

_WAIT: Final = timedelta(seconds=LONG_POLL_S)
_TIMEOUT_S: Final = LONG_POLL_S + 15.0


class SignalStart:
    """`client.signal_with_start(approvals, "ada")` waits for what is to be started."""

    def __init__(
        self, connection: Connection, signal: Signal[Any] | str, value: tuple[Any, ...]
    ) -> None:
        self._connection = connection
        self._name = signal if isinstance(signal, str) else signal.name
        self._value = value

    async def start(
        self, workflow: Startable, /, *value: Any, **options: Unpack[StartOptions]
    ) -> WorkflowHandle[Any]:
        """Delivers the signal to the open run of the workflow id, or to one that it starts.

        Takes what `Client.start` takes and raises what that raises; without a `conflict_policy` an
        open run is used.
        """
        call = start_call("signal_with_start", workflow, value, options)
        last = partial(self._start, workflow, options)
        handle: WorkflowHandle[Any] = await self._connection.intercepted(call, last)
        return handle

    async def _start(
        self, workflow: Startable, options: StartOptions, call: ClientCall
    ) -> WorkflowHandle[Any]:
        connection = self._connection
        request = pb.SignalWithStartRequest(
            start=start_request(connection, workflow, call, options),
            signal_name=self._name,
            payload=connection.converter.encode(self._value[0]) if self._value else None,
        )
        response = await connection.unary(
            "WorkflowService/SignalWithStart", request, pb.SignalWithStartResponse
        )
        return handle_of(
            connection, workflow, workflow_id=response.workflow_id, run_id=response.run_id
        )


class UpdateStart(Generic[R]):
    """`client.update_with_start(Order.add, item)` waits for what is to be started."""

    def __init__(
        self, connection: Connection, update: UpdateMethod[Any, Any] | str, value: tuple[Any, ...]
    ) -> None:
        self._connection = connection
        self._name = update if isinstance(update, str) else update.name
        self._value = value
        self._result_type = result_type_of(update)

    async def start(
        self, workflow: Startable, /, *value: Any, **options: Unpack[StartOptions]
    ) -> R:
        """Asks the open run of the workflow id, or one that it starts, and waits for the answer.

        Takes what `Client.start` takes and raises what that and `WorkflowHandle.update` raise;
        without a `conflict_policy` an open run is used.
        """
        call = start_call("update_with_start", workflow, value, options)
        last = partial(self._start, workflow, options)
        answer: R = await self._connection.intercepted(call, last)
        return answer

    async def _start(self, workflow: Startable, options: StartOptions, call: ClientCall) -> Any:
        connection = self._connection
        request = pb.UpdateWithStartRequest(
            start=start_request(connection, workflow, call, options),
            update_name=self._name,
            input=connection.converter.encode(self._value[0]) if self._value else None,
            wait=_WAIT,
        )
        while True:
            response = await connection.unary(
                "WorkflowService/UpdateWithStart",
                request,
                pb.UpdateWithStartResponse,
                timeout_s=_TIMEOUT_S,
            )
            if response.completed:
                return connection.converter.decode(response.result, self._result_type)
