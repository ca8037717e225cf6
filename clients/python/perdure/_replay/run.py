"""Owns what workflow code can ask for while it runs.

Activities, timers, signals, and what it can know.

`ask_…` and `cancel_…` come from the code, `end_…` from the history. Applying events in order is
the machine's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

from perdure._failures import activity_error
from perdure._replay.attributes import UpsertRequest, patched
from perdure._replay.commands import (
    ActivityRequest,
    CancelActivityRequest,
    CancelTimerRequest,
    CloseRequest,
    Request,
    State,
    Step,
    TimerRequest,
    WaitRequest,
)
from perdure._replay.conditions import Conditions
from perdure._replay.desk import Desk
from perdure._replay.effects import Effects
from perdure._replay.journal import Journal
from perdure._replay.loop import WorkflowLoop
from perdure._replay.relations import Relations
from perdure._replay.signals import Letter, Mailbox
from perdure._replay.source import caller_line
from perdure._replay.steps import Steps
from perdure.converter import Converter
from perdure.errors import HistoryError
from perdure.interceptors import WorkflowInterceptor
from perdure.v1.history_pb2 import ActivityCompleted, WorkflowStarted
from perdure.v1.search_attributes_pb2 import SearchAttributes

T = TypeVar("T")
R = TypeVar("R", bound=Request)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Which run this is."""

    namespace: str
    workflow_id: str
    run_id: str
    task_queue: str


class Run:
    """One run as its code sees it."""

    def __init__(self, identity: Identity, converter: Converter) -> None:
        self.identity = identity
        self.converter = converter
        self.journal = Journal()
        self.mailbox = Mailbox()
        self.conditions = Conditions()
        self.loop = WorkflowLoop(self)
        self.relations = Relations(self)
        self.desk = Desk(self)
        self.effects = Effects(self)
        self.steps = Steps(self)
        self.started = WorkflowStarted()
        self.attributes = SearchAttributes()
        """What the run is found by, as its code left it."""
        self.started_us = 0
        self.now_us = 0
        self.history_length = 0
        self.history_bytes = 0
        self.replaying = True
        self.interceptors: tuple[WorkflowInterceptor, ...] = ()
        self.return_types: WeakKeyDictionary[Callable[..., Any], Any] = WeakKeyDictionary()
        """What functions say they return, once the code has asked: reading it takes long."""
        self.handling = 0
        """How many methods of the workflow are at work on what callers sent."""
        self._activities: dict[int, ActivityRequest] = {}
        self._timers: dict[int, TimerRequest] = {}
        self._kept: dict[Any, Any] = {}

    @property
    def elapsed_us(self) -> int:
        """Microseconds of workflow time since the start."""
        return self.now_us - self.started_us

    @property
    def now(self) -> datetime:
        """Workflow time: when the event being applied was recorded."""
        return _EPOCH + timedelta(microseconds=self.now_us)

    @property
    def started_at(self) -> datetime:
        """When the run started."""
        return _EPOCH + timedelta(microseconds=self.started_us)

    def where(self) -> str:
        """The run in words, for logs."""
        return f"{self.identity.workflow_id} (run {self.identity.run_id})"

    def keep(self, key: Callable[[int], T]) -> T:
        """The one value of this run that `key` makes from the run's seed when first asked for.

        RuntimeError in a query: who draws from it changes what the code draws later.
        """
        if self.journal.is_looking:
            raise RuntimeError("queries and checks of updates only look; this one asks for chance")
        if key not in self._kept:
            self._kept[key] = key(self.started.seed)
        return cast("T", self._kept[key])

    async def call_activity(self, request: ActivityRequest, result_type: Any) -> Any:
        """Asks for an activity and waits for its end.

        Gives the result, raises ActivityError or PayloadError.
        """
        self.journal.ask(request)
        request.future = self.loop.create_future()
        try:
            end = await request.future
        except asyncio.CancelledError:
            self._undo(request, CancelActivityRequest)
            raise
        if isinstance(end, ActivityCompleted):
            result = end.result if end.HasField("result") else None
            return self.converter.decode(result, result_type)
        raise activity_error(
            end.failure, self.converter, activity=request.name, attempt=end.attempt
        )

    async def wait_for_signal(self, name: str, timeout_us: int | None, source: str) -> Letter:
        """Takes the next signal of that name, waiting if there is none.

        TimeoutError after `timeout_us`.
        """
        ready = self.mailbox.take(name)
        if ready is not None:
            return ready
        waiter: asyncio.Future[Letter | None] = self.loop.create_future()
        timer = None
        if timeout_us is not None:
            timer = self.loop.call_later(timeout_us / 1e6, _time_out, waiter)
        request = WaitRequest(name, timer.request if timer else None, source)
        self.journal.ask(request)
        self.mailbox.wait(name, waiter)
        try:
            letter = await waiter
        except asyncio.CancelledError:
            self.mailbox.leave(name, waiter)
            request.advance(Step.CANCEL)
            raise
        finally:
            if timer is not None:
                timer.cancel()
        if letter is None:
            self.mailbox.leave(name, waiter)
            request.advance(Step.CANCEL)
            raise TimeoutError(f"no signal {name!r} came in time")
        self.mailbox.accept(letter)
        return letter

    def upsert(self, patch: SearchAttributes) -> None:
        """Changes what the run is found by."""
        patched(self.attributes, patch)
        self.journal.ask(UpsertRequest(patch, caller_line(2)))

    def ask_timer(self, delay_us: int, handle: asyncio.TimerHandle) -> TimerRequest:
        """Asks for a timer that makes `handle` ready."""
        request = TimerRequest(delay_us, caller_line(2))
        request.handle = handle
        self.journal.ask(request)
        return request

    def cancel_timer(self, request: TimerRequest) -> None:
        """Undoes a timer.

        Without a trace in the activation that asked for it, later by a command.
        """
        request.handle = None
        self._undo(request, CancelTimerRequest)

    def ask_close(self, request: CloseRequest) -> None:
        """Closes the run: the code has ended, nothing of it runs any more."""
        request.unconsumed = self.mailbox.unconsumed
        self.journal.ask(request)
        self.loop.stop()

    def record(self, request: Request, kind: str, recorded: Any) -> None:
        """Notes that the history holds the command, as an event of the kind."""
        self.relations.record(request, kind, recorded)
        if isinstance(request, ActivityRequest):
            self._activities[request.seq] = request
        elif isinstance(request, TimerRequest):
            self._timers[request.seq] = request
        elif isinstance(request, CancelTimerRequest):
            self._timers.pop(request.seq, None)

    def end_activity(self, end: Any) -> None:
        """Ends an activity by one of its four ending events."""
        request = self._activities.pop(end.activity_seq, None)
        if request is None:
            raise HistoryError(f"the history is damaged: activity {end.activity_seq} is not open")
        told = request.state is State.RECORDED
        request.advance(Step.RESOLVE)
        if told:
            request.future.set_result(end)

    def end_timer(self, timer_seq: int) -> None:
        """Fires a timer."""
        request = self._timers.pop(timer_seq, None)
        if request is None:
            raise HistoryError(f"the history is damaged: timer {timer_seq} is not open")
        told = request.state is State.RECORDED
        request.advance(Step.RESOLVE)
        handle, request.handle = request.handle, None
        if told and handle is not None:
            self.loop.fire(handle)

    def forget(self) -> None:
        """Ends what is left of the code and lets go of it."""
        self.loop.close()
        self._activities.clear()
        self._timers.clear()
        self.relations.clear()
        self.steps.clear()
        self._kept.clear()

    def _undo(self, request: R, cancel: Callable[[R, str], Request]) -> None:
        request.advance(Step.CANCEL)
        if request.state in {State.DROPPED, State.CANCELLING}:
            self.journal.ask(cancel(request, caller_line(3) or request.source))


def _time_out(waiter: asyncio.Future[Letter | None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
