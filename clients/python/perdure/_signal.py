"""Owns typed references to signals, and the methods of class-based workflows that take them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Generic, NoReturn, Self, TypeVar, overload

from perdure._methods import Method
from perdure._replay.run import Run
from perdure._replay.signals import Letter
from perdure._replay.source import caller_line
from perdure._runtime import current_run, micros

T = TypeVar("T")


class Signal(Generic[T]):
    """A signal by name, and the type of its value.

    Signals are taken in the order they arrived; one that came before the wait is kept. A signal
    without a value, or with null, reads as None.
    """

    __slots__ = ("name", "type")

    def __init__(self, name: str, type: Any = Any) -> None:  # noqa: A002
        if not name:
            raise ValueError("a signal needs a name")
        self.name = name
        self.type = type

    async def wait(self, *, timeout: timedelta | float | None = None) -> T:
        """Takes the next signal, waiting for it; a number is seconds.

        TimeoutError when none came in time.
        """
        run = current_run(f"signal {self.name!r} can be awaited in a workflow only")
        timeout_us = None if timeout is None else micros(timeout)
        letter = await run.wait_for_signal(self.name, timeout_us, caller_line(2))
        return self._read(run, letter)

    def receive_nowait(self) -> T:
        """Takes a signal that is there already; LookupError when there is none."""
        run = current_run(f"signal {self.name!r} can be received in a workflow only")
        run.journal.require_open(lambda: f"to take the signal {self.name!r}")
        letter = run.mailbox.take(self.name)
        if letter is None:
            raise LookupError(f"no signal {self.name!r} has arrived")
        return self._read(run, letter)

    def __repr__(self) -> str:
        return f"<signal {self.name!r}>"

    def _read(self, run: Run, letter: Letter) -> T:
        if letter.payload is None or letter.payload.data in {b"", b"null"}:
            # A signal may always come without a value, whatever its type.
            return None  # type: ignore[return-value]
        value: T = run.converter.decode(letter.payload, self.type)
        return value


class SignalMethod(Method, Signal[T]):
    """A method that takes the signals of a name: `await handle.signal(Order.approve, approval)`.

    It may be async; the methods begin in the order in which the signals arrived, where the history
    has them. An exception that leaves one fails the workflow. A value that it cannot take is
    logged, and the signal counts as not handled.
    """

    def __init__(self, fn: Callable[..., Any], name: str = "") -> None:
        Signal.__init__(self, name or fn.__name__)
        Method.__init__(self, fn, name)

    @overload
    def __get__(self, instance: None, owner: Any = None) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: Any = None) -> Callable[..., Any]: ...
    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return Method.__get__(self, instance, owner)

    async def wait(self, *, timeout: timedelta | float | None = None) -> NoReturn:  # noqa: ARG002
        """Raises RuntimeError: the method takes the signals, the code does not wait for them."""
        self.receive_nowait()

    def receive_nowait(self) -> NoReturn:
        """Raises RuntimeError, as `wait` does."""
        raise RuntimeError(
            f"the method {self.fn.__qualname__} takes the signals {self.name!r}: wait for what it "
            "does with workflow.wait_condition()"
        )


class SignalDecorator:
    """What `@signal(name=...)` gives."""

    def __init__(self, name: str) -> None:
        self._name = name

    @overload
    def __call__(self, method: Callable[[Any], Any], /) -> SignalMethod[None]: ...
    @overload
    def __call__(self, method: Callable[[Any, T], Any], /) -> SignalMethod[T]: ...
    def __call__(self, method: Any, /) -> SignalMethod[Any]:
        """Makes a method of a class-based workflow the one that takes the signal."""
        return SignalMethod(method, self._name)


@overload
def signal(name: str, type: type[T], /) -> Signal[T]: ...
@overload
def signal(name: str, type: Any = ..., /) -> Signal[Any]: ...
@overload
def signal(method: Callable[[Any], Any], /) -> SignalMethod[None]: ...
@overload
def signal(method: Callable[[Any, T], Any], /) -> SignalMethod[T]: ...
@overload
def signal(*, name: str) -> SignalDecorator: ...
def signal(what: Any = None, type: Any = Any, /, *, name: str = "") -> Any:  # noqa: A002
    """Makes a reference to the signal of a name whose value is a `type`; any JSON value without.

    On a method of a class-based workflow it makes that method take the signal: `@signal`, or
    `@signal(name="...")` for another name than the method's.
    """
    if what is None:
        return SignalDecorator(name)
    return SignalMethod(what) if callable(what) else Signal(what, type)
