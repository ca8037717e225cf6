"""Owns the steps of a worker: where they run, how often, and what of them is not recorded yet.

Async ones run on the loop on which the worker was entered, others in threads; the bookkeeping is on
the home loop. Whatever a step raises is its failure and never ends the worker.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from perdure._failures import to_failure
from perdure._home import Hop
from perdure._replay.machine import Machine
from perdure._replay.steps import LocalStep
from perdure._threads import Threads
from perdure.converter import PAYLOAD_BYTES_MAX, Converter
from perdure.errors import PayloadError
from perdure.v1.command_pb2 import Command, RecordStep
from perdure.v1.failure_pb2 import Failure, FailureKind
from perdure.v1.payload_pb2 import Payload
from perdure.v1.retry_policy_pb2 import RetryPolicy

_ATTEMPTS_DEFAULT: Final = 3
_INTERVAL_DEFAULT_S: Final = 1.0
_INTERVAL_MAX_DEFAULT_S: Final = 100.0
_COEFFICIENT_DEFAULT: Final = 2.0


@dataclass(slots=True, eq=False)
class Attempt:
    """One run of a step."""

    step: LocalStep
    number: int = 1
    on_loop: asyncio.Task[None] | None = None
    result: Payload | None = None
    failure: Failure | None = None

    def to_proto(self, seq: int) -> Command:
        """Makes the command that records how the step has ended."""
        record = RecordStep(
            seq=seq,
            step_seq=self.step.seq,
            name=self.step.name,
            result=self.result,
            failure=self.failure,
            attempt=self.number,
        )
        return Command(record_step=record, source=self.step.source)


class Book:
    """The steps of one cached run: those at work, and those whose end is still to be recorded."""

    def __init__(self, machine: Machine) -> None:
        self.machine: Final = machine
        self.running: set[Attempt] = set()
        self.ended: list[Attempt] = []
        self.closed = False
        self._sent = 0

    @property
    def idle(self) -> bool:
        """Whether nothing runs and nothing is left to record."""
        return not (self.running or self.ended)

    def take_records(self) -> list[Command]:
        """The commands that record what has ended; now they count as sent."""
        sent = max(self._sent, self.machine.steps_recorded)
        records = [attempt.to_proto(sent + i) for i, attempt in enumerate(self.ended, 1)]
        self._sent = sent + len(records)
        self.ended.clear()
        return records


class StepRunner:
    """Runs steps side by side; `ended` is called with the run whose step has ended for good.

    Lives on the home loop. Without `waits`, steps are tried again at once.
    """

    def __init__(
        self,
        converter: Converter,
        *,
        user_loop: asyncio.AbstractEventLoop,
        threads_max: int,
        ended: Callable[[str], None],
        waits: bool = True,
    ) -> None:
        self._converter = converter
        self._user_loop = user_loop
        self._user = Hop(user_loop)
        self._loop = asyncio.get_running_loop()
        self._home = Hop(self._loop)
        self._threads = Threads(threads_max, name="perdure-step")
        self._ended = ended
        self._waits = waits
        self._books: dict[str, Book] = {}

    def begin(self, run_id: str, machine: Machine, steps: list[LocalStep]) -> None:
        """Runs the new steps of a cached run."""
        book = self._books.get(run_id)
        if book is None or book.machine is not machine:
            self.forget(run_id)
            book = self._books[run_id] = Book(machine)
        for step in steps:
            attempt = Attempt(step)
            book.running.add(attempt)
            self._run(run_id, book, attempt)

    def book(self, run_id: str) -> Book | None:
        """Returns the steps of a cached run; None when it has had none."""
        return self._books.get(run_id)

    def forget(self, run_id: str) -> None:
        """Cancels the steps of a run that is not cached any more; nobody hears of their ends."""
        book = self._books.pop(run_id, None)
        if book is None:
            return
        book.closed = True
        for attempt in book.running:
            self._user.post(_cancel, attempt)

    def stop(self) -> None:
        """Forgets every run, and ends each thread once it is free."""
        for run_id in list(self._books):
            self.forget(run_id)
        self._threads.stop()

    def _run(self, run_id: str, book: Book, attempt: Attempt) -> None:
        if book.closed:
            return
        done = partial(self._home.post, self._done, run_id, book, attempt)
        if _is_async(attempt.step.code):
            self._user.post(self._run_on_loop, attempt, attempt.step.code, done)
        else:
            self._threads.submit(partial(Context().run, self._run_in_thread, attempt, done))

    def _run_on_loop(
        self, attempt: Attempt, code: Callable[[], Any], done: Callable[[], None]
    ) -> None:
        attempt.on_loop = self._user_loop.create_task(self._await(attempt, code))
        # Also when it is cancelled before its first step.
        attempt.on_loop.add_done_callback(lambda _: done())

    async def _await(self, attempt: Attempt, code: Callable[[], Any]) -> None:
        try:
            self._succeed(attempt, await code())
        except BaseException as error:  # noqa: BLE001  # SystemExit in user code is a failure too
            self._fail(attempt, error)

    def _run_in_thread(self, attempt: Attempt, done: Callable[[], None]) -> None:
        try:
            value = attempt.step.code()
            if inspect.isawaitable(value):
                # As of a lambda around an async function: the loop is the place for it.
                self._user.post(self._run_on_loop, attempt, lambda: value, done)
                return
            self._succeed(attempt, value)
        except BaseException as error:  # noqa: BLE001  # SystemExit in user code is a failure too
            self._fail(attempt, error)
        done()

    def _succeed(self, attempt: Attempt, value: Any) -> None:
        payload = self._converter.encode(value)
        if payload.ByteSize() > PAYLOAD_BYTES_MAX:
            # The server would refuse the report, and the step would be run again and again.
            size = f"{payload.ByteSize()} bytes; at most {PAYLOAD_BYTES_MAX} are recorded"
            raise PayloadError(f"the result of step {attempt.step.name} has {size}")
        attempt.result = payload

    def _fail(self, attempt: Attempt, error: BaseException) -> None:
        failure = to_failure(error, self._converter)
        # Nobody asked for it to be cancelled: the code cancelled itself, which is its own failure.
        failure.kind = FailureKind.FAILURE_KIND_APPLICATION
        attempt.failure = failure

    def _done(self, run_id: str, book: Book, attempt: Attempt) -> None:
        if book.closed:
            return
        delay_s = _delay_s(attempt)
        if delay_s is None:
            book.running.discard(attempt)
            book.ended.append(attempt)
            self._ended(run_id)
            return
        attempt.number += 1
        attempt.failure = None
        self._loop.call_later(delay_s if self._waits else 0, self._run, run_id, book, attempt)


def _delay_s(attempt: Attempt) -> float | None:
    """How long to wait before a failed step is run again; None when it is not, or has not failed.

    What is not set in its policy is as in the server's defaults for activities.
    """
    failure, policy = attempt.failure, attempt.step.retry
    if failure is None or policy is None or failure.non_retryable:
        return None
    attempts_max = policy.max_attempts if policy.HasField("max_attempts") else _ATTEMPTS_DEFAULT
    if failure.type in policy.non_retryable_types or attempt.number >= (attempts_max or 2**31):
        return None
    if failure.HasField("next_retry_delay"):
        return failure.next_retry_delay.ToTimedelta().total_seconds()
    coefficient = policy.backoff_coefficient or _COEFFICIENT_DEFAULT
    first_s = _span_s(policy, "initial_interval", _INTERVAL_DEFAULT_S)
    longest_s = _span_s(policy, "max_interval", _INTERVAL_MAX_DEFAULT_S)
    # A power may grow beyond what a float holds long before the bound is forgotten.
    return min(first_s * coefficient ** min(attempt.number - 1, 64), longest_s)


def _span_s(policy: RetryPolicy, field: str, default_s: float) -> float:
    if not policy.HasField(field):
        return default_s
    seconds: float = getattr(policy, field).ToTimedelta().total_seconds()
    return seconds


def _is_async(code: Callable[[], Any]) -> bool:
    inner = code.func if isinstance(code, partial) else code
    call = getattr(type(inner), "__call__", None)  # noqa: B004 -- an object may be async to call
    return inspect.iscoroutinefunction(inner) or inspect.iscoroutinefunction(call)


def _cancel(attempt: Attempt) -> None:
    if attempt.on_loop is not None:
        attempt.on_loop.cancel()
