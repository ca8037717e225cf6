"""Owns what may stand between a call and what it does: in clients, workflows and activities.

An interceptor overrides the methods it cares for. Each gets the call and `proceed`, which does the
rest; what it returns is the answer. The first one in a list is the outermost. Given to a client,
they serve its workers too.

    class Timed(ClientInterceptor, ActivityInterceptor):
        async def call(self, call, proceed):
            with timer(call.operation):
                return await proceed(call)

        async def execute_activity(self, call, proceed):
            with timer(call.info.name):
                return await proceed(call)

    Client.connect(interceptors=[Timed()])

Headers are small values that travel beside the input: from the start to every run of the workflow,
and from there, when an interceptor puts them there, to activities and children. `CarryContext`
carries context variables by them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from perdure.converter import Converter
from perdure.errors import PayloadError
from perdure.v1.payload_pb2 import Header

if TYPE_CHECKING:
    from perdure._activity import ActivityInfo

C = TypeVar("C")
K = TypeVar("K")
Proceed: TypeAlias = Callable[[C], Awaitable[Any]]

STARTS: Final = frozenset(
    {"start", "execute", "start_batch", "signal_with_start", "update_with_start"}
)
"""The operations of a client whose headers travel."""


@dataclass(slots=True, kw_only=True)
class ClientCall:
    """What an application asks of the server.

    Attributes:
        operation: The method of the client or handle: `start`, `execute`, `signal`, `result` …;
            those of schedules and activities name what they concern, as `pause_schedule`.
        workflow_id: The workflow; empty where the start makes an id up, and of what concerns none.
        name: The workflow type of a start, the name of a signal or a schedule; else empty.
        arguments: The value that goes along, in a tuple that is empty when there is none; of
            `start_batch` all the starts.
        headers: What travels beside it; only a start carries them, of `start_batch` each.
        request: The message that goes to the server, where it is made before the call; None where
            it is made of the above. What is changed in it is sent.
    """

    operation: str
    workflow_id: str
    name: str = ""
    arguments: tuple[Any, ...] = ()
    headers: dict[str, Any] = field(default_factory=dict)
    request: Any = None


@dataclass(slots=True, kw_only=True)
class WorkflowCall:
    """The code of a run about to begin; `workflow.info()` says which.

    Attributes:
        arguments: What it is called with.
        headers: What the start sent along.
    """

    arguments: tuple[Any, ...]
    headers: Mapping[str, Any]


@dataclass(slots=True, kw_only=True)
class SignalCall:
    """A method of a class-based workflow about to take a signal."""

    name: str
    arguments: tuple[Any, ...]


@dataclass(slots=True, kw_only=True)
class UpdateCall:
    """Workflow code about to do what an update asks for; its check has passed."""

    name: str
    arguments: tuple[Any, ...]


@dataclass(slots=True, kw_only=True)
class QueryCall:
    """Workflow code about to answer a query."""

    name: str
    arguments: tuple[Any, ...]


@dataclass(slots=True, kw_only=True)
class ScheduleCall:
    """Workflow code about to schedule an activity; `headers` travel with it."""

    name: str
    arguments: tuple[Any, ...]
    headers: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class ChildCall:
    """Workflow code about to start a child; `headers` travel with it."""

    name: str
    workflow_id: str
    arguments: tuple[Any, ...]
    headers: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class RunStepCall:
    """Workflow code about to begin a step; `headers` go with it to the code of the step."""

    name: str
    arguments: tuple[Any, ...]
    headers: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class MessageCall:
    """Workflow code about to signal or to cancel another workflow, or a child.

    Attributes:
        name: The signal; empty for a cancellation.
        arguments: Its value, in a tuple that is empty for a cancellation.
    """

    workflow_id: str
    run_id: str = ""
    name: str = ""
    arguments: tuple[Any, ...] = ()


@dataclass(slots=True, kw_only=True)
class EffectCall:
    """Workflow code about to make a value by a side effect, or to read what was recorded of it."""

    name: str


@dataclass(slots=True, kw_only=True)
class ActivityCall:
    """An attempt of an activity about to begin; `headers` came with it."""

    info: ActivityInfo
    arguments: tuple[Any, ...]
    headers: Mapping[str, Any]


@dataclass(slots=True, kw_only=True)
class StepCall:
    """An attempt of a step about to begin; `headers` are what `run_step` put there."""

    name: str
    workflow_id: str
    run_id: str
    attempt: int
    arguments: tuple[Any, ...]
    headers: Mapping[str, Any]


class ClientInterceptor:
    """Stands between an application and the server: nothing that a client asks passes it by."""

    async def call(self, call: ClientCall, proceed: Proceed[ClientCall]) -> Any:
        """Makes a call. What `proceed` returns is what the method of client or handle returns.

        Of a method that yields, such as `list`, that is the iterator, which asks the server as it
        is read.
        """
        return await proceed(call)


class WorkflowInterceptor:
    """Stands around workflow code, and is workflow code: the same in every replay."""

    async def execute_workflow(self, call: WorkflowCall, proceed: Proceed[WorkflowCall]) -> Any:
        """Runs the code; what it returns is the result."""
        return await proceed(call)

    async def handle_signal(self, call: SignalCall, proceed: Proceed[SignalCall]) -> Any:
        """Has a method take a signal. Signals that code waits for do not pass here."""
        return await proceed(call)

    async def handle_update(self, call: UpdateCall, proceed: Proceed[UpdateCall]) -> Any:
        """Has the code do what an update asks for; what it returns is the answer."""
        return await proceed(call)

    def check_update(self, call: UpdateCall, proceed: Callable[[UpdateCall], Any]) -> Any:
        """Has the code check an update before anything is done; it refuses by raising.

        Like the check it only looks, and is not async.
        """
        return proceed(call)

    def handle_query(self, call: QueryCall, proceed: Callable[[QueryCall], Any]) -> Any:
        """Has the code answer a query; like the query it only looks, and is not async.

        Asked for snapshots too, after every workflow task.
        """
        return proceed(call)

    async def schedule_activity(self, call: ScheduleCall, proceed: Proceed[ScheduleCall]) -> Any:
        """Schedules an activity and waits for its result."""
        return await proceed(call)

    async def start_child(self, call: ChildCall, proceed: Proceed[ChildCall]) -> Any:
        """Starts a child and waits for its result."""
        return await proceed(call)

    async def run_step(self, call: RunStepCall, proceed: Proceed[RunStepCall]) -> Any:
        """Begins a step and waits for its result; its code is `execute_step` of activities."""
        return await proceed(call)

    async def signal_workflow(self, call: MessageCall, proceed: Proceed[MessageCall]) -> Any:
        """Signals another workflow or a child, and waits until that is recorded there."""
        return await proceed(call)

    async def cancel_workflow(self, call: MessageCall, proceed: Proceed[MessageCall]) -> Any:
        """Asks another workflow to end, and waits until that is recorded there."""
        return await proceed(call)

    def side_effect(self, call: EffectCall, proceed: Callable[[EffectCall], Any]) -> Any:
        """Makes a value, or gives the recorded one; not async."""
        return proceed(call)


class ActivityInterceptor:
    """Stands around the code of activities and steps, on the loop of the worker.

    Also around what is not async, which itself runs in a thread.
    """

    async def execute_activity(self, call: ActivityCall, proceed: Proceed[ActivityCall]) -> Any:
        """Runs an attempt; what it returns is the result."""
        return await proceed(call)

    async def execute_step(self, call: StepCall, proceed: Proceed[StepCall]) -> Any:
        """Runs an attempt of a step; what it returns is the result."""
        return await proceed(call)


Interceptor: TypeAlias = ClientInterceptor | WorkflowInterceptor | ActivityInterceptor


class CarryContext(ClientInterceptor, WorkflowInterceptor, ActivityInterceptor):
    """Carries context variables from who starts a workflow to its code and all that it begins.

    `CarryContext(tenant=tenant, trace=trace_id)`: a variable that is set travels as a header of
    that name; its value must be one that JSON has. Workflow code may set it for its activities.
    """

    def __init__(self, **variables: ContextVar[Any]) -> None:
        self._variables = variables

    async def call(self, call: ClientCall, proceed: Proceed[ClientCall]) -> Any:
        """Sends the variables with a start."""
        if call.operation in STARTS:
            self._send(call.headers)
        return await proceed(call)

    async def execute_workflow(self, call: WorkflowCall, proceed: Proceed[WorkflowCall]) -> Any:
        """Sets the variables for the code, and so for all that it begins."""
        self._receive(call.headers)
        return await proceed(call)

    async def schedule_activity(self, call: ScheduleCall, proceed: Proceed[ScheduleCall]) -> Any:
        """Sends the variables with an activity."""
        self._send(call.headers)
        return await proceed(call)

    async def start_child(self, call: ChildCall, proceed: Proceed[ChildCall]) -> Any:
        """Sends the variables with a child."""
        self._send(call.headers)
        return await proceed(call)

    async def run_step(self, call: RunStepCall, proceed: Proceed[RunStepCall]) -> Any:
        """Sends the variables with a step."""
        self._send(call.headers)
        return await proceed(call)

    async def execute_activity(self, call: ActivityCall, proceed: Proceed[ActivityCall]) -> Any:
        """Sets the variables for the attempt."""
        self._receive(call.headers)
        return await proceed(call)

    async def execute_step(self, call: StepCall, proceed: Proceed[StepCall]) -> Any:
        """Sets the variables for the attempt."""
        self._receive(call.headers)
        return await proceed(call)

    def _send(self, headers: dict[str, Any]) -> None:
        for name, variable in self._variables.items():
            value = variable.get(_UNSET)
            if value is not _UNSET:
                headers.setdefault(name, value)

    def _receive(self, headers: Mapping[str, Any]) -> None:
        for name, variable in self._variables.items():
            if name in headers:
                variable.set(headers[name])


_UNSET: Final[Any] = object()


def chained(interceptors: Iterable[Any], method: str, last: Proceed[C]) -> Proceed[C]:
    """Returns `last` with the method of each interceptor around it, the first outermost."""
    proceed = last
    for interceptor in reversed(list(interceptors)):
        proceed = partial(_pass, getattr(interceptor, method), proceed)
    return proceed


def nested(
    interceptors: Iterable[Any], method: str, last: Callable[[C], Any]
) -> Callable[[C], Any]:
    """Does the same for methods that are not async."""
    proceed = last
    for interceptor in reversed(list(interceptors)):
        proceed = partial(_call, getattr(interceptor, method), proceed)
    return proceed


def of_kind(interceptors: Sequence[Any], kind: type[K]) -> tuple[K, ...]:
    """Returns those interceptors that stand in one kind of place, in order."""
    return tuple(one for one in interceptors if isinstance(one, kind))


def to_headers(values: Mapping[str, Any], converter: Converter) -> list[Header]:
    """Encodes headers. Raises PayloadError."""
    return [Header(name=name, value=converter.encode(value)) for name, value in values.items()]


def from_headers(headers: Iterable[Header], converter: Converter) -> dict[str, Any]:
    """Decodes headers as plain JSON; one that cannot be read stays the payload it is."""
    return {header.name: _decoded(header, converter) for header in headers}


def _decoded(header: Header, converter: Converter) -> Any:
    try:
        return converter.decode(header.value)
    except PayloadError:
        return header.value


def _call(
    method: Callable[[C, Callable[[C], Any]], Any], proceed: Callable[[C], Any], call: C
) -> Any:
    return method(call, proceed)


async def _pass(
    method: Callable[[C, Proceed[C]], Awaitable[Any]], proceed: Proceed[C], call: C
) -> Any:
    return await method(call, proceed)
