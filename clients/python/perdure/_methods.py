"""Owns the methods of a class-based workflow that callers reach by name.

What a kind of method means stands where it is declared: `_signal.py` for signals.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import Any, TypeVar

from perdure._definition import Signature
from perdure.converter import Converter
from perdure.v1.payload_pb2 import Payload


class Method:
    """A method that answers to a name. On the class it is this reference, on an instance a method.

    Attributes:
        name: The name that callers use; that of the method unless it was given another.
        fn: The function.
        signature: What it takes beside `self`, and gives.
    """

    name: str

    def __init__(self, fn: Callable[..., Any], name: str = "") -> None:
        self.fn = fn
        self.name = name or fn.__name__
        self.signature = Signature(fn, of_method=True)
        self.__doc__ = fn.__doc__

    def __get__(self, instance: Any, owner: type[Any] | None = None) -> Any:
        return self if instance is None else MethodType(self.fn, instance)

    def arguments(self, payload: Payload | None, converter: Converter) -> tuple[Any, ...]:
        """The arguments to call it with; no value and null are the same.

        PayloadError when the payload is not what it takes.
        """
        absent = payload is None or (not payload.encoding and payload.data in {b"", b"null"})
        return self.signature.arguments(None if absent else payload, converter)


M = TypeVar("M", bound=Method)


def methods_of(cls: type[Any], kind: type[M]) -> dict[str, M]:
    """The methods of one kind by their names, those of base classes first.

    ValueError for a name used twice.
    """
    by_attribute: dict[str, M] = {}
    for base in reversed(cls.__mro__):
        for attribute, value in vars(base).items():
            by_attribute.pop(attribute, None)
            if isinstance(value, kind):
                by_attribute[attribute] = value
    found: dict[str, M] = {}
    for method in by_attribute.values():
        if found.setdefault(method.name, method) is not method:
            raise ValueError(f"two methods of {cls.__qualname__} are named {method.name!r}")
    return found
