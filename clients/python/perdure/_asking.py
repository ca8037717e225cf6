"""Owns the methods of a class-based workflow that callers ask: queries and updates."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from enum import Enum
from typing import Any, Generic, Self, TypeVar, overload

import msgspec

from perdure._definition import Signature
from perdure._methods import Method
from perdure.converter import Converter
from perdure.errors import SnapshotNotFoundError
from perdure.v1.payload_pb2 import Payload

T = TypeVar("T")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])


class QueryMode(Enum):
    """Who answers a query.

    Attributes:
        LIVE: A worker asks the code, which has seen everything that was recorded before the call.
        SNAPSHOT: The server reads what the code said after its last workflow task; no worker is
            needed.
    """

    LIVE = "live"
    SNAPSHOT = "snapshot"


class QueryMethod(Method, Generic[T, R]):
    """A method that tells something of the run: `await handle.query(Order.total)`.

    It takes one value or none, is not async, and only looks. One that needs no value is asked after
    every workflow task too, and what it says is kept with what that task did: so there is an answer
    without a worker as well, with `QueryMode.SNAPSHOT`. There, one that raises is left out, and
    logged once for each kind of error.
    """

    def __init__(self, fn: Callable[..., R], name: str = "") -> None:
        super().__init__(fn, name)
        if inspect.iscoroutinefunction(fn):
            raise TypeError(f"the query {fn.__qualname__} is async; a query only looks")

    @property
    def needs_value(self) -> bool:
        """Whether it cannot be asked without a value."""
        return self.signature.needs_value

    @overload
    def __get__(self, instance: None, owner: Any = None) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: Any = None) -> Callable[..., R]: ...
    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return super().__get__(instance, owner)


class UpdateMethod(Method, Generic[T, R]):
    """A method that does what callers ask for and answers: `await handle.update(Order.add, item)`.

    It may be async. What it returns is the answer; an exception that leaves it, or its check, is
    told to the caller and does not fail the workflow.
    """

    def __init__(self, fn: Callable[..., Any], name: str = "") -> None:
        super().__init__(fn, name)
        self.check: Callable[..., Any] | None = None

    def validator(self, fn: F) -> F:
        """Makes a method check the value before the update does anything; it refuses by raising.

        It only looks, and is not async.
        """
        self.check = fn
        return fn

    @overload
    def __get__(self, instance: None, owner: Any = None) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: Any = None) -> Callable[..., R]: ...
    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return super().__get__(instance, owner)


class UpdateFunction:
    """A function that takes updates, which the code of a run has named."""

    def __init__(self, fn: Callable[..., Any], check: Callable[..., Any] | None) -> None:
        self.fn = fn
        self.check = check
        self._signature = Signature(fn)

    def arguments(self, payload: Payload | None, converter: Converter) -> tuple[Any, ...]:
        """The arguments to call it with. Raises PayloadError."""
        return self._signature.arguments(payload, converter)


class QueryFunction:
    """A function that answers queries, which the code of a run has named."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        self.fn = fn
        self._signature = Signature(fn)

    @property
    def needs_value(self) -> bool:
        """Whether it cannot be asked without a value."""
        return self._signature.needs_value

    def arguments(self, payload: Payload | None, converter: Converter) -> tuple[Any, ...]:
        """The arguments to call it with. Raises PayloadError."""
        return self._signature.arguments(payload, converter)


def result_type_of(reference: Any) -> Any:
    """The type of what a query or update gives; Any for one that is known by its name only."""
    return Any if isinstance(reference, str) else reference.signature.result_type


def picked(state: Payload, name: str) -> Payload:
    """The value of one query in a snapshot. Raises SnapshotNotFoundError."""
    try:
        value = msgspec.json.decode(state.data, type=dict[str, msgspec.Raw])[name]
    except (KeyError, ValueError):
        raise SnapshotNotFoundError(
            f"the snapshot has no key {name!r}", reason=SnapshotNotFoundError.REASON
        ) from None
    return Payload(data=bytes(value))


class QueryDecorator:
    """What `@query(name=...)` gives."""

    def __init__(self, name: str) -> None:
        self._name = name

    @overload
    def __call__(self, method: Callable[[Any], R], /) -> QueryMethod[None, R]: ...
    @overload
    def __call__(self, method: Callable[[Any, T], R], /) -> QueryMethod[T, R]: ...
    def __call__(self, method: Any, /) -> Any:
        """Makes a method the one that answers the query."""
        return QueryMethod(method, self._name)


class UpdateDecorator:
    """What `@update(name=...)` gives."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, method: Callable[..., Any], /) -> UpdateMethod[Any, Any]:
        """Makes a method the one that takes the update."""
        return UpdateMethod(method, self._name)


@overload
def query(method: Callable[[Any], R], /) -> QueryMethod[None, R]: ...
@overload
def query(method: Callable[[Any, T], R], /) -> QueryMethod[T, R]: ...
@overload
def query(*, name: str) -> QueryDecorator: ...
def query(method: Any = None, /, *, name: str = "") -> Any:
    """Makes a method of a class-based workflow answer a query: `@query`, `@query(name="...")`."""
    return QueryDecorator(name) if method is None else QueryMethod(method)


@overload
def update(method: Callable[[Any], R], /) -> UpdateMethod[None, R]: ...
@overload
def update(method: Callable[[Any, T], R], /) -> UpdateMethod[T, R]: ...
@overload
def update(*, name: str) -> UpdateDecorator: ...
def update(method: Any = None, /, *, name: str = "") -> Any:
    """Makes a method of a class-based workflow take an update: `@update`, `@update(name="...")`."""
    return UpdateDecorator(name) if method is None else UpdateMethod(method)
