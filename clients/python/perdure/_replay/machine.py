"""Owns the replay machine: events of a workflow task in, commands out.

The replay rule is in the package's docstring. The machine does not know threads, sockets or
clocks: the worker calls it on a thread of its choosing, always the same one for one machine.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import Context
from functools import partial
from typing import Any, Final, Protocol

from perdure._failures import to_failure
from perdure._replay.commands import (
    CancelRequest,
    CloseRequest,
    CompleteRequest,
    ContinueRequest,
    FailRequest,
)
from perdure._replay.continuation import NOTHING, ContinueAsNew
from perdure._replay.desk import QueryHandler, UpdateHandler
from perdure._replay.loop import NumberedTask
from perdure._replay.relations import MESSAGE_ENDS
from perdure._replay.run import Identity, Run
from perdure._replay.signals import Letter
from perdure._replay.source import await_line, await_lines
from perdure._replay.steps import LocalStep
from perdure.converter import Converter
from perdure.errors import HistoryError, PayloadError
from perdure.interceptors import (
    SignalCall,
    WorkflowCall,
    WorkflowInterceptor,
    chained,
    from_headers,
)
from perdure.v1.command_pb2 import Command
from perdure.v1.failure_pb2 import FailureKind
from perdure.v1.history_pb2 import HistoryEvent
from perdure.v1.payload_pb2 import Payload

COMMAND_EVENTS: Final = frozenset(
    {
        "activity_scheduled",
        "activity_cancel_requested",
        "timer_scheduled",
        "timer_cancelled",
        "workflow_awaiting_signal",
        "search_attributes_upserted",
        "child_workflow_started",
        "signal_workflow_initiated",
        "side_effect_recorded",
        "cancel_workflow_initiated",
        "update_completed",
        "update_rejected",
    }
)
CHILD_ENDS: Final = frozenset({"child_workflow_completed", "child_workflow_failed"})
ACTIVITY_ENDS: Final = frozenset(
    {"activity_completed", "activity_failed", "activity_timed_out", "activity_cancelled"}
)
ACTIVITY_EVENTS: Final = ACTIVITY_ENDS | {"activity_scheduled", "activity_cancel_requested"}
CLOSINGS: Final = frozenset(
    {
        "workflow_completed",
        "workflow_failed",
        "workflow_cancelled",
        "workflow_continued_as_new",
    }
)
UNHEARD: Final = frozenset(
    {
        "workflow_paused",
        "workflow_unpaused",
        "workflow_reset",
        "activity_options_updated",
        "activity_paused",
        "activity_unpaused",
        "activity_reset",
    }
)
ENGINE_CLOSINGS: Final = frozenset({"workflow_terminated", "workflow_timed_out"})


_log = logging.getLogger("perdure.replay")


class Arguments(Protocol):
    """How a definition reads its input."""

    def arguments(self, payload: Payload | None, converter: Converter) -> tuple[Any, ...]:
        """The arguments to call the function with; raises PayloadError."""


class MethodDefinition(Arguments, Protocol):
    """What the machine needs of a method that takes what callers send."""

    @property
    def fn(self) -> Callable[..., Any]:
        """The function, async or not; its first argument is the workflow's object."""


class WorkflowDefinition(Protocol):
    """What the machine needs of a workflow."""

    @property
    def name(self) -> str:
        """The workflow type."""

    @property
    def fn(self) -> Callable[..., Awaitable[Any]]:
        """The function."""

    @property
    def signature(self) -> Arguments:
        """How it reads its input."""

    @property
    def signals(self) -> Mapping[str, MethodDefinition]:
        """The methods that take signals, by the signals' names."""

    @property
    def updates(self) -> Mapping[str, UpdateHandler]:
        """The methods that take updates, by the updates' names."""

    @property
    def queries(self) -> Mapping[str, QueryHandler]:
        """The methods that answer queries, by the queries' names."""

    def make(self, arguments: tuple[Any, ...]) -> Any:
        """Makes the object that methods belong to."""

    def main(self, instance: Any, arguments: tuple[Any, ...]) -> Awaitable[Any]:
        """Begins the code of a run."""


class Machine:
    """Runs one workflow run by its history.

    Call `close` when dropping it, on the thread that ran it.

    After any exception from `run_task` the machine is of no further use.
    """

    def __init__(
        self,
        definition: WorkflowDefinition,
        *,
        namespace: str,
        workflow_id: str,
        run_id: str,
        task_queue: str,
        converter: Converter,
        interceptors: Sequence[WorkflowInterceptor] = (),
    ) -> None:
        identity = Identity(
            namespace=namespace, workflow_id=workflow_id, run_id=run_id, task_queue=task_queue
        )
        self.identity: Final = identity
        self._definition = definition
        self._run = Run(identity, converter)
        self._run.interceptors = tuple(interceptors)
        self._context = Context()
        """Where the code runs: what it sets is seen by what it begins, and by no other run."""
        self._main: NumberedTask | None = None
        self._instance: Any = None
        self._last_seq = 0
        self._held: list[HistoryEvent] = []
        self._fresh = True
        self._cancel_requested = False
        self._dropped = False

    @property
    def last_seq(self) -> int:
        """The number of the last event applied; 0 before the first."""
        return self._last_seq

    @property
    def closed(self) -> bool:
        """Tells whether the code has ended, or the engine ended it."""
        return self._run.loop.closed

    def run_task(self, events: Sequence[HistoryEvent], *, last: bool = True) -> list[Command]:
        """Applies the events that follow `last_seq` and gives the commands to send.

        With `last=False` more events of the same task follow, and nothing is given yet. Raises
        HistoryError for a history that cannot be applied, DeterminismError for code that no
        longer fits it.
        """
        self._held.extend(events)
        if not last:
            # The code may need what only a later event holds.
            return []
        events, self._held = self._held, []
        replayed_until = self._replayed_until(events)
        run = self._run
        run.effects.look_ahead(events)
        run.journal.look_ahead(sum(map(_is_bound, events)))
        run.steps.look_ahead(events)
        with run.loop.running():
            for event in events:
                run.replaying = event.seq <= replayed_until
                self._apply(event)
        return run.journal.take_unsent()

    def take_steps(self) -> list[LocalStep]:
        """The steps to run that the code has begun since it was asked last.

        Those of the events applied so far without a record, so ask at the end of a history.
        """
        return [] if self.closed else self._run.steps.take_new()

    @property
    def steps_recorded(self) -> int:
        """How many records of steps were applied."""
        return self._run.steps.recorded

    def snapshot(self) -> Payload | None:
        """What the queries say after the events applied; None when that is known already."""
        if not self._run.desk.answers:
            return None
        with self._looking():
            return self._run.desk.snapshot()

    def query(self, name: str, payload: Payload | None) -> Payload:
        """What a query says after the events applied. Raises what the code raises.

        The code of a run that has ended is asked as it was then. RuntimeError after `close`.
        A run that the query has changed is dropped: nothing may go on with it.
        """
        if self._dropped:
            raise RuntimeError("the run was dropped")
        with self._looking():
            return self._context.copy().run(self._run.desk.tell, name, payload)

    @property
    def dropped(self) -> bool:
        """Tells whether it was closed or forsaken, and so is of no further use."""
        return self._dropped

    def forsake(self) -> None:
        """Has it do nothing more, from another thread than its own, which has to close it."""
        self._dropped = True

    def stack(self) -> str:
        """The lines at which the code waits, `file:line` each, outermost first.

        Empty when it has ended.
        """
        return "\n".join(await_lines(self._main and self._main.get_coro()))

    def close(self) -> None:
        """Lets go of the run's coroutines.

        Their `finally` blocks run, but nothing they ask for happens.
        """
        self._run.replaying = self._dropped = True
        with self._run.loop.running():
            self._run.forget()
        self._main = self._instance = None

    @contextmanager
    def _looking(self) -> Iterator[None]:
        run = self._run
        try:
            with run.loop.running():
                yield
        finally:
            self._dropped = self._dropped or run.journal.spoiled

    def _apply(self, event: HistoryEvent) -> None:
        kind = event.WhichOneof("event") or ""
        if event.seq != self._last_seq + 1:
            raise HistoryError(f"event {event.seq} cannot follow event {self._last_seq}")
        self._last_seq = event.seq
        run = self._run
        run.history_length = event.seq
        run.history_bytes += event.ByteSize()
        if _is_external(event, kind):
            return
        run.now_us = event.timestamp.seconds * 1_000_000 + event.timestamp.nanos // 1000
        if _is_command(event, kind):
            self._record(event, kind)
        elif kind in CLOSINGS or kind in ENGINE_CLOSINGS:
            self._close_run(event, kind)
        elif kind == "signal_received":
            # Also after the code has ended: the closing command names what it did not take.
            self._deliver(event)
            self._run_code()
        elif not run.loop.closed:
            self._tell(event, kind)
            self._run_code()

    def _record(self, event: HistoryEvent, kind: str) -> None:
        run = self._run
        if kind == "side_effect_recorded" and run.effects.is_passed_over(
            event.side_effect_recorded, run.journal.head
        ):
            run.journal.pass_over()
            return
        request = run.journal.record(event, kind, self._waits_at)
        run.record(request, kind, getattr(event, kind))
        if kind.startswith("child_workflow") and not run.loop.closed:
            # The code may wait for a child that is not, or have left one that is now.
            self._run_code()

    def _tell(self, event: HistoryEvent, kind: str) -> None:
        if kind in ACTIVITY_ENDS:
            self._run.end_activity(getattr(event, kind))
        elif kind in CHILD_ENDS:
            self._run.relations.end_child(getattr(event, kind))
        elif kind in MESSAGE_ENDS:
            self._run.relations.end_message(kind, getattr(event, kind))
        elif kind == "step_completed":
            self._run.steps.end(event, self._waits_at)
        elif kind == "timer_fired":
            self._run.end_timer(event.timer_fired.timer_seq)
        elif kind == "workflow_started":
            self._start(event)
        elif kind == "update_requested":
            answering = self._run.desk.answer(event.seq, event.update_requested)
            self._run.loop.create_task(answering, context=self._context.copy())
        elif kind == "workflow_cancel_requested":
            self._cancel(event.workflow_cancel_requested.reason)
        else:
            raise HistoryError(f"event {event.seq} is of a kind that this SDK does not know")

    def _deliver(self, event: HistoryEvent) -> None:
        signal = event.signal_received
        payload = signal.payload if signal.HasField("payload") else None
        letter = Letter(event.seq, payload)
        method = self._definition.signals.get(signal.signal_name)
        if method is None or self._run.loop.closed:
            self._run.mailbox.deliver(signal.signal_name, letter)
        else:
            self._run.mailbox.hold(signal.signal_name, letter)
            handling = self._handle(method, signal.signal_name, letter)
            self._run.loop.create_task(handling, context=self._context.copy())

    def _start(self, event: HistoryEvent) -> None:
        self._run.started = event.workflow_started
        self._run.started_us = self._run.now_us
        self._run.attributes.CopyFrom(event.workflow_started.search_attributes)
        self._main = self._run.loop.create_task(self._run_main(), context=self._context)

    def _cancel(self, reason: str) -> None:
        if self._main is not None and not self._cancel_requested:
            self._cancel_requested = True
            self._main.cancel(reason or None)

    def _run_code(self) -> None:
        run = self._run
        try:
            run.loop.run_until_blocked()
            while not run.loop.closed and run.conditions.wake():
                run.loop.run_until_blocked()
        except (SystemExit, KeyboardInterrupt) as error:
            # asyncio lets these two through from a task beside the main one.
            run.ask_close(self._failed(error))
        run.journal.issue()
        run.steps.issue()

    async def _run_main(self) -> None:
        run = self._run
        started = run.started
        try:
            payload = started.input if started.HasField("input") else None
            arguments = self._definition.signature.arguments(payload, run.converter)
            self._instance = self._definition.make(arguments)
            run.desk.open(
                self._instance,
                updates=self._definition.updates,
                queries=self._definition.queries,
            )
            headers = from_headers(started.headers, run.converter)
            call = WorkflowCall(arguments=arguments, headers=headers)
            result = await chained(run.interceptors, "execute_workflow", self._execute)(call)
            closing: CloseRequest = CompleteRequest(run.converter.encode(result), self._line())
        except ContinueAsNew as wanted:
            closing = self._continue(wanted)
        except asyncio.CancelledError as error:
            closing = CancelRequest(self._line()) if self._cancel_requested else self._failed(error)
        except Exception as error:  # noqa: BLE001 -- whatever the code raises fails the workflow
            closing = self._failed(error)
        except (SystemExit, KeyboardInterrupt) as error:
            closing = self._failed(error)
        run.ask_close(closing)

    async def _execute(self, call: WorkflowCall) -> Any:
        return await self._definition.main(self._instance, call.arguments)

    async def _handle(self, method: MethodDefinition, name: str, letter: Letter) -> None:
        """Has a method take a signal; one that it cannot read stays unconsumed."""
        run = self._run
        try:
            arguments = method.arguments(letter.payload, run.converter)
        except PayloadError as error:
            if not run.replaying:
                _log.error("signal %r of workflow %s: %s", name, run.where(), error)
            return
        run.mailbox.accept(letter)
        run.handling += 1
        try:
            take = partial(self._take, method)
            call = SignalCall(name=name, arguments=arguments)
            await chained(run.interceptors, "handle_signal", take)(call)
        except asyncio.CancelledError:
            pass
        except Exception as error:  # noqa: BLE001 -- whatever the code raises fails the workflow
            run.ask_close(self._failed(error))
        finally:
            run.handling -= 1

    async def _take(self, method: MethodDefinition, call: SignalCall) -> None:
        result = method.fn(self._instance, *call.arguments)
        if inspect.isawaitable(result):
            await result

    def _continue(self, wanted: ContinueAsNew) -> CloseRequest:
        try:
            return ContinueRequest(
                None if wanted.value is NOTHING else self._run.converter.encode(wanted.value),
                self._line(),
                workflow_type=wanted.workflow_type,
                task_queue=wanted.task_queue,
            )
        except PayloadError as error:
            return self._failed(error)

    def _failed(self, error: BaseException) -> FailRequest:
        return FailRequest(to_failure(error, self._run.converter), self._line())

    def _close_run(self, event: HistoryEvent, kind: str) -> None:
        journal = self._run.journal
        by_code = journal.head is not None and kind == journal.head.EVENT
        if by_code or not self._by_engine(event, kind):
            journal.record(event, kind, self._waits_at)
        journal.clear()
        self._run.loop.stop()

    def _by_engine(self, event: HistoryEvent, kind: str) -> bool:
        if kind == "workflow_failed":
            return event.workflow_failed.failure.kind == FailureKind.FAILURE_KIND_LIMIT
        if kind == "workflow_continued_as_new":
            return event.workflow_continued_as_new.external
        if kind == "workflow_cancelled":
            # The engine cancels a run whose code has never run, which left no command behind.
            return self._run.journal.recorded == 0
        return kind in ENGINE_CLOSINGS

    def _replayed_until(self, events: Sequence[HistoryEvent]) -> int:
        # Code ran on every event before a recorded command or step; what follows the last one may
        # be new.
        # A run that was in memory gets new events only.
        if not self._fresh:
            return 0
        self._fresh = False
        for event in reversed(events):
            if _is_bound(event):
                return event.seq
            if event.HasField("step_completed"):
                # The code had begun the step, and may not have gone on after it.
                return event.seq - 1
        return 0

    def _line(self) -> str:
        code = getattr(self._definition.fn, "__code__", None)
        return f"{code.co_filename}:{code.co_firstlineno}" if code else ""

    def _waits_at(self) -> str:
        line = await_line(self._main.get_coro()) if self._main else ""
        return line or self._line()


def _is_bound(event: HistoryEvent) -> bool:
    """Whether code ran on every event before this one: it records a command, or closes the run."""
    kind = event.WhichOneof("event") or ""
    if _is_external(event, kind):
        return False
    return kind in CLOSINGS or kind in ENGINE_CLOSINGS or _is_command(event, kind)


def _is_command(event: HistoryEvent, kind: str) -> bool:
    """Whether an event records a command: also that a child could not be started."""
    refused = kind == "child_workflow_failed" and not event.child_workflow_failed.child_run_id
    return kind in COMMAND_EVENTS or refused


def _is_external(event: HistoryEvent, kind: str) -> bool:
    """Whether the code neither asked for an event nor waits for it: a pause, or an activity.

    The number of an activity from outside is negative.
    """
    return kind in UNHEARD or (kind in ACTIVITY_EVENTS and getattr(event, kind).activity_seq < 0)
