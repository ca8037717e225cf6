"""Owns the queue between what workflow code asks and what the history records.

It leaves to `commands.py` what a command is, and to `machine.py` when the code has blocked.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, Final

from perdure._replay.commands import Request, State, Step, describe_work
from perdure.errors import DeterminismError
from perdure.v1.command_pb2 import Command
from perdure.v1.history_pb2 import HistoryEvent

_NUMBERS: Final = (
    "activity_seq",
    "wait_seq",
    "timer_seq",
    "child_seq",
    "signal_seq",
    "cancel_seq",
    "requested_seq",
    "side_effect_seq",
    "step_seq",
    "seq",
)
_NAMES: Final = ("name", "workflow_type", "child_workflow_id", "signal_name", "workflow_id")


class Journal:
    """Commands in the order they were asked.

    First those of this activation, then issued, sent and recorded.
    """

    def __init__(self) -> None:
        self._asked: list[Request] = []
        self._issued: deque[Request] = deque()
        self._sent = 0
        self._closed = False
        self.stirred = False
        """Whether code that only looks has woken other code."""
        self.spoiled = False
        """Whether a query has changed what the code goes on with."""
        self._seqs: Counter[str] = Counter()
        self.recorded = 0
        """How many commands the history has recorded so far."""
        self._ahead = 0
        """How many commands stand in events that are known and not applied yet."""

    @property
    def head(self) -> Request | None:
        """The oldest command that is not recorded."""
        return self._issued[0] if self._issued else None

    @property
    def caught_up(self) -> bool:
        """Whether the code, before this activation, had asked for all that the history holds."""
        return len(self._issued) >= self._ahead

    def look_ahead(self, count: int) -> None:
        """Notes how many events that are to be applied record a command, or close the run."""
        self._ahead += count

    def pass_over(self) -> None:
        """Notes that one of them is applied to no command."""
        self._ahead -= 1

    @contextmanager
    def only_looking(self) -> Iterator[None]:
        """Lets code run that asks for nothing: RuntimeError if it does."""
        self._closed, self.stirred = True, False
        try:
            yield
        finally:
            self._closed = False

    @property
    def is_looking(self) -> bool:
        """Whether the code that runs only looks: nothing of the run may change."""
        return self._closed

    def ask(self, request: Request) -> None:
        """Takes a command from the code; until the code blocks it can be withdrawn."""
        self.require_open(request.describe)
        self._asked.append(request)

    def require_open(self, describe: Callable[[], str]) -> None:
        """RuntimeError while code runs that may ask for nothing."""
        if self._closed:
            raise RuntimeError(
                f"queries and checks of updates only look; this one asks: {describe()}"
            )

    def issue(self) -> None:
        """Makes final what the code asked for and did not withdraw, and numbers it."""
        for request in self._asked:
            if request.state is State.WITHDRAWN:
                continue
            if request.NUMBERED:
                self._seqs[request.KIND] += 1
                request.seq = self._seqs[request.KIND]
            request.advance(Step.ISSUE)
            self._issued.append(request)
        self._asked.clear()

    def record(self, event: HistoryEvent, kind: str, waits_at: Callable[[], str]) -> Request:
        """Matches a command event with the oldest command; DeterminismError when they differ."""
        recorded = getattr(event, kind)
        head = self.head
        if head is None or kind not in {head.EVENT, head.REFUSAL} or not head.fits(recorded):
            raise DeterminismError(
                event_seq=event.seq,
                event=describe_event(kind, recorded),
                command="" if head is None else head.describe(),
                source=(head and head.source) or waits_at(),
            )
        self._issued.popleft()
        self._sent = max(0, self._sent - 1)
        self.recorded += 1
        self._ahead -= 1
        head.advance(Step.RECORD)
        return head

    def clear(self) -> None:
        """Drops every command: the engine closed the run."""
        self._asked.clear()
        self._issued.clear()
        self._sent = 0

    def take_unsent(self) -> list[Command]:
        """The commands that nobody has sent yet; from now on they count as sent."""
        unsent = [request.to_proto() for request in islice(self._issued, self._sent, None)]
        self._sent = len(self._issued)
        return unsent


def describe_event(kind: str, recorded: Any) -> str:
    """An event in words, for example `ActivityScheduled 3 (charge)`."""
    fields = recorded.DESCRIPTOR.fields_by_name
    seq = next((getattr(recorded, f) for f in _NUMBERS if f in fields), 0)
    names = [getattr(recorded, f) for f in _NAMES if f in fields]
    return describe_work("".join(map(str.title, kind.split("_"))), seq, " ".join(names))
