"""Owns what a decorated function takes and gives, and the table of names that a worker serves.

Leaves to `_workflow.py` and `_activity.py` what calling such a function means.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Iterable
from functools import cached_property
from typing import Any, Protocol, TypeVar, get_type_hints

from perdure._inject import Injected
from perdure.converter import Converter
from perdure.errors import PayloadError
from perdure.v1.payload_pb2 import Payload


class Definition(Protocol):
    """A decorated function."""

    @property
    def name(self) -> str:
        """The type under which workers and histories know it."""


D = TypeVar("D", bound=Definition)
R_co = TypeVar("R_co", covariant=True)
V_contra = TypeVar("V_contra", contravariant=True)


class RunsAlone(Protocol[R_co]):
    """A class-based workflow without input."""

    def run(self) -> Coroutine[Any, Any, R_co]:
        """Is the code."""
        ...


class Runs(Protocol[V_contra, R_co]):
    """A class-based workflow of one value."""

    def run(self, value: V_contra, /) -> Coroutine[Any, Any, R_co]:
        """Is the code."""
        ...


class HasRun(Protocol[R_co]):
    """A class-based workflow, whatever it takes."""

    @property
    def run(self) -> Callable[..., Coroutine[Any, Any, R_co]]:
        """Is the code."""
        ...


class Signature:
    """The one value a function takes, if any, and what it gives.

    Raises TypeError for any other shape.
    """

    def __init__(self, fn: Callable[..., Any], *, of_method: bool = False) -> None:
        parameters = list(inspect.signature(fn).parameters.values())[of_method:]
        self.needs = {
            p.name: p.default.name or p.name for p in parameters if isinstance(p.default, Injected)
        }
        """What the worker adds to a call: by parameter, its name in the lifespan's state."""
        parameters = [p for p in parameters if p.name not in self.needs]
        required = [p for p in parameters if p.default is p.empty and p.kind not in _STARS]
        if len(required) > 1 or any(
            p.kind in _STARS or p.kind is p.KEYWORD_ONLY for p in parameters
        ):
            raise TypeError(
                f"{fn.__qualname__} must take one value or none; put several into a dataclass"
            )
        self._fn = fn
        self._parameter = parameters[0] if parameters else None

    @property
    def takes_value(self) -> bool:
        """Whether it takes a value."""
        return self._parameter is not None

    @property
    def needs_value(self) -> bool:
        """Whether it cannot be called without one."""
        return self._parameter is not None and self._parameter.default is self._parameter.empty

    @cached_property
    def input_type(self) -> Any:
        """The type of the value it takes; Any when it says nothing or takes none."""
        return Any if self._parameter is None else self._hints.get(self._parameter.name, Any)

    @cached_property
    def result_type(self) -> Any:
        """The type of what it gives; Any when it says nothing."""
        return self._hints.get("return", Any)

    def value_of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """The value of a call, in a tuple that is empty when there is none.

        TypeError for more than one.
        """
        values = (*args, *kwargs.values())
        known = () if self._parameter is None else (self._parameter.name,)
        if len(values) > 1 or not set(kwargs).issubset(known) or (values and not known):
            raise TypeError(
                f"{self._fn.__qualname__} takes {known[0] if known else 'no value'}; "
                f"got {len(values)} value(s): put several into a dataclass"
            )
        return values

    def arguments(self, payload: Payload | None, converter: Converter) -> tuple[Any, ...]:
        """The arguments to call the function with.

        PayloadError when the payload is not what it takes.
        """
        if self._parameter is None:
            if payload is not None and payload.data not in {b"", b"null"}:
                raise PayloadError(f"{self._fn.__qualname__} takes no value, but one was sent")
            return ()
        if payload is None and self._parameter.default is not inspect.Parameter.empty:
            return ()
        return (converter.decode(payload, self.input_type),)

    @cached_property
    def _hints(self) -> dict[str, Any]:
        hints = get_type_hints(self._fn)
        return {name: None if hint is type(None) else hint for name, hint in hints.items()}


_ATTRIBUTE = "__perdure_definition__"
_STARS = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}


def attach(cls: type[Any], definition: Definition) -> None:
    """Makes a class one that is decorated: `definition_of` finds its definition."""
    setattr(cls, _ATTRIBUTE, definition)


def definition_of(decorated: Any) -> Any:
    """The definition behind a decorated class; anything else is returned as it is.

    A subclass is not decorated by what its base is.
    """
    return vars(decorated).get(_ATTRIBUTE, decorated) if isinstance(decorated, type) else decorated


def registry(definitions: Iterable[Any], kind: type[D]) -> dict[str, D]:
    """The definitions by name.

    TypeError for what is not decorated, ValueError for a name used twice.
    """
    found: dict[str, D] = {}
    for definition in map(definition_of, definitions):
        if not isinstance(definition, kind):
            raise TypeError(f"{definition!r} is not decorated with @{kind.__name__.lower()}")
        if found.setdefault(definition.name, definition) is not definition:
            raise ValueError(f"two definitions are named {definition.name!r}")
    return found
