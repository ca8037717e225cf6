"""Owns what workflow code says to other workflows: those it starts as children, and any other."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, overload

from perdure._definition import Signature
from perdure._options import ChildOptions, child_to_proto
from perdure._replay.children import CancelOtherRequest, ChildRequest, SignalRequest
from perdure._replay.run import Run
from perdure._replay.source import caller_line
from perdure._runtime import running_run
from perdure._signal import Signal
from perdure.interceptors import ChildCall, MessageCall, chained, to_headers

P = ParamSpec("P")
R = TypeVar("R")
V = TypeVar("V")


class Startable(Protocol):
    """What is needed of a workflow to start it as a child."""

    @property
    def name(self) -> str:
        """The workflow type."""

    @property
    def task_queue(self) -> str | None:
        """The queue that it runs on when none is named."""

    @property
    def signature(self) -> Signature:
        """What it takes and gives."""

    def __call__(self, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, Any]:
        """Calls the function."""


class Child(Generic[P, R]):
    """A workflow with options for running it as a child: `refund.options(id="r-1")(order)`."""

    def __init__(self, workflow: Startable, options: ChildOptions) -> None:
        self._workflow = workflow
        self._options = options
        # Bad options are told where they are written.
        child_to_proto(workflow.name, options)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        """Runs the workflow as a child and waits for its result; plain outside of workflows."""
        run = running_run()
        if run is None:
            return self._workflow(*args, **kwargs)
        values = self._workflow.signature.value_of(args, kwargs)
        return execute(run, self._workflow, values, self._options)

    def __repr__(self) -> str:
        return f"<child {self._workflow.name!r}>"


class ChildHandle(Generic[R]):
    """A child that was started.

    Attributes:
        workflow_id: Identifies it.
    """

    def __init__(
        self,
        run: Run,
        request: ChildRequest,
        result_type: Any,
        *,
        task: asyncio.Task[Any] | None = None,
    ) -> None:
        self._run = run
        self._request = request
        self._result_type = result_type
        self._task = task

    @property
    def workflow_id(self) -> str:
        """Identifies the child."""
        return self._request.workflow_id

    @property
    def run_id(self) -> str:
        """The run that was started; empty until the history says so."""
        return self._request.run_id

    def __repr__(self) -> str:
        run = f", run_id={self.run_id!r}" if self.run_id else ""
        return f"ChildHandle({self.workflow_id!r}{run})"

    async def result(self) -> R:
        """Waits until the child has ended and returns its result.

        To stop waiting does not end the child. Raises ChildWorkflowError, ChildAlreadyExistsError
        when it could not be started.
        """
        if self._task is not None:
            result: R = await asyncio.shield(self._task)
        else:
            result = await self._run.relations.result(self._request, self._result_type)
        return result

    @overload
    async def signal(self, signal: Signal[V], value: V, /) -> None: ...
    @overload
    async def signal(self, signal: Signal[None], /) -> None: ...
    @overload
    async def signal(self, signal: str, value: Any = ..., /) -> None: ...
    async def signal(self, signal: Any, value: Any = None, /) -> None:
        """Sends a signal and waits until it is recorded there.

        Raises ExternalWorkflowError when the child has ended.
        """
        await _send_signal(self._run, SignalRequest(self._request, caller_line(2)), signal, value)

    def cancel(self, reason: str = "") -> None:
        """Asks the child to end; how it did, `result()` tells. An ended one is left alone."""
        self._run.relations.cancel(self._request, reason)


class ExternalHandle:
    """Any other workflow of the namespace, as workflow code reaches it.

    Attributes:
        workflow_id: Identifies it.
        run_id: Identifies the run; empty means the latest.
    """

    def __init__(self, run: Run, workflow_id: str, run_id: str) -> None:
        self._run = run
        self.workflow_id = workflow_id
        self.run_id = run_id

    def __repr__(self) -> str:
        run = f", run_id={self.run_id!r}" if self.run_id else ""
        return f"ExternalHandle({self.workflow_id!r}{run})"

    @overload
    async def signal(self, signal: Signal[V], value: V, /) -> None: ...
    @overload
    async def signal(self, signal: Signal[None], /) -> None: ...
    @overload
    async def signal(self, signal: str, value: Any = ..., /) -> None: ...
    async def signal(self, signal: Any, value: Any = None, /) -> None:
        """Sends a signal and waits until it is recorded there.

        Raises ExternalWorkflowError when there is no open run.
        """
        request = SignalRequest(self.workflow_id, caller_line(2), run_id=self.run_id)
        await _send_signal(self._run, request, signal, value)

    async def cancel(self, reason: str = "") -> None:
        """Asks the workflow to end and waits until that is recorded there.

        Raises ExternalWorkflowError when there is no open run.
        """
        run = self._run
        request = CancelOtherRequest(self.workflow_id, caller_line(2), run_id=self.run_id)
        request.reason = reason

        async def send(_: MessageCall) -> None:
            await run.relations.send(request)

        call = MessageCall(workflow_id=self.workflow_id, run_id=self.run_id)
        await chained(run.interceptors, "cancel_workflow", send)(call)


def execute(
    run: Run, workflow: Startable | str, values: tuple[Any, ...], options: ChildOptions
) -> Coroutine[Any, Any, Any]:
    """Runs a child and waits for its result; it is cancelled when the wait is."""
    request, result_type = _request(run, workflow, options)
    run.relations.begin(request)
    return _run_child(run, request, values, result_type)


def start(
    run: Run, workflow: Startable | str, values: tuple[Any, ...], options: ChildOptions
) -> ChildHandle[Any]:
    """Starts a child and returns at once."""
    request, result_type = _request(run, workflow, options)
    run.relations.begin(request)
    if not run.interceptors:
        _ask(run, request, values, {})
        return ChildHandle(run, request, result_type)
    task = asyncio.ensure_future(_run_child(run, request, values, result_type))
    # Nobody need ever ask for the result.
    task.add_done_callback(_look)
    return ChildHandle(run, request, result_type, task=task)


async def _run_child(
    run: Run, request: ChildRequest, values: tuple[Any, ...], result_type: Any
) -> Any:
    if not run.interceptors:
        _ask(run, request, values, {})
        return await run.relations.call(request, result_type)

    async def proceed(call: ChildCall) -> Any:
        _ask(run, request, call.arguments, call.headers)
        return await run.relations.call(request, result_type)

    call = ChildCall(name=request.workflow_type, workflow_id=request.workflow_id, arguments=values)
    return await chained(run.interceptors, "start_child", proceed)(call)


def _ask(run: Run, request: ChildRequest, values: tuple[Any, ...], headers: dict[str, Any]) -> None:
    request.value = run.converter.encode(values[0]) if values else None
    request.headers = to_headers(headers, run.converter)
    run.journal.ask(request)


def _request(
    run: Run, workflow: Startable | str, options: ChildOptions
) -> tuple[ChildRequest, Any]:
    """Makes the command for a child, and the type of its result."""
    source = caller_line(3)
    result_type: Any = Any
    if isinstance(workflow, str):
        fields = child_to_proto(workflow, options)
    else:
        fields = child_to_proto(workflow.name, options)
        fields.task_queue = fields.task_queue or workflow.task_queue or ""
        result_type = workflow.signature.result_type
    if "memo" in options:
        fields.memo.CopyFrom(run.converter.encode(options["memo"]))
    return ChildRequest(fields, source), result_type


async def _send_signal(run: Run, request: SignalRequest, signal: Any, value: Any) -> None:
    async def send(call: MessageCall) -> None:
        request.signal_name = call.name
        request.payload = run.converter.encode(call.arguments[0])
        await run.relations.send(request)

    call = MessageCall(
        workflow_id=request.workflow_id,
        run_id=request.run_id,
        name=signal if isinstance(signal, str) else signal.name,
        arguments=(value,),
    )
    await chained(run.interceptors, "signal_workflow", send)(call)


def _look(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()
