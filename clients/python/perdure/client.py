"""Owns what applications hold: a client of one server, or of an engine inside their own process."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self, TypedDict, TypeVar, Unpack, overload
from uuid import uuid4

from perdure._connection import Connection
from perdure._definition import HasRun, Runs, RunsAlone
from perdure._embedded import EmbeddedTransport
from perdure._failures import to_failure
from perdure._handles import WorkflowDescription, WorkflowHandle, WorkflowStatus
from perdure._options import RetryPolicy, ReusePolicy
from perdure._schedules import ScheduleCalls
from perdure._search import SearchAttributes, from_search_attribute, to_search_attributes
from perdure._times import to_duration
from perdure._transport import API_KEY_VARIABLE, GrpcTransport, Transport
from perdure._workflow import Workflow, workflow_of
from perdure.codec import Codec, Codecs
from perdure.converter import Converter
from perdure.interceptors import ClientCall, Interceptor, to_headers
from perdure.v1 import worker_service_pb2 as working
from perdure.v1 import workflow_service_pb2 as pb
from perdure.worker import Worker, WorkerOptions

R = TypeVar("R")
V = TypeVar("V")

ConflictPolicy = Literal["fail", "use_existing", "terminate_existing"]

DEFAULT_TARGET: Final = "localhost:7766"
DEFAULT_NAMESPACE: Final = "main"
DEFAULT_PATIENCE: Final = timedelta(seconds=60)
_PAGE_SIZE: Final = 100


class StartOptions(TypedDict, total=False):
    """How a workflow is started; every word may be left out.

    `id` is made up when it is left out, and so is `request_id`, which makes repeating safe.
    `task_queue` is by default that of the workflow, else that of the worker which was made with
    the same client and runs the workflow, else `default`. `search_attributes` are what `list` and
    `count` find the run by; `memo`, `summary` and `details` are for those who look at it.
    """

    id: str
    task_queue: str
    conflict_policy: ConflictPolicy
    reuse_policy: ReusePolicy
    retry: RetryPolicy
    execution_timeout: timedelta
    run_timeout: timedelta
    start_delay: timedelta
    priority: int
    request_id: str
    search_attributes: SearchAttributes
    memo: Any
    summary: str
    details: str


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
        call = self._start_call("start", workflow, value, options)
        last = partial(self._start, workflow, options)
        handle: WorkflowHandle[Any] = await self.connection.intercepted(call, last)
        return handle

    async def _start(
        self,
        workflow: Workflow[Any, Any] | type[Any] | str,
        options: StartOptions,
        call: ClientCall,
    ) -> WorkflowHandle[Any]:
        request = self._start_request(workflow, call, options)
        if self.connection.uses_session:
            response = await self.connection.in_session(
                pb.SessionCall(start=request), pb.StartWorkflowResponse
            )
        else:
            response = await self.connection.unary(
                "WorkflowService/StartWorkflow", request, pb.StartWorkflowResponse
            )
        return WorkflowHandle(
            self.connection,
            response.workflow_id,
            run_id=response.run_id,
            follows=True,
            result_type=_result_type(workflow),
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
        call = self._start_call("execute", workflow, value, options)
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
        request = self._start_request(workflow, call, options)
        handle = self.get_handle(request.workflow_id, result_type=_result_type(workflow))
        execute = pb.SessionCall(execute=pb.ExecuteWorkflowRequest(start=request))
        response = await self.connection.in_session(execute, pb.GetWorkflowResultResponse)
        return handle.outcome(response)

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
            result_type = _result_type(workflow)
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
        while True:
            response = await self.connection.unary(
                "WorkflowService/ListWorkflows", request, pb.ListWorkflowsResponse
            )
            for message in response.workflows:
                yield WorkflowDescription.of(message)
            if not response.next_page_token:
                return
            request.page_token = response.next_page_token

    async def count(self, *, filter: str = "") -> int:  # noqa: A002 -- as the contract names it
        """Counts runs. Raises InvalidFilterError."""
        return (await self._count(filter, "")).count

    async def count_by(
        self,
        group_by: str,
        *,
        filter: str = "",  # noqa: A002 -- as the contract names it
    ) -> dict[Any, int]:
        """Counts runs by the value of a field or an attribute, the largest groups first.

        A run with several keywords counts for each; those that have no value count for None.
        """
        response = await self._count(filter, group_by)
        return {from_search_attribute(group.value): group.count for group in response.groups}

    async def complete_activity(self, task_token: str, result: Any = None) -> None:
        """Reports the result of an activity that was left open with `activity.detach()`.

        Raises StaleTaskError.
        """
        request = working.CompleteActivityRequest(
            task_token=task_token, result=self.connection.converter.encode(result)
        )
        await self.connection.unary(
            "WorkerService/CompleteActivity", request, working.CompleteActivityResponse
        )

    async def fail_activity(self, task_token: str, error: BaseException) -> None:
        """Reports that a detached activity failed; its retry policy decides what follows.

        Raises StaleTaskError.
        """
        request = working.FailActivityRequest(
            task_token=task_token, failure=to_failure(error, self.connection.converter)
        )
        await self.connection.unary(
            "WorkerService/FailActivity", request, working.FailActivityResponse
        )

    async def heartbeat_activity(self, task_token: str, details: Any = None) -> bool:
        """Reports that a detached activity is alive; returns whether it should stop.

        Raises StaleTaskError.
        """
        converter = self.connection.converter
        request = working.HeartbeatActivityRequest(
            task_token=task_token, details=None if details is None else converter.encode(details)
        )
        response = await self.connection.unary(
            "WorkerService/HeartbeatActivity", request, working.HeartbeatActivityResponse
        )
        return response.cancel_requested

    async def _count(self, condition: str, group_by: str) -> pb.CountWorkflowsResponse:
        request = pb.CountWorkflowsRequest(
            namespace=self.connection.namespace, filter=condition, group_by=group_by
        )
        return await self.connection.unary(
            "WorkflowService/CountWorkflows", request, pb.CountWorkflowsResponse
        )

    def _start_call(
        self,
        operation: str,
        workflow: Workflow[Any, Any] | type[Any] | str,
        value: tuple[Any, ...],
        options: StartOptions,
    ) -> ClientCall:
        unknown = options.keys() - StartOptions.__optional_keys__
        if unknown or len(value) > 1:
            raise TypeError(f"a start takes one value and known options; got {[*value, *unknown]}")
        name = workflow if isinstance(workflow, str) else workflow_of(workflow).name
        if not isinstance(workflow, str):
            value = workflow_of(workflow).signature.value_of(value, {})
        return ClientCall(
            operation=operation, workflow_id=options.get("id", ""), name=name, arguments=value
        )

    def _start_request(
        self,
        workflow: Workflow[Any, Any] | type[Any] | str,
        call: ClientCall,
        options: StartOptions,
    ) -> pb.StartWorkflowRequest:
        task_queue = None
        if not isinstance(workflow, str):
            definition = workflow_of(workflow)
            task_queue = definition.task_queue or self.connection.queue_of_own_worker(
                definition.name
            )
        retry, attributes = options.get("retry"), options.get("search_attributes")
        converter = self.connection.converter
        return pb.StartWorkflowRequest(
            namespace=self.connection.namespace,
            workflow_id=call.workflow_id or uuid4().hex,
            workflow_type=call.name,
            task_queue=options.get("task_queue", task_queue),
            input=converter.encode(call.arguments[0]) if call.arguments else None,
            headers=to_headers(call.headers, converter),
            request_id=options.get("request_id") or uuid4().hex,
            conflict_policy=_enum("CONFLICT_POLICY", options.get("conflict_policy")),
            reuse_policy=_enum("REUSE_POLICY", options.get("reuse_policy")),
            retry_policy=None if retry is None else retry.to_proto(),
            execution_timeout=to_duration(options.get("execution_timeout")),
            run_timeout=to_duration(options.get("run_timeout")),
            start_delay=to_duration(options.get("start_delay")),
            priority=options.get("priority"),
            memo=converter.encode(options["memo"]) if "memo" in options else None,
            search_attributes=to_search_attributes(attributes) if attributes else None,
            summary=options.get("summary"),
            details=options.get("details"),
        )


def _enum(prefix: str, name: str | None) -> str | None:
    return None if name is None else f"{prefix}_{name.upper()}"


def _result_type(workflow: Workflow[Any, Any] | type[Any] | str) -> Any:
    return Any if isinstance(workflow, str) else workflow_of(workflow).signature.result_type
