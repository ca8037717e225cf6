"""Owns typed references to signals."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Generic, TypeVar, overload

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


@overload
def signal(name: str, type: type[T], /) -> Signal[T]: ...
@overload
def signal(name: str, type: Any = ..., /) -> Signal[Any]: ...
def signal(name: str, type: Any = Any, /) -> Signal[Any]:  # noqa: A002
    """Makes a reference to the signal `name` whose value is a `type`.

    Any JSON value without one.
    """
    return Signal(name, type)
