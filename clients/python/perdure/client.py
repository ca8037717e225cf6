"""Owns what applications hold: a client of one server, or of an engine inside their own process."""

from __future__ import annotations

import builtins
import os
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, aclosing
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar, Unpack, overload

from perdure._asking import UpdateMethod
from perdure._connection import Connection
from perdure._definition import HasRun, Runs, RunsAlone
from perdure._embedded import EmbeddedTransport
from perdure._failures import to_failure
from perdure._handles import WorkflowDescription, WorkflowHandle, WorkflowStatus
from perdure._joint_starts import SignalStart, UpdateStart
from perdure._schedules import ScheduleCalls
from perdure._search import from_search_attribute
from perdure._signal import Signal
from perdure._start_batch import Start, start_batch
from perdure._starting import StartOptions, handle_of, result_type_of, start_call, start_request
from perdure._times import require_span
from perdure._transport import API_KEY_VARIABLE, GrpcTransport, Transport
from perdure._workflow import Workflow
from perdure.codec import Codec, Codecs
from perdure.converter import Converter
from perdure.errors import RpcError
from perdure.interceptors import ClientCall, Interceptor
from perdure.v1 import worker_service_pb2 as working
from perdure.v1 import workflow_service_pb2 as pb
from perdure.worker import Worker, WorkerOptions

R = TypeVar("R")
V = TypeVar("V")

DEFAULT_TARGET: Final = "localhost:7766"
DEFAULT_NAMESPACE: Final = "main"
DEFAULT_PATIENCE: Final = timedelta(seconds=60)
_PAGE_SIZE: Final = 100


class Client(ScheduleCalls):
    """Starts workflows and talks to them: `async with Client.connect("localhost:7766") as client`.

    A client belongs to the loop on which it was entered. Its connection has a thread of its own.
    While the server is away, calls are repeated for as long as `patience` lasts; nothing is lost or
    counted twice by that.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        namespace: str = DEFAULT_NAMESPACE,
        converter: Converter | None = None,
        use_session: bool = True,
        patience: timedelta = DEFAULT_PATIENCE,
        workers: Sequence[WorkerOptions] = (),
        codecs: Sequence[Codec] = (),
        interceptors: Sequence[Interceptor] = (),
    ) -> None:
        require_span("patience", patience)
        self.connection: Final = Connection(
            transport,
            namespace=namespace,
            converter=converter or Converter(),
            use_session=use_session,
            patience_s=patience.total_seconds(),
            codecs=Codecs(codecs),
            interceptors=interceptors,
        )
        self._workers = workers
        self._open = AsyncExitStack()

    def __repr__(self) -> str:
        return f"<client of namespace {self.connection.namespace!r}>"

    @classmethod
    def connect(
        cls,
        target: str = DEFAULT_TARGET,
        *,
        namespace: str = DEFAULT_NAMESPACE,
        converter: Converter | None = None,
        use_session: bool = True,
        patience: timedelta = DEFAULT_PATIENCE,
        api_key: str | None = None,
        codecs: Sequence[Codec] = (),
        interceptors: Sequence[Interceptor] = (),
    ) -> Self:
        """Makes a client of the server at `target`; it connects with the first call.

        `use_session=False` makes plain unary calls: slower, for proxies that do not carry streams.
        The API key is sent by the client and its workers; it is read from PERDURE_API_KEY when it
        is not given, and is for servers that ask for one. Raises ValueError when it cannot be one.
        `codecs` encrypt or compress what is sent, `interceptors` stand between; the workers of this
        client have them too.
        """
        if api_key is None:
            api_key = os.environ.get(API_KEY_VARIABLE)
        return cls(
            GrpcTransport(target, api_key=api_key),
            namespace=namespace,
            converter=converter,
            use_session=use_session,
            patience=patience,
            codecs=codecs,
            interceptors=interceptors,
        )

    @classmethod
    def embedded(
        cls,
        path: str | Path,
        *,
        workers: Sequence[WorkerOptions] = (),
        namespace: str = DEFAULT_NAMESPACE,
        converter: Converter | None = None,
        codecs: Sequence[Codec] = (),
        interceptors: Sequence[Interceptor] = (),
    ) -> Self:
        """Makes a client with the whole engine, and workers, inside this process, on a SQLite file.

        What a crash of the process left open goes on when the file is opened again.
        """
        from perdure_server.api.errors import to_status  # noqa: PLC0415
        from perdure_server.embedded import open_embedded  # noqa: PLC0415

        return cls(
            EmbeddedTransport(lambda: open_embedded(path), to_status),
            namespace=namespace,
            converter=converter,
            workers=workers,
            codecs=codecs,
            interceptors=interceptors,
        )

    async def __aenter__(self) -> Self:
        await self.connection.open()
        self._open.push_async_callback(self.connection.close)
        try:
            for options in self._workers:
                await self._open.enter_async_context(Worker.of(self, options))
        except BaseException:
            await self._open.aclose()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._open.aclose()

    @overload
    async def start(
        self, workflow: Workflow[[], R], /, **options: Unpack[StartOptions]
    ) -> WorkflowHandle[R]: ...
    @overload
    async def start(
        self, workflow: Workflow[[V], R], value: V, /, **options: Unpack[StartOptions]
    ) -> WorkflowHandle[R]: ...
    @overload
    async def start(
        self, workflow: type[RunsAlone[R]], /, **options: Unpack[StartOptions]
    ) -> WorkflowHandle[R]: ...
    @overload
    async def start(
        self, workflow: type[Runs[V, R]], value: V, /, **options: Unpack[StartOptions]
    ) -> WorkflowHandle[R]: ...
    @overload
    async def start(
        self, workflow: str, value: Any = ..., /, **options: Unpack[StartOptions]
    ) -> WorkflowHandle[Any]: ...
    async def start(
        self,
        workflow: Workflow[Any, Any] | type[Any] | str,
        /,
        *value: Any,
        **options: Unpack[StartOptions],
    ) -> WorkflowHandle[Any]:
        """Starts a workflow. The run is durable when the call returns.

        Raises WorkflowAlreadyExistsError as the policies say.
        """
        call = start_call("start", workflow, value, options)
        last = partial(self._start, workflow, options)
        handle: WorkflowHandle[Any] = await self.connection.intercepted(call, last)
        return handle

    async def _start(
        self,
        workflow: Workflow[Any, Any] | type[Any] | str,
        options: StartOptions,
        call: ClientCall,
    ) -> WorkflowHandle[Any]:
        request = start_request(self.connection, workflow, call, options)
        if self.connection.uses_session:
            response = await self.connection.in_session(
                pb.SessionCall(start=request), pb.StartWorkflowResponse
            )
        else:
            response = await self.connection.unary(
                "WorkflowService/StartWorkflow", request, pb.StartWorkflowResponse
            )
        return handle_of(
            self.connection, workflow, workflow_id=response.workflow_id, run_id=response.run_id
        )

    @overload
    async def execute(self, workflow: Workflow[[], R], /, **options: Unpack[StartOptions]) -> R: ...
    @overload
    async def execute(
        self, workflow: Workflow[[V], R], value: V, /, **options: Unpack[StartOptions]
    ) -> R: ...
    @overload
    async def execute(
        self, workflow: type[RunsAlone[R]], /, **options: Unpack[StartOptions]
    ) -> R: ...
    @overload
    async def execute(
        self, workflow: type[Runs[V, R]], value: V, /, **options: Unpack[StartOptions]
    ) -> R: ...
    @overload
    async def execute(
        self, workflow: str, value: Any = ..., /, **options: Unpack[StartOptions]
    ) -> Any: ...
    async def execute(
        self,
        workflow: Workflow[Any, Any] | type[Any] | str,
        /,
        *value: Any,
        **options: Unpack[StartOptions],
    ) -> Any:
        """Starts a workflow, waits until it has closed and returns its result.

        Raises what `start` and `WorkflowHandle.result` raise.
        """
        call = start_call("execute", workflow, value, options)
        return await self.connection.intercepted(call, partial(self._execute, workflow, options))

    async def _execute(
        self,
        workflow: Workflow[Any, Any] | type[Any] | str,
        options: StartOptions,
        call: ClientCall,
    ) -> Any:
        if not self.connection.uses_session:
            started = await self._start(workflow, options, call)
            return await started.result()
        request = start_request(self.connection, workflow, call, options)
        handle = self.get_handle(request.workflow_id, result_type=result_type_of(workflow))
        execute = pb.SessionCall(execute=pb.ExecuteWorkflowRequest(start=request))
        response = await self.connection.in_session(execute, pb.GetWorkflowResultResponse)
        return handle.outcome(response)

    async def start_batch(
        self, starts: Sequence[Start[R]], /
    ) -> builtins.list[WorkflowHandle[R] | RpcError]:
        """Starts many workflows at once: `start_batch([Start(checkout, o, id=o.id) for o in …])`.

        Each stands or falls alone: in the place of one that is refused stands the error that
        `start` would raise. Starts that the server is too busy for, or away, are repeated for as
        long as patience lasts. More than 1,000 take several calls. Raises PayloadError, and
        UnavailableError, before which some may have begun.
        """
        return await start_batch(self.connection, starts)

    @overload
    def signal_with_start(self, signal: Signal[V], value: V, /) -> SignalStart: ...
    @overload
    def signal_with_start(self, signal: Signal[None] | str, /) -> SignalStart: ...
    @overload
    def signal_with_start(self, signal: str, value: Any, /) -> SignalStart: ...
    def signal_with_start(self, signal: Signal[Any] | str, /, *value: Any) -> SignalStart:
        """A signal for a workflow that is started if that is needed, in one commit.

        `await client.signal_with_start(approvals, "ada").start(checkout, order, id="o-1")`.
        """
        return SignalStart(self.connection, signal, value)

    @overload
    def update_with_start(self, update: UpdateMethod[V, R], value: V, /) -> UpdateStart[R]: ...
    @overload
    def update_with_start(self, update: UpdateMethod[None, R], /) -> UpdateStart[R]: ...
    @overload
    def update_with_start(self, update: str, value: Any = ..., /) -> UpdateStart[Any]: ...
    def update_with_start(
        self, update: UpdateMethod[Any, Any] | str, /, *value: Any
    ) -> UpdateStart[Any]:
        """An update for a workflow that is started if that is needed, in one commit.

        `size = await client.update_with_start(Cart.add, item).start(Cart, id="c-1")`.
        """
        return UpdateStart(self.connection, update, value)

    @overload
    def get_handle(self, workflow_id: str, *, run_id: str = ...) -> WorkflowHandle[Any]: ...
    @overload
    def get_handle(
        self, workflow_id: str, *, run_id: str = ..., workflow: Workflow[..., R]
    ) -> WorkflowHandle[R]: ...
    @overload
    def get_handle(
        self, workflow_id: str, *, run_id: str = ..., workflow: type[HasRun[R]]
    ) -> WorkflowHandle[R]: ...
    @overload
    def get_handle(
        self, workflow_id: str, *, run_id: str = ..., result_type: type[R]
    ) -> WorkflowHandle[R]: ...
    @overload
    def get_handle(
        self, workflow_id: str, *, run_id: str = ..., result_type: Any
    ) -> WorkflowHandle[Any]: ...
    def get_handle(
        self,
        workflow_id: str,
        *,
        run_id: str = "",
        result_type: Any = Any,
        workflow: Workflow[..., Any] | type[Any] | None = None,
    ) -> WorkflowHandle[Any]:
        """Makes a handle of a workflow; asks nothing of the server.

        What its result is decoded to says `workflow`, or `result_type`; without, it is plain JSON.
        """
        if workflow is not None:
            result_type = result_type_of(workflow)
        return WorkflowHandle(self.connection, workflow_id, run_id=run_id, result_type=result_type)

    async def list(
        self,
        *,
        status: WorkflowStatus | None = None,
        workflow_type: str = "",
        filter: str = "",  # noqa: A002 -- as the contract names it
        order_by: str = "",
    ) -> AsyncGenerator[WorkflowDescription, None]:
        """Yields runs, newest first, or in the order of a field or an attribute.

        `filter="customer = 'c-17' AND created_at > now() - 1d"`. Raises InvalidFilterError.
        """
        request = pb.ListWorkflowsRequest(
            namespace=self.connection.namespace,
            workflow_type=workflow_type,
            page_size=_PAGE_SIZE,
            status=None if status is None else f"WORKFLOW_STATUS_{status}",
            filter=filter,
            order_by=order_by,
        )
        call = ClientCall(operation="list", workflow_id="", name=workflow_type, request=request)
        async with aclosing(self.connection.yielded(call, self._listed)) as runs:
            async for run in runs:
                yield run

    async def count(self, *, filter: str = "") -> int:  # noqa: A002 -- as the contract names it
        """Counts runs. Raises InvalidFilterError."""
        return await self._count("count", filter, "", lambda answer: answer.count)

    async def count_by(
        self,
        group_by: str,
        *,
        filter: str = "",  # noqa: A002 -- as the contract names it
    ) -> dict[Any, int]:
        """Counts runs by the value of a field or an attribute, the largest groups first.

        A run with several keywords counts for each; those that have no value count for None.
        """
        return await self._count("count_by", filter, group_by, _groups)

    async def complete_activity(self, task_token: str, result: Any = None) -> None:
        """Reports the result of an activity that was left open with `activity.detach()`.

        Raises StaleTaskError.
        """
        request = working.CompleteActivityRequest(
            task_token=task_token, result=self.connection.converter.encode(result)
        )
        call = ClientCall(operation="complete_activity", workflow_id="", request=request)
        await self.connection.made(call, "WorkerService/CompleteActivity", lambda _: None)

    async def fail_activity(self, task_token: str, error: BaseException) -> None:
        """Reports that a detached activity failed; its retry policy decides what follows.

        Raises StaleTaskError.
        """
        request = working.FailActivityRequest(
            task_token=task_token, failure=to_failure(error, self.connection.converter)
        )
        call = ClientCall(operation="fail_activity", workflow_id="", request=request)
        await self.connection.made(call, "WorkerService/FailActivity", lambda _: None)

    async def heartbeat_activity(self, task_token: str, details: Any = None) -> bool:
        """Reports that a detached activity is alive; returns whether it should stop.

        Raises StaleTaskError.
        """
        converter = self.connection.converter
        request = working.HeartbeatActivityRequest(
            task_token=task_token, details=None if details is None else converter.encode(details)
        )
        call = ClientCall(operation="heartbeat_activity", workflow_id="", request=request)
        method = "WorkerService/HeartbeatActivity"
        return await self.connection.made(call, method, lambda answer: answer.cancel_requested)

    async def _listed(self, call: ClientCall) -> AsyncGenerator[WorkflowDescription, None]:
        pages = self.connection.pages("WorkflowService/ListWorkflows", call.request)
        async with aclosing(pages):
            async for page in pages:
                for message in page.workflows:
                    yield WorkflowDescription.of(message)

    async def _count(
        self, operation: str, condition: str, group_by: str, read: Callable[[Any], V]
    ) -> V:
        request = pb.CountWorkflowsRequest(
            namespace=self.connection.namespace, filter=condition, group_by=group_by
        )
        call = ClientCall(operation=operation, workflow_id="", request=request)
        return await self.connection.made(call, "WorkflowService/CountWorkflows", read)


def _groups(answer: pb.CountWorkflowsResponse) -> dict[Any, int]:
    return {from_search_attribute(group.value): group.count for group in answer.groups}
