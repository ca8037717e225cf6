"""Owns `@workflow` and the words that workflow code says.

Now, info, random, uuid4, sleep, wait_condition, scope, logger. Functions and classes alike become a
definition that the machine runs.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import random as random_module
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import (
    Any,
    Final,
    Generic,
    NoReturn,
    ParamSpec,
    TypeAlias,
    TypeVar,
    Unpack,
    overload,
)

from perdure import _child as child
from perdure._asking import QueryFunction, QueryMethod, UpdateFunction, UpdateMethod
from perdure._definition import Runs, RunsAlone, Signature, attach, definition_of
from perdure._methods import methods_of
from perdure._options import ChildOptions
from perdure._replay.continuation import NOTHING, ContinueAsNew
from perdure._replay.forbidden import forbidden_calls, watch_outside_calls
from perdure._runtime import current_run, micros, running_run
from perdure._scope import CancelScope
from perdure._search import SearchAttributes, from_search_attributes, to_search_attributes
from perdure._signal import SignalMethod
from perdure._step import StepWords

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
C = TypeVar("C")
AnyWorkflow: TypeAlias = "Workflow[..., Any] | type[Any]"
"""A decorated function or a decorated class."""

HISTORY_EVENTS_SUGGEST: Final = 10_000
HISTORY_BYTES_SUGGEST: Final = 10 * 1024 * 1024
"""Where the server begins to warn; at five times as much it fails the run."""

_OUTSIDE: Final = "this word belongs to workflow code; no workflow is running here"
_STARS: Final = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
_log = logging.getLogger("perdure.workflow")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowInfo:
    """What a workflow can know about its run.

    `history_length` counts the events up to the one that the code is reacting to. When
    `continue_as_new_suggested`, the history has become long: the server fails a run whose history
    reaches 50,000 events or 50 MiB.
    """

    namespace: str
    workflow_id: str
    run_id: str
    workflow_type: str
    task_queue: str
    attempt: int
    started_at: datetime
    previous_run_id: str
    first_run_id: str
    history_length: int
    continue_as_new_suggested: bool


class Workflow(Generic[P, R]):
    """A workflow type: an async function of one value or none.

    Attributes:
        name: The type's name in histories.
        fn: The function.
        task_queue: The queue that clients start it on when they name none.
        signature: What it takes and gives.
    """

    def __init__(
        self,
        fn: Callable[P, Coroutine[Any, Any, R]],
        *,
        name: str | None = None,
        task_queue: str | None = None,
    ) -> None:
        if not inspect.iscoroutinefunction(fn):
            raise TypeError(f"a workflow is an async function, got {fn!r}")
        self.fn = fn
        self.name = name or fn.__name__
        self.task_queue = task_queue
        self.signature = self._signature_of(fn)
        if self.signature.needs:
            raise TypeError(f"{fn.__qualname__}: only activities get something of their worker")
        self.__doc__ = fn.__doc__

    @property
    def signals(self) -> Mapping[str, SignalMethod[Any]]:
        """The methods that take signals, by the signals' names; a function has none."""
        return {}

    @property
    def updates(self) -> Mapping[str, UpdateMethod[Any, Any]]:
        """The methods that take updates, by the updates' names; a function has none."""
        return {}

    @property
    def queries(self) -> Mapping[str, QueryMethod[Any, Any]]:
        """The methods that answer queries, by the queries' names; a function has none."""
        return {}

    def make(self, arguments: tuple[Any, ...]) -> Any:  # noqa: ARG002 -- a function needs none
        """Makes the object that methods belong to; None for a function."""
        return None

    def main(self, instance: Any, arguments: tuple[Any, ...]) -> Awaitable[Any]:  # noqa: ARG002
        """Begins the code of a run."""
        fn: Callable[..., Awaitable[Any]] = self.fn
        return fn(*arguments)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        """Runs the workflow as a child and waits for its result; outside of workflows it is plain.

        Raises ChildWorkflowError.
        """
        run = running_run()
        if run is not None:
            return child.execute(run, self, self.signature.value_of(args, kwargs), {})
        return self.fn(*args, **kwargs)

    def options(self, **options: Unpack[ChildOptions]) -> child.Child[P, R]:
        """The workflow as a child with options: `await refund.options(id="r-1")(order)`.

        TypeError or ValueError for a bad option.
        """
        return child.Child(self, options)

    def warn_of_forbidden_calls(self) -> list[str]:
        """Logs calls in the code that cannot be replayed, and begins to watch for others.

        Wall clock and randomness are found in the code; files, sockets, threads and processes
        when they are touched. Gives the lines found.
        """
        watch_outside_calls()
        found = [line for fn in self._functions() for line in forbidden_calls(fn)]
        for line in found:
            _log.warning("%s (workflow %s)", line, self.name)
        return found

    def __repr__(self) -> str:
        return f"<workflow {self.name!r}>"

    def _functions(self) -> list[Callable[..., Any]]:
        return [self.fn]

    def _signature_of(self, fn: Callable[..., Any]) -> Signature:
        return Signature(fn)


class ClassWorkflow(Workflow[P, R]):
    """A workflow type that is a class: its `run` is the code, its methods take signals.

    Each run has an object of its own. `__init__` may take the input, as `run` does, or nothing.
    TypeError for a class of another shape.
    """

    def __init__(
        self, cls: type[Any], *, name: str | None = None, task_queue: str | None = None
    ) -> None:
        if not inspect.iscoroutinefunction(getattr(cls, "run", None)):
            raise TypeError(f"a workflow class has a method `async def run`, {cls!r} has not")
        self.cls = cls
        super().__init__(cls.run, name=name or cls.__name__, task_queue=task_queue)
        self._signals = methods_of(cls, SignalMethod)
        self._updates = methods_of(cls, UpdateMethod)
        self._queries = methods_of(cls, QueryMethod)
        self._init_takes_input = self._look_at_init()
        self.__doc__ = cls.__doc__

    @property
    def signals(self) -> Mapping[str, SignalMethod[Any]]:
        return self._signals

    @property
    def updates(self) -> Mapping[str, UpdateMethod[Any, Any]]:
        return self._updates

    @property
    def queries(self) -> Mapping[str, QueryMethod[Any, Any]]:
        return self._queries

    def make(self, arguments: tuple[Any, ...]) -> Any:
        return self.cls(*arguments) if self._init_takes_input else self.cls()

    def main(self, instance: Any, arguments: tuple[Any, ...]) -> Awaitable[Any]:
        code: Awaitable[Any] = instance.run(*arguments)
        return code

    def _look_at_init(self) -> bool:
        """Whether `__init__` takes the input."""
        parameters = inspect.signature(self.cls).parameters.values()
        required = [p for p in parameters if p.default is p.empty and p.kind not in _STARS]
        if len(required) > (1 if self.signature.takes_value else 0):
            raise TypeError(
                f"{self.cls.__qualname__}.__init__ must take what run takes, or nothing"
            )
        return bool(required)

    def _functions(self) -> list[Callable[..., Any]]:
        members = [
            getattr(value, "fn", value)
            for base in self.cls.__mro__
            if base.__module__ == self.cls.__module__
            for value in vars(base).values()
        ]
        return [member for member in members if inspect.isfunction(member)]

    def _signature_of(self, fn: Callable[..., Any]) -> Signature:
        return Signature(fn, of_method=True)


class WorkflowWords(StepWords):
    """`workflow`: the decorator, and the words of workflow code as its methods."""

    logger: Final = _log
    """A logger that is silent while replaying."""

    @overload
    def __call__(self, cls: type[C], /) -> type[C]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> Workflow[P, R]: ...
    @overload
    def __call__(
        self, /, *, name: str | None = None, task_queue: str | None = None
    ) -> WorkflowDecorator: ...
    def __call__(
        self, code: Any = None, /, *, name: str | None = None, task_queue: str | None = None
    ) -> Any:
        """Makes an async function, or a class with `async def run`, a workflow.

        A class stays what it was. TypeError for anything else.
        """
        decorate = WorkflowDecorator(name, task_queue)
        return decorate if code is None else decorate(code)

    @staticmethod
    def now() -> datetime:
        """Workflow time: when what the code is reacting to was recorded."""
        return current_run(_OUTSIDE).now

    @staticmethod
    def info() -> WorkflowInfo:
        """What is known about the run."""
        run = current_run(_OUTSIDE)
        started, identity = run.started, run.identity
        return WorkflowInfo(
            namespace=identity.namespace,
            workflow_id=identity.workflow_id,
            run_id=identity.run_id,
            workflow_type=started.workflow_type,
            task_queue=started.task_queue or identity.task_queue,
            attempt=started.attempt,
            started_at=run.started_at,
            previous_run_id=started.previous_run_id,
            first_run_id=started.first_run_id,
            history_length=run.history_length,
            continue_as_new_suggested=(
                run.history_length >= HISTORY_EVENTS_SUGGEST
                or run.history_bytes >= HISTORY_BYTES_SUGGEST
            ),
        )

    @staticmethod
    def random() -> random_module.Random:
        """The run's source of randomness: the same numbers in every replay."""
        return current_run(_OUTSIDE).keep(random_module.Random)

    @classmethod
    def uuid4(cls) -> uuid.UUID:
        """A random UUID that is the same in every replay."""
        return uuid.UUID(int=cls.random().getrandbits(128), version=4)

    @staticmethod
    async def sleep(span: timedelta | float) -> None:
        """Waits; a number is seconds, and then it is the same as asyncio.sleep, durable too."""
        await asyncio.sleep(micros(span) / 1e6)

    @staticmethod
    async def wait_condition(
        predicate: Callable[[], Any], *, timeout: timedelta | float | None = None
    ) -> None:
        """Waits until `predicate()` is true; a number is seconds, TimeoutError when they are over.

        It is asked whenever the code has blocked, and must only look: the state of the workflow is
        all that it may read, and it changes nothing.
        """
        run = current_run(_OUTSIDE)
        bound = None if timeout is None else micros(timeout) / 1e6
        try:
            async with asyncio.timeout(bound) as bounded:
                await run.conditions.wait(predicate)
        except TimeoutError:
            if not bounded.expired():
                raise
            raise TimeoutError("the condition did not come true in time") from None

    @staticmethod
    def as_completed(
        awaitables: Iterable[Awaitable[T]], *, timeout: timedelta | float | None = None
    ) -> Iterator[Awaitable[T]]:
        """Is asyncio.as_completed that begins coroutines in their order; that one uses a set."""
        tasks = [asyncio.ensure_future(awaitable) for awaitable in awaitables]
        bound = None if timeout is None else micros(timeout) / 1e6
        return iter(asyncio.as_completed(tasks, timeout=bound))

    @staticmethod
    def all_handlers_finished() -> bool:
        """Whether no signal method is at work: `wait_condition(workflow.all_handlers_finished)`.

        What a method still does when `run` returns is not done any more.
        """
        return current_run(_OUTSIDE).handling == 0

    @staticmethod
    def on_update(
        name: str, fn: Callable[..., Any], *, check: Callable[..., Any] | None = None
    ) -> None:
        """Has a function take the updates of a name from now on, as `@update` does in a class."""
        run = current_run(_OUTSIDE)
        run.journal.require_open(lambda: f"to take the update {name!r}")
        run.desk.add_update(name, UpdateFunction(fn, check))

    @staticmethod
    def on_query(name: str, fn: Callable[..., Any]) -> None:
        """Has a function answer a query from now on, as `@query` does in a class."""
        run = current_run(_OUTSIDE)
        run.journal.require_open(lambda: f"to answer the query {name!r}")
        run.desk.add_query(name, QueryFunction(fn))

    @staticmethod
    def search_attributes() -> dict[str, Any]:
        """What the run is found by, as its start and its code have set it."""
        return from_search_attributes(current_run(_OUTSIDE).attributes)

    @staticmethod
    def upsert_search_attributes(attributes: SearchAttributes) -> None:
        """Changes what the run is found by: the attributes given, and no others; None removes one.

        TypeError for a value that is not of its key's type.
        """
        patch = to_search_attributes(attributes)
        if patch.values:
            current_run(_OUTSIDE).upsert(patch)

    @overload
    def start_child(
        self, workflow: Workflow[[], R], /, **options: Unpack[ChildOptions]
    ) -> child.ChildHandle[R]: ...
    @overload
    def start_child(
        self, workflow: Workflow[[T], R], value: T, /, **options: Unpack[ChildOptions]
    ) -> child.ChildHandle[R]: ...
    @overload
    def start_child(
        self, workflow: type[RunsAlone[R]], /, **options: Unpack[ChildOptions]
    ) -> child.ChildHandle[R]: ...
    @overload
    def start_child(
        self, workflow: type[Runs[T, R]], value: T, /, **options: Unpack[ChildOptions]
    ) -> child.ChildHandle[R]: ...
    @overload
    def start_child(
        self, workflow: str, value: Any = ..., /, **options: Unpack[ChildOptions]
    ) -> child.ChildHandle[Any]: ...
    def start_child(
        self, workflow: Any, /, *value: Any, **options: Unpack[ChildOptions]
    ) -> child.ChildHandle[Any]:
        """Starts a workflow as a child of this one and returns at once.

        That its id is in use is told by `handle.result()`.
        """
        return child.start(current_run(_OUTSIDE), _startable(workflow), value, options)

    @overload
    async def execute_child(
        self, workflow: Workflow[[], R], /, **options: Unpack[ChildOptions]
    ) -> R: ...
    @overload
    async def execute_child(
        self, workflow: Workflow[[T], R], value: T, /, **options: Unpack[ChildOptions]
    ) -> R: ...
    @overload
    async def execute_child(
        self, workflow: type[RunsAlone[R]], /, **options: Unpack[ChildOptions]
    ) -> R: ...
    @overload
    async def execute_child(
        self, workflow: type[Runs[T, R]], value: T, /, **options: Unpack[ChildOptions]
    ) -> R: ...
    @overload
    async def execute_child(
        self, workflow: str, value: Any = ..., /, **options: Unpack[ChildOptions]
    ) -> Any: ...
    async def execute_child(
        self, workflow: Any, /, *value: Any, **options: Unpack[ChildOptions]
    ) -> Any:
        """Runs a workflow as a child and returns its result, as calling a decorated function does.

        Cancelling the wait asks the child to end. Raises ChildWorkflowError,
        ChildAlreadyExistsError when its id is in use.
        """
        return await child.execute(current_run(_OUTSIDE), _startable(workflow), value, options)

    @staticmethod
    def external(workflow_id: str, *, run_id: str = "") -> child.ExternalHandle:
        """A handle of any other workflow of the namespace, to signal or to cancel it."""
        return child.ExternalHandle(current_run(_OUTSIDE), workflow_id, run_id)

    @staticmethod
    def continue_as_new(
        value: Any = NOTHING, *, workflow: AnyWorkflow | str | None = None, task_queue: str = ""
    ) -> NoReturn:
        """Ends this run and goes on as another one with a new history and `value` as its input.

        The workflow id stays, and so do signals that the code has not taken; who waits for the
        result gets that of the last run. `workflow` changes the type. Does not return.
        """
        current_run(_OUTSIDE).journal.require_open(lambda: "ContinueAsNew")
        type_ = workflow if isinstance(workflow, str) else ""
        if workflow is not None and not isinstance(workflow, str):
            type_ = workflow_of(workflow).name
        raise ContinueAsNew(value, workflow_type=type_, task_queue=task_queue)

    @staticmethod
    def scope() -> CancelScope:
        """A block that can be cancelled by itself: `async with workflow.scope() as scope: ...`."""
        return CancelScope()


class WorkflowDecorator:
    """What `@workflow(...)` with options gives."""

    def __init__(self, name: str | None, task_queue: str | None) -> None:
        self._name = name
        self._task_queue = task_queue

    @overload
    def __call__(self, cls: type[C], /) -> type[C]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> Workflow[P, R]: ...
    def __call__(self, code: Any, /) -> Any:
        """Makes a function or a class a workflow."""
        if not isinstance(code, type):
            return Workflow(code, name=self._name, task_queue=self._task_queue)
        attach(code, ClassWorkflow(code, name=self._name, task_queue=self._task_queue))
        return code


def workflow_of(decorated: Any) -> Workflow[Any, Any]:
    """The definition behind a decorated function or class; TypeError for anything else."""
    definition = definition_of(decorated)
    if not isinstance(definition, Workflow):
        raise TypeError(f"{decorated!r} is not decorated with @workflow")
    return definition


def _startable(workflow: Any) -> Workflow[Any, Any] | str:
    """What may be started: the definition behind what is decorated, or the name of a type."""
    return workflow if isinstance(workflow, str) else workflow_of(workflow)


class _SilentWhileReplaying(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        run = running_run()
        if run is None:
            return True
        record.workflow_id = run.identity.workflow_id
        record.run_id = run.identity.run_id
        return not run.replaying


_log.addFilter(_SilentWhileReplaying())
workflow: Final = WorkflowWords()
