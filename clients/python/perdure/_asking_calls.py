"""Owns what a handle asks the code of a workflow: updates, queries, and its state."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from datetime import timedelta
from functools import partial
from typing import Any, Final, TypeAlias, TypeVar, overload
from uuid import uuid4

from perdure._asking import QueryMethod, QueryMode, UpdateMethod, picked, result_type_of
from perdure._connection import LONG_POLL_S, Connection
from perdure._times import to_seconds
from perdure.interceptors import ClientCall, Proceed
from perdure.v1 import interaction_pb2 as asking

T = TypeVar("T")
V = TypeVar("V")
_Span: TypeAlias = timedelta | None

_LONG_POLL: Final = timedelta(seconds=LONG_POLL_S)
_SLACK_S: Final = 15.0
_LONG_POLL_TIMEOUT_S: Final = LONG_POLL_S + _SLACK_S
_QUERY_WAIT: Final = timedelta(seconds=10)


class AskingCalls(ABC):
    """The part of a handle that asks."""

    workflow_id: str
    run_id: str
    _listener: str
    _connection: Connection

    @overload
    async def update(
        self,
        update: UpdateMethod[V, T],
        value: V,
        /,
        *,
        timeout: _Span = None,
        request_id: str = "",
    ) -> T: ...
    @overload
    async def update(
        self, update: UpdateMethod[None, T], /, *, timeout: _Span = None, request_id: str = ""
    ) -> T: ...
    @overload
    async def update(
        self, update: str, value: Any = ..., /, *, timeout: _Span = None, request_id: str = ""
    ) -> Any: ...
    async def update(
        self, update: Any, value: Any = None, /, *, timeout: _Span = None, request_id: str = ""
    ) -> Any:
        """Asks the code to do something and waits for its answer, TimeoutError after `timeout`.

        Raises UpdateRejectedError, RunClosedError, WorkflowNotFoundError, WorkflowClosedError.
        """
        name = update if isinstance(update, str) else update.name
        last = partial(self._update, request_id or uuid4().hex, result_type_of(update))
        async with asyncio.timeout(to_seconds("timeout", timeout)):
            return await self._intercepted("update", last, name=name, arguments=(value,))

    async def _update(self, request_id: str, result_type: Any, call: ClientCall) -> Any:
        connection = self._connection
        request = asking.UpdateWorkflowRequest(
            namespace=connection.namespace,
            workflow_id=self.workflow_id,
            run_id=self._listener,
            update_name=call.name,
            input=connection.converter.encode(call.arguments[0]),
            request_id=request_id,
            wait=_LONG_POLL,
        )
        while True:
            response = await connection.unary(
                "WorkflowService/UpdateWorkflow",
                request,
                asking.UpdateWorkflowResponse,
                timeout_s=_LONG_POLL_TIMEOUT_S,
            )
            if response.completed:
                return connection.converter.decode(response.result, result_type)

    @overload
    async def query(
        self, query: QueryMethod[None, T], /, *, mode: QueryMode = ..., timeout: _Span = None
    ) -> T: ...
    @overload
    async def query(self, query: QueryMethod[V, T], value: V, /, *, timeout: _Span = None) -> T: ...
    @overload
    async def query(
        self, query: str, /, *value: Any, mode: QueryMode = ..., timeout: _Span = None
    ) -> Any: ...
    async def query(
        self,
        query: Any,
        /,
        *value: Any,
        mode: QueryMode = QueryMode.LIVE,
        timeout: _Span = None,
    ) -> Any:
        """Asks the code something that changes nothing; it knows of all that was recorded before.

        A worker answers; NoWorkerError when none has within `timeout`, or within 10 seconds. With
        `QueryMode.SNAPSHOT` the server says what the code said after its last workflow task.

        Raises WorkflowNotFoundError, QueryFailedError when the code fails or has no such query,
        and SnapshotNotFoundError for a snapshot while the code has not run.
        """
        name, type_ = (query if isinstance(query, str) else query.name), result_type_of(query)
        if len(value) > 1 or (value and mode is QueryMode.SNAPSHOT):
            raise TypeError("a query takes one value or none, and none as a snapshot")
        if mode is QueryMode.SNAPSHOT:
            last: Proceed[ClientCall] = partial(self._state, type_)
        else:
            last = partial(self._query, timeout or _QUERY_WAIT, type_)
        return await self._intercepted("query", last, name=name, arguments=value)

    async def _query(self, wait: timedelta, result_type: Any, call: ClientCall) -> Any:
        connection = self._connection
        request = asking.QueryWorkflowRequest(
            namespace=connection.namespace,
            workflow_id=self.workflow_id,
            run_id=self.run_id,
            query_name=call.name,
            input=connection.converter.encode(call.arguments[0]) if call.arguments else None,
            mode=asking.QUERY_MODE_LIVE,
            wait=wait,
        )
        response = await connection.unary(
            "WorkflowService/QueryWorkflow",
            request,
            asking.QueryWorkflowResponse,
            timeout_s=wait.total_seconds() + _SLACK_S,
        )
        return connection.converter.decode(response.value, result_type)

    async def state(self, name: str = "", *, type: Any = Any) -> Any:  # noqa: A002
        """Reads what the code published last, or the value of one of its keys.

        Needs no worker. Raises WorkflowNotFoundError, SnapshotNotFoundError.
        """
        last = partial(self._state, type)
        return await self._intercepted("state", last, name=name)

    async def _state(self, type_: Any, call: ClientCall) -> Any:
        connection = self._connection
        request = asking.GetSnapshotRequest(
            namespace=connection.namespace, workflow_id=self.workflow_id, run_id=self.run_id
        )
        method = "WorkflowService/GetSnapshot"
        answer = await connection.unary(method, request, asking.GetSnapshotResponse)
        state = answer.state
        # Picked here, because codecs may have sealed the whole.
        return connection.converter.decode(picked(state, call.name) if call.name else state, type_)

    @abstractmethod
    async def _intercepted(
        self,
        operation: str,
        last: Proceed[ClientCall],
        *,
        name: str = "",
        arguments: tuple[Any, ...] = (),
    ) -> Any:
        """Makes a call through the interceptors of the client."""
