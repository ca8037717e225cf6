"""Owns local steps: functions that the code's own worker runs beside the code.

A step is no command: it is recorded when it has ended, and the code goes on where that record
stands in the history, as after any other event. It is known by its number: steps count in the order
in which the code begins them. One without a record at the end of the history is run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from perdure._failures import step_error
from perdure._replay.commands import Machinery, State, Step, Table, describe_work
from perdure._replay.journal import describe_event
from perdure.errors import DeterminismError
from perdure.v1.retry_policy_pb2 import RetryPolicy

if TYPE_CHECKING:
    from perdure._replay.run import Run
    from perdure.v1.history_pb2 import HistoryEvent

STEP: Final[Table] = {
    (State.CREATED, Step.CANCEL): State.WITHDRAWN,
    (State.CREATED, Step.ISSUE): State.ISSUED,
    (State.ISSUED, Step.CANCEL): State.DROPPED,
    (State.ISSUED, Step.RESOLVE): State.RESOLVED,
    (State.DROPPED, Step.RESOLVE): State.RESOLVED,
    (State.RESOLVED, Step.CANCEL): State.RESOLVED,
}
"""Steps. The code drops one by cancelling the wait for it.

Its end is recorded all the same and is not told to the code.
"""


class LocalStep(Machinery):
    """A step that the code has begun: `code` is what to run, `future` receives the record.

    `headers` are what interceptors around the code say to those around the step; both are in the
    same process.
    """

    __slots__ = ("code", "future", "headers", "name", "retry")

    TABLE = STEP

    def __init__(self, name: str, code: partial[Any], source: str) -> None:
        super().__init__(source)
        self.name = name
        self.code = code
        self.headers: dict[str, Any] = {}
        self.retry: RetryPolicy | None = None
        self.future: asyncio.Future[Any]

    def describe(self) -> str:
        return describe_work("Step", self.seq, self.name)


class Steps:
    """The steps of one run."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._asked: list[LocalStep] = []
        self._open: dict[int, LocalStep] = {}
        self._begun = 0
        self._taken = 0
        self._ahead = 0
        """How many records stand in events that are known and not applied yet."""
        self.recorded = 0
        """How many the history holds so far."""

    @property
    def caught_up(self) -> bool:
        """Whether the code, before this activation, had begun all that the history holds."""
        return len(self._open) >= self._ahead

    def look_ahead(self, events: Iterable[HistoryEvent]) -> None:
        """Notes what the history holds, before any of these events is applied."""
        self._ahead += sum(event.HasField("step_completed") for event in events)

    async def call(self, step: LocalStep, result_type: Any) -> Any:
        """Begins a step and waits for its end: the result; raises StepError or PayloadError."""
        run = self._run
        run.journal.require_open(step.describe)
        self._asked.append(step)
        step.future = run.loop.create_future()
        try:
            end = await step.future
        except asyncio.CancelledError:
            step.advance(Step.CANCEL)
            raise
        if end.HasField("failure"):
            raise step_error(end.failure, run.converter, step=step.name, attempt=end.attempt)
        result = end.result if end.HasField("result") else None
        return run.converter.decode(result, result_type)

    def issue(self) -> None:
        """Numbers what the code began and did not withdraw."""
        for step in self._asked:
            if step.state is State.WITHDRAWN:
                continue
            self._begun += 1
            step.seq = self._begun
            step.advance(Step.ISSUE)
            self._open[step.seq] = step
        self._asked.clear()

    def end(self, event: HistoryEvent, waits_at: Callable[[], str]) -> None:
        """Ends a step by its record; DeterminismError when the code has not begun it."""
        recorded = event.step_completed
        self._ahead -= 1
        step = self._open.pop(recorded.step_seq, None)
        if step is None or step.name != recorded.name:
            raise DeterminismError(
                event_seq=event.seq,
                event=describe_event("step_completed", recorded),
                command="" if step is None else step.describe(),
                source=(step and step.source) or waits_at(),
            )
        self.recorded += 1
        told = step.state is State.ISSUED
        step.advance(Step.RESOLVE)
        if told:
            step.future.set_result(recorded)

    def take_new(self) -> list[LocalStep]:
        """The steps that wait to be run and that nobody has taken yet."""
        new = [
            step
            for seq, step in self._open.items()
            if seq > self._taken and step.state is State.ISSUED
        ]
        self._taken = self._begun
        return new

    def clear(self) -> None:
        """Drops every step: the run has ended."""
        self._asked.clear()
        self._open.clear()
