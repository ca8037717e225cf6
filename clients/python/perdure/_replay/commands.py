"""Owns what workflow code can ask for: one class and one automaton per kind of command.

An automaton is a table `(state, step) -> state`. A step that has no row cannot happen unless the
history is damaged. The queue that the commands wait in is `journal.py`.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, ClassVar, Final, TypeAlias

from google.protobuf.duration_pb2 import Duration

from perdure.errors import HistoryError
from perdure.v1.activity_pb2 import ActivityOptions
from perdure.v1.command_pb2 import (
    CancelActivity,
    CancelTimer,
    CancelWorkflow,
    Command,
    CompleteWorkflow,
    ContinueAsNew,
    FailWorkflow,
    ScheduleActivity,
    ScheduleTimer,
    WaitForSignal,
)
from perdure.v1.failure_pb2 import Failure
from perdure.v1.history_pb2 import UnhandledSignal
from perdure.v1.payload_pb2 import Header, Payload


class State(StrEnum):
    """Where a command stands."""

    CREATED = "created"
    WITHDRAWN = "withdrawn"
    ISSUED = "issued"
    DROPPED = "dropped"
    RECORDED = "recorded"
    CANCELLING = "cancelling"
    RESOLVED = "resolved"


class Step(StrEnum):
    """What happens to a command."""

    ISSUE = "issue"
    RECORD = "record"
    CANCEL = "cancel"
    RESOLVE = "resolve"


Table: TypeAlias = Mapping[tuple[State, Step], State]

WORK: Final[Table] = {
    (State.CREATED, Step.CANCEL): State.WITHDRAWN,
    (State.CREATED, Step.ISSUE): State.ISSUED,
    (State.ISSUED, Step.CANCEL): State.DROPPED,
    (State.ISSUED, Step.RECORD): State.RECORDED,
    (State.DROPPED, Step.RECORD): State.CANCELLING,
    (State.RECORDED, Step.CANCEL): State.CANCELLING,
    (State.RECORDED, Step.RESOLVE): State.RESOLVED,
    (State.CANCELLING, Step.RESOLVE): State.RESOLVED,
    (State.RESOLVED, Step.CANCEL): State.RESOLVED,
}
"""Activities and timers. The code drops one by cancelling it.

Its end may still come and is not told to the code.
"""

WAIT: Final[Table] = {
    (State.CREATED, Step.CANCEL): State.WITHDRAWN,
    (State.CREATED, Step.ISSUE): State.ISSUED,
    (State.ISSUED, Step.CANCEL): State.DROPPED,
    (State.ISSUED, Step.RECORD): State.RECORDED,
    (State.DROPPED, Step.RECORD): State.CANCELLING,
    (State.RECORDED, Step.CANCEL): State.CANCELLING,
}
"""Waits for a signal. Nothing resolves one by number: the signal goes to the mailbox."""

NOTE: Final[Table] = {
    (State.CREATED, Step.ISSUE): State.ISSUED,
    (State.ISSUED, Step.RECORD): State.RECORDED,
}
"""Cancellations and the closing command, which are never undone."""


class Machinery(ABC):
    """Something that workflow code asked for, by its table; `source` is the line that asked."""

    __slots__ = ("seq", "source", "state")

    TABLE: ClassVar[Table]

    def __init__(self, source: str) -> None:
        self.state: State = State.CREATED
        self.seq = 0
        self.source = source

    def advance(self, step: Step) -> None:
        """Takes a step; HistoryError when the step has no row."""
        state = self.TABLE.get((self.state, step))
        if state is None:
            raise HistoryError(
                f"the history is damaged: {self.describe()} is {self.state}, not to {step}"
            )
        self.state = state

    @abstractmethod
    def describe(self) -> str:
        """What was asked for in words."""


class Request(Machinery):
    """Something that workflow code asked for by a command."""

    __slots__ = ()

    KIND: ClassVar[str]
    """The field of `Command`."""
    EVENT: ClassVar[str]
    """The field of `HistoryEvent` that records it."""
    REFUSAL: ClassVar[str] = ""
    """The field that records instead that it could not be done, if there is one."""
    NUMBERED: ClassVar[bool] = True
    """Whether it takes a number of its own kind when it is issued."""

    @abstractmethod
    def fits(self, recorded: Any) -> bool:
        """Tells whether an event of the right kind records this command."""

    @abstractmethod
    def to_proto(self) -> Command:
        """Makes the message."""


class ActivityRequest(Request):
    """ScheduleActivity; `future` receives the recorded end."""

    __slots__ = ("future", "headers", "name", "options", "priority", "task_queue", "value")

    KIND = "schedule_activity"
    EVENT = "activity_scheduled"
    TABLE = WORK

    def __init__(self, name: str, value: Payload | None, source: str) -> None:
        super().__init__(source)
        self.name = name
        self.value = value
        self.task_queue: str | None = None
        self.options: ActivityOptions | None = None
        self.priority: int | None = None
        self.headers: Sequence[Header] = ()
        self.future: asyncio.Future[Any]

    def describe(self) -> str:
        return describe_work("ScheduleActivity", self.seq, self.name)

    def fits(self, recorded: Any) -> bool:
        return (recorded.activity_seq, recorded.name) == (self.seq, self.name)

    def to_proto(self) -> Command:
        return Command(
            schedule_activity=ScheduleActivity(
                seq=self.seq,
                name=self.name,
                task_queue=self.task_queue,
                input=self.value,
                options=self.options,
                priority=self.priority,
                headers=self.headers,
            ),
            source=self.source,
        )


class TimerRequest(Request):
    """ScheduleTimer; `handle` is what the loop runs when it fires, until it cannot any more.

    The two hold each other: a pair that is done with must not wait for the garbage collector.
    """

    __slots__ = ("delay_us", "handle")

    KIND = "schedule_timer"
    EVENT = "timer_scheduled"
    TABLE = WORK

    def __init__(self, delay_us: int, source: str) -> None:
        super().__init__(source)
        self.delay_us = delay_us
        self.handle: asyncio.TimerHandle | None = None

    def describe(self) -> str:
        return describe_work("ScheduleTimer", self.seq, f"{self.delay_us / 1e6:g} s")

    def fits(self, recorded: Any) -> bool:
        return bool(recorded.timer_seq == self.seq)

    def to_proto(self) -> Command:
        seconds, micros = divmod(self.delay_us, 1_000_000)
        duration = Duration(seconds=seconds, nanos=micros * 1000)
        return Command(
            schedule_timer=ScheduleTimer(seq=self.seq, duration=duration), source=self.source
        )


class WaitRequest(Request):
    """WaitForSignal; `timer` bounds the wait."""

    __slots__ = ("signal_name", "timer")

    KIND = "wait_for_signal"
    EVENT = "workflow_awaiting_signal"
    TABLE = WAIT

    def __init__(self, signal_name: str, timer: TimerRequest | None, source: str) -> None:
        super().__init__(source)
        self.signal_name = signal_name
        self.timer = timer

    def describe(self) -> str:
        return describe_work("WaitForSignal", self.seq, self.signal_name)

    def fits(self, recorded: Any) -> bool:
        return (recorded.wait_seq, recorded.signal_name) == (self.seq, self.signal_name)

    def to_proto(self) -> Command:
        timer_seq = 0 if self.timer is None else self.timer.seq
        wait = WaitForSignal(seq=self.seq, signal_name=self.signal_name, timer_seq=timer_seq)
        return Command(wait_for_signal=wait, source=self.source)


class CancelActivityRequest(Request):
    """CancelActivity for an activity that was issued."""

    __slots__ = ("activity",)

    KIND = "cancel_activity"
    EVENT = "activity_cancel_requested"
    TABLE = NOTE
    NUMBERED = False

    def __init__(self, activity: ActivityRequest, source: str) -> None:
        super().__init__(source)
        self.activity = activity
        self.seq = activity.seq

    def describe(self) -> str:
        return describe_work("CancelActivity", self.seq, self.activity.name)

    def fits(self, recorded: Any) -> bool:
        return bool(recorded.activity_seq == self.seq)

    def to_proto(self) -> Command:
        return Command(cancel_activity=CancelActivity(seq=self.seq), source=self.source)


class CancelTimerRequest(Request):
    """CancelTimer for a timer that was issued."""

    __slots__ = ()

    KIND = "cancel_timer"
    EVENT = "timer_cancelled"
    TABLE = NOTE
    NUMBERED = False

    def __init__(self, timer: TimerRequest, source: str) -> None:
        super().__init__(source)
        self.seq = timer.seq

    def describe(self) -> str:
        return describe_work("CancelTimer", self.seq)

    def fits(self, recorded: Any) -> bool:
        return bool(recorded.timer_seq == self.seq)

    def to_proto(self) -> Command:
        return Command(cancel_timer=CancelTimer(seq=self.seq), source=self.source)


class CloseRequest(Request):
    """A command that closes the run; nothing is asked after it.

    `unconsumed` gives the signals that the code has not taken when the command is sent.
    """

    __slots__ = ("unconsumed",)

    TABLE = NOTE
    NUMBERED = False

    def __init__(self, source: str) -> None:
        super().__init__(source)
        self.unconsumed: Callable[[], list[UnhandledSignal]]

    def fits(self, recorded: Any) -> bool:  # noqa: ARG002
        # A result is not compared: values may change as long as the steps do not.
        return True


class CompleteRequest(CloseRequest):
    """CompleteWorkflow."""

    __slots__ = ("result",)

    KIND = "complete_workflow"
    EVENT = "workflow_completed"

    def __init__(self, result: Payload, source: str) -> None:
        super().__init__(source)
        self.result = result

    def describe(self) -> str:
        return "CompleteWorkflow"

    def to_proto(self) -> Command:
        complete = CompleteWorkflow(result=self.result, unconsumed_signals=self.unconsumed())
        return Command(complete_workflow=complete, source=self.source)


class FailRequest(CloseRequest):
    """FailWorkflow."""

    __slots__ = ("failure",)

    KIND = "fail_workflow"
    EVENT = "workflow_failed"

    def __init__(self, failure: Failure, source: str) -> None:
        super().__init__(source)
        self.failure = failure

    def describe(self) -> str:
        return f"FailWorkflow ({self.failure.type}: {self.failure.message[:100]})"

    def to_proto(self) -> Command:
        fail = FailWorkflow(failure=self.failure, unconsumed_signals=self.unconsumed())
        return Command(fail_workflow=fail, source=self.source)


class CancelRequest(CloseRequest):
    """CancelWorkflow."""

    __slots__ = ()

    KIND = "cancel_workflow"
    EVENT = "workflow_cancelled"

    def describe(self) -> str:
        return "CancelWorkflow"

    def to_proto(self) -> Command:
        cancel = CancelWorkflow(unconsumed_signals=self.unconsumed())
        return Command(cancel_workflow=cancel, source=self.source)


class ContinueRequest(CloseRequest):
    """ContinueAsNew."""

    __slots__ = ("task_queue", "value", "workflow_type")

    KIND = "continue_as_new"
    EVENT = "workflow_continued_as_new"

    def __init__(
        self, value: Payload | None, source: str, *, workflow_type: str = "", task_queue: str = ""
    ) -> None:
        super().__init__(source)
        self.value = value
        self.workflow_type = workflow_type
        self.task_queue = task_queue

    def describe(self) -> str:
        return "ContinueAsNew"

    def to_proto(self) -> Command:
        go_on = ContinueAsNew(
            input=self.value,
            workflow_type=self.workflow_type,
            task_queue=self.task_queue,
            unconsumed_signals=self.unconsumed(),
        )
        return Command(continue_as_new=go_on, source=self.source)


CLOSING_COMMANDS: Final = frozenset(
    kind.KIND for kind in (CompleteRequest, FailRequest, CancelRequest, ContinueRequest)
)
"""The commands that close a run."""


def describe_work(what: str, seq: int, name: str = "") -> str:
    """A command or event in words: what it is, its number if it has one, its name if it has one."""
    number = f" {seq}" if seq else ""
    return f"{what}{number} ({name})" if name else f"{what}{number}"
