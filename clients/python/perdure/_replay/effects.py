"""Owns side effects: values that the code makes by itself, and the changes it says to have.

A side effect returns at once. Its value is found by its number among the records of the history,
also of those that are still to be applied; without a record it is made, and recorded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from inspect import iscoroutine
from typing import TYPE_CHECKING, Any, Final

from perdure._replay.commands import NOTE, Request, describe_work
from perdure.v1.command_pb2 import Command, RecordSideEffect
from perdure.v1.history_pb2 import HistoryEvent, SideEffectRecorded
from perdure.v1.payload_pb2 import Payload

if TYPE_CHECKING:
    from perdure._replay.run import Run

_PATCH: Final = "patch:"
_MADE: Final = b"true"
_DEPRECATED: Final = b'"deprecated"'


class SideEffectRequest(Request):
    """RecordSideEffect. Its number is taken when it is asked for, and it is never withdrawn."""

    __slots__ = ("name", "value")

    KIND = "record_side_effect"
    EVENT = "side_effect_recorded"
    TABLE = NOTE
    NUMBERED = False

    def __init__(self, seq: int, name: str, value: Payload | None, source: str) -> None:
        super().__init__(source)
        self.seq = seq
        self.name = name
        self.value = value

    def describe(self) -> str:
        return describe_work("RecordSideEffect", self.seq, self.name)

    def fits(self, recorded: Any) -> bool:
        return (recorded.side_effect_seq, recorded.name) == (self.seq, self.name)

    def to_proto(self) -> Command:
        effect = RecordSideEffect(seq=self.seq, name=self.name, value=self.value)
        return Command(record_side_effect=effect, source=self.source)


class Effects:
    """The side effects of one run, by number."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._recorded: dict[int, SideEffectRecorded] = {}
        self._patches: dict[str, bool] = {}
        self._made = 0

    def look_ahead(self, events: Iterable[HistoryEvent]) -> None:
        """Notes what the history holds, before any of these events is applied."""
        for event in events:
            if event.HasField("side_effect_recorded"):
                recorded = event.side_effect_recorded
                self._recorded[recorded.side_effect_seq] = recorded

    def make(self, fn: Callable[[], Any], name: str, source: str) -> Payload | None:
        """Returns the recorded value, or that of `fn`, which is recorded then.

        TypeError when `fn` is async; what it raises is raised and not recorded.
        """
        self._require_open(name)
        seq = self._next(name)
        recorded = self._recorded.get(seq)
        if recorded is None:
            value: Payload | None = self._run.converter.encode(_outside(fn))
        else:
            value = recorded.value if recorded.HasField("value") else None
        self._ask(seq, name, value, source)
        return value

    def patched(self, patch: str, source: str, *, deprecated: bool = False) -> bool:
        """Whether the run has a change: it is recorded, or the code comes here for the first time.

        So it does also at a signal that came while a worker had the code: that one stands before
        the commands of the code, which all are asked for by then. The first answer is that of the
        whole run.
        """
        if patch in self._patches:
            return self._patches[patch]
        name = _PATCH + patch
        self._require_open(name)
        known = any(recorded.name == name for recorded in self._recorded.values())
        run = self._run
        is_new = not run.replaying or (run.journal.caught_up and run.steps.caught_up)
        answer = self._patches[patch] = known or is_new
        if answer:
            value = Payload(data=_DEPRECATED if deprecated else _MADE)
            self._ask(self._next(name), name, value, source)
        return answer

    def is_passed_over(self, recorded: SideEffectRecorded, head: Request | None) -> bool:
        """Whether a record is of a deprecated change, and the code no longer speaks of it."""
        asked = isinstance(head, SideEffectRequest) and head.fits(recorded)
        return _is_deprecated(recorded) and not asked

    def _require_open(self, name: str) -> None:
        # Before anything is noted: what is refused later would leave a trace.
        self._run.journal.require_open(lambda: f"RecordSideEffect ({name})")

    def _next(self, name: str) -> int:
        seq = self._made + 1
        while (recorded := self._recorded.get(seq)) and recorded.name != name:
            if not _is_deprecated(recorded):
                break
            seq += 1
        return seq

    def _ask(self, seq: int, name: str, value: Payload | None, source: str) -> None:
        self._made = seq
        self._run.journal.ask(SideEffectRequest(seq, name, value, source))


def _is_deprecated(recorded: SideEffectRecorded) -> bool:
    return recorded.name.startswith(_PATCH) and recorded.value.data == _DEPRECATED


def _outside(fn: Callable[[], Any]) -> Any:
    """Calls a function as if no workflow were running: it may do what workflow code must not."""
    loop = asyncio._get_running_loop()  # noqa: SLF001 -- there is no public way to leave a loop
    asyncio._set_running_loop(None)  # noqa: SLF001
    try:
        value = fn()
    finally:
        asyncio._set_running_loop(loop)  # noqa: SLF001
    if iscoroutine(value):
        value.close()
        raise TypeError("a side effect is a plain function; do what takes time in an activity")
    return value
