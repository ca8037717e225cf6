"""Owns the thread that runs workflow code, and how it is left when the code does not return."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from perdure._failures import STACK_BYTES_MAX, to_failure
from perdure._replay.commands import CLOSING_COMMANDS
from perdure._replay.machine import Machine
from perdure._replay.steps import LocalStep
from perdure.converter import Converter
from perdure.v1.command_pb2 import Command, RecordSnapshot
from perdure.v1.failure_pb2 import Failure
from perdure.v1.history_pb2 import HistoryEvent
from perdure.v1.interaction_pb2 import QueryOutcome
from perdure.v1.task_pb2 import QueryTask, WorkflowTask
from perdure.v1.worker_service_pb2 import (
    KeptTask,
    TaskReport,
    WorkflowTaskCacheMiss,
    WorkflowTaskCompletion,
    WorkflowTaskFailure,
)

if TYPE_CHECKING:
    from perdure._step_runner import Attempt

_log = logging.getLogger("perdure.worker")


class Job:
    """One workflow task in work: the events to apply to a machine.

    One that is kept, because steps run, goes through the thread again with each batch of events.
    The home loop has it while it is not `busy`.
    """

    def __init__(self, task: WorkflowTask, machine: Machine, converter: Converter) -> None:
        self.task: Final = task
        self.machine: Final = machine
        self.events: Sequence[HistoryEvent] = task.history.events
        self.busy = True
        """Whether it waits for the thread, or is in it."""
        self.begun: list[LocalStep] = []
        """Steps that the code has begun and that are still to be run."""
        self.attempts: list[Attempt] = []
        """Those of them that are run, until the home loop has heard of them."""
        self.left = False
        """Whether the task was lost or abandoned, so that no step is to begin any more."""
        self.token = task.task_token
        """The token that came last."""
        self.token_seq = 0
        """The last event that the token says is known."""
        self._tokens = [(0, task.task_token)]
        """Tokens with those events: the one that fits what the code was shown, and later ones."""
        self.received_seq = 0
        """The last event that was received, applied or not."""
        self.unsent: list[Command] = []
        self.snapshot: Command | None = None
        self.inbox: list[HistoryEvent] = []
        """Events to be applied that came while the task was kept."""
        self.reporting: TaskReport | None = None
        """The report that keeps the task and is unanswered."""
        self.announced = False
        """Whether the server knows that the task is kept, and so tells what is new."""
        self.announcement: asyncio.TimerHandle | None = None
        self._converter = converter

    def run(self) -> TaskReport | None:
        """Runs the code until it is blocked; returns the report when it could not be run."""
        if self.machine.dropped:
            # A query did not return, and took the run with it.
            miss = WorkflowTaskCacheMiss()
            return TaskReport(task_token=self.task.task_token, workflow_task_cache_miss=miss)
        try:
            self.unsent += self.machine.run_task(self.events)
            state = self.machine.snapshot()
            self.begun = self.machine.take_steps()
        except _InterruptedError:
            raise
        except BaseException as error:  # noqa: BLE001  # SystemExit in user code is a failure too
            return self.failed(to_failure(error, self._converter))
        if state is not None:
            self.snapshot = Command(record_snapshot=RecordSnapshot(state=state))
        return None

    def receive(self, kept: KeptTask) -> None:
        """Takes in the events that are new, with the token that goes with them."""
        events = [event for event in kept.history.events if event.seq > self.received_seq]
        if events and events[0].seq != self.received_seq + 1:
            return  # what lies between comes with the answer to the next report
        self.inbox += events
        covered = kept.history.events[-1].seq if kept.history.events else self.token_seq
        self.received_seq = max(self.received_seq, covered)
        if covered >= self.token_seq:
            self.token, self.token_seq = kept.task_token, covered
            self._tokens.append((covered, kept.task_token))

    def report(self, records: Sequence[Command] = (), *, keep: bool = False) -> TaskReport:
        """Returns the report of what the code has asked for since the last one."""
        commands = [*self.unsent, *records]
        if self.snapshot is not None:
            # Nothing may stand behind a command that closes the run.
            ends = bool(commands) and commands[-1].WhichOneof("command") in CLOSING_COMMANDS
            commands.insert(len(commands) - ends, self.snapshot)
        self.unsent, self.snapshot = [], None
        completion = WorkflowTaskCompletion(commands=commands, keep_task=keep)
        return TaskReport(task_token=self._token_shown(), workflow_task_completed=completion)

    def _token_shown(self) -> str:
        """Returns the token that says no more than what the code was shown.

        Code that has ended is shown nothing more. Of a signal that came meanwhile the server must
        not believe that the code has had it: nobody would hand it on.
        """
        while len(self._tokens) > 1 and self._tokens[1][0] <= self.machine.last_seq:
            del self._tokens[0]
        return self._tokens[0][1]

    def failed(self, failure: Failure) -> TaskReport:
        """Returns the report that the code could not be run."""
        return TaskReport(
            task_token=self.token,
            workflow_task_failed=WorkflowTaskFailure(failure=failure),
        )


class QueryJob:
    """One query in work: of a run in memory, or with the events of a history to play."""

    def __init__(
        self,
        task: QueryTask,
        machine: Machine,
        converter: Converter,
        *,
        events: Sequence[HistoryEvent] | None = None,
    ) -> None:
        self.task: Final = task
        self.machine: Final = machine
        self.outcome: QueryOutcome | None = None
        self._events = events
        self._converter = converter

    def run(self) -> QueryOutcome | None:
        """Asks the code; None when the run in memory was dropped, or has not seen enough."""
        machine = self.machine
        if self._events is None and (machine.dropped or machine.last_seq < self.task.current_seq):
            return None
        outcome = self._ask()
        if self._events is not None:
            _call(machine.close)
        return outcome

    def failed(self, failure: Failure) -> QueryOutcome:
        """Returns the outcome that there is no answer."""
        return QueryOutcome(failure=failure)

    def _ask(self) -> QueryOutcome:
        machine, task = self.machine, self.task
        try:
            if self._events is not None:
                machine.run_task(self._events)
            payload = task.input if task.HasField("input") else None
            value = machine.query(task.query_name, payload)
        except _InterruptedError:
            raise
        except BaseException as error:  # noqa: BLE001  # whatever the code raises is told
            return self.failed(to_failure(error, self._converter))
        return QueryOutcome(event_seq=machine.last_seq, value=value)


AnyJob: TypeAlias = Job | QueryJob


class WorkflowThread(threading.Thread):
    """Runs jobs one after another, and callables, from a queue; None ends it."""

    def __init__(
        self,
        queue: SimpleQueue[AnyJob | Callable[[], None] | None],
        finished: Callable[[Any, Any], None],
    ) -> None:
        super().__init__(name="perdure-workflows", daemon=True)
        self._queue = queue
        self._finished = finished
        self._left_in: AnyJob | None = None
        self._ending = threading.Lock()
        """Held where a job ends: it is either finished or abandoned, never both."""
        self.job: AnyJob | None = None

    def run(self) -> None:
        """Works until the queue says None or the thread is abandoned."""
        try:
            while self._left_in is None:
                work = self._queue.get()
                if work is None:
                    return
                self._do(work)
        except _InterruptedError:
            pass
        if self._left_in is not None:
            # Here, because no other thread may be inside of these coroutines; and now, because
            # collecting them later would run their `finally` blocks outside of a workflow.
            _call(self._left_in.machine.close)

    def abandon(self, job: AnyJob) -> str | None:
        """Leaves the thread to itself and returns the stack on which it was found.

        None when it has finished the job meanwhile; then it goes on. An endless loop would take
        half of the processor from then on, so it is interrupted; code that is blocked in a system
        call ends when that returns. Either way the thread itself then closes the job's machine.
        """
        with self._ending:
            if self.job is not job or self.ident is None:
                return None
            self._left_in = job
            frame = sys._current_frames().get(self.ident)  # noqa: SLF001  # the documented way
            stack = "".join(traceback.format_stack(frame)) if frame is not None else ""
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(self.ident), ctypes.py_object(_InterruptedError)
            )
        return stack[-STACK_BYTES_MAX:]

    def _do(self, work: AnyJob | Callable[[], None]) -> None:
        if not isinstance(work, Job | QueryJob):
            _call(work)
            return
        self.job = work
        report = work.run()
        with self._ending:
            self.job = None
        if self._left_in is None:
            self._finished(work, report)


def _call(close: Callable[[], None]) -> None:
    try:
        close()
    except BaseException:  # noqa: BLE001  # SystemExit in user code does not end the thread
        _log.exception("a workflow raised while it was dropped from the cache")


class _InterruptedError(BaseException):
    """Ends an abandoned thread; not an Exception, so that user code does not catch it lightly."""
