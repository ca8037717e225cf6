"""Owns the mailbox: signals in the order they arrived, kept until the code takes them."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from typing import Any, NamedTuple

from perdure.v1.history_pb2 import UnhandledSignal
from perdure.v1.payload_pb2 import Payload


class Letter(NamedTuple):
    """A signal as recorded: the event that brought it and its value, None when none was sent."""

    event_seq: int
    payload: Payload | None


class Mailbox:
    """Signals by name. A letter goes to who waits longest.

    One that is not taken in the end was not consumed.
    """

    def __init__(self) -> None:
        self._letters: defaultdict[str, deque[Letter]] = defaultdict(deque)
        self._waiters: defaultdict[str, deque[asyncio.Future[Any]]] = defaultdict(deque)
        self._untaken: dict[int, str] = {}
        """The names of the signals that the code has not taken, by event."""

    def deliver(self, name: str, letter: Letter) -> None:
        """Takes a letter in."""
        self.hold(name, letter)
        self._letters[name].append(letter)
        self._hand_out(name)

    def hold(self, name: str, letter: Letter) -> None:
        """Counts a letter as not taken, which somebody else brings to the code."""
        self._untaken[letter.event_seq] = name

    def take(self, name: str) -> Letter | None:
        """The next letter that nobody waits for, if there is one."""
        letters = self._letters[name]
        if not letters:
            return None
        letter = letters.popleft()
        self.accept(letter)
        return letter

    def accept(self, letter: Letter) -> None:
        """Notes that the code has the letter."""
        del self._untaken[letter.event_seq]

    def wait(self, name: str, waiter: asyncio.Future[Any]) -> None:
        """Puts a waiter, whose result will be a letter, at the end of the line."""
        self._waiters[name].append(waiter)

    def leave(self, name: str, waiter: asyncio.Future[Any]) -> None:
        """Takes out a waiter that gave up.

        It has no letter: who gets one runs next, before anything can make it give up.
        """
        self._waiters[name].remove(waiter)

    def unconsumed(self) -> list[UnhandledSignal]:
        """The signals that the code has not taken."""
        return [
            UnhandledSignal(event_seq=seq, signal_name=name) for seq, name in self._untaken.items()
        ]

    def _hand_out(self, name: str) -> None:
        letters, waiters = self._letters[name], self._waiters[name]
        while letters and waiters:
            waiter = waiters.popleft()
            # One that was cancelled as the run ended is still in line.
            if not waiter.done():
                waiter.set_result(letters.popleft())
