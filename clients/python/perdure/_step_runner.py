"""Owns the steps of a worker: where they run, how often, and what of them is not recorded yet.

Async ones run on the loop on which the worker was entered, others in threads. The code's own thread
sends them there; the bookkeeping is on the home loop, which hears of a step that is quick only
once. Whatever a step raises is its failure and never ends the worker.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextvars import Context, copy_context
from dataclasses import dataclass
from functools import partial
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final

from perdure._failures import to_failure
from perdure._home import Hop
from perdure._replay.machine import Machine
from perdure._replay.run import Identity
from perdure._replay.steps import LocalStep
from perdure._threads import Threads
from perdure.converter import PAYLOAD_BYTES_MAX, Converter
from perdure.errors import PayloadError
from perdure.interceptors import ActivityInterceptor, StepCall, chained
from perdure.v1.command_pb2 import Command, RecordStep
from perdure.v1.failure_pb2 import Failure, FailureKind
from perdure.v1.payload_pb2 import Payload
from perdure.v1.retry_policy_pb2 import RetryPolicy

if TYPE_CHECKING:
    from perdure._workflow_thread import Job

_ATTEMPTS_DEFAULT: Final = 3
_INTERVAL_DEFAULT_S: Final = 1.0
_INTERVAL_MAX_DEFAULT_S: Final = 100.0
_COEFFICIENT_DEFAULT: Final = 2.0


@dataclass(slots=True, eq=False)
class Attempt:
    """One run of a step.

    It is run while the home loop may not have heard of it yet. Who ends it sets `ended`, then looks
    for a `book` to report to; who files it sets the `book`, then looks whether it has `ended`.
    """

    step: LocalStep
    code: Callable[[], Any]
    number: int = 1
    on_loop: asyncio.Task[None] | None = None
    result: Payload | None = None
    failure: Failure | None = None
    ended: bool = False
    book: Book | None = None

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

    def __init__(self, run_id: str, machine: Machine) -> None:
        self.run_id: Final = run_id
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


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSurroundings:
    """What stands around the steps of one worker.

    Attributes:
        threads_max: How many that are not async run at once.
        waits: Whether one that failed waits before it is tried again.
        stand_in: Gives what is run in place of a step's function, in tests; None for itself.
    """

    threads_max: int = 100
    waits: bool = True
    interceptors: tuple[ActivityInterceptor, ...] = ()
    stand_in: Callable[[LocalStep], Callable[..., Any] | None] | None = None


class StepRunner:
    """Runs steps side by side; `ended` is called with the run whose step has ended for good.

    Lives on the home loop, but for `launch`.
    """

    def __init__(
        self,
        converter: Converter,
        *,
        user_loop: asyncio.AbstractEventLoop,
        around: StepSurroundings,
        ended: Callable[[str], None],
    ) -> None:
        self._converter = converter
        self._user_loop = user_loop
        self._user = Hop(user_loop)
        self._loop = asyncio.get_running_loop()
        self._home = Hop(self._loop)
        self._around = around
        self._threads = Threads(around.threads_max, name="perdure-step")
        self._ended = ended
        self._books: dict[str, Book] = {}

    def launch(self, job: Job, begun: Callable[[], None]) -> None:
        """Sends the new steps of a job where they run; from the thread of the code.

        `begun` is called on the home loop, which has to `take` or `discard` them then: when there
        is nothing to report before, only after they had a turn, so that those that end in it cost
        no other.
        """
        job.attempts = [self._attempt(job.machine, step) for step in job.begun]
        job.begun = []
        if not job.unsent and all(_is_async(attempt.code) for attempt in job.attempts):
            self._user.post(self._launch_on_loop, job.attempts, begun)
            return
        self._home.post(begun)
        for attempt in job.attempts:
            self._run(attempt)

    def take(self, job: Job) -> None:
        """Files the steps of a cached run that were launched."""
        run_id, machine, attempts = job.task.run_id, job.machine, job.attempts
        job.attempts = []
        book = self._books.get(run_id)
        if book is None or book.machine is not machine:
            self.forget(run_id)
            book = self._books[run_id] = Book(run_id, machine)
        for attempt in attempts:
            book.running.add(attempt)
            attempt.book = book
            if attempt.ended:
                self._settle(attempt, book)

    def discard(self, job: Job) -> None:
        """Cancels steps that were launched for a task which was lost meanwhile."""
        for attempt in job.attempts:
            self._user.post(_cancel, attempt)

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

    def _attempt(self, machine: Machine, step: LocalStep) -> Attempt:
        around, code = self._around, step.code
        attempt = Attempt(step, code)
        fake = around.stand_in and around.stand_in(step)
        if fake is not None:
            attempt.code = code = partial(fake, *code.args, **code.keywords)
        if around.interceptors:
            attempt.code = partial(self._intercepted, machine.identity, attempt, code)
        return attempt

    async def _intercepted(self, run: Identity, attempt: Attempt, code: partial[Any]) -> Any:
        async def last(call: StepCall) -> Any:
            called = partial(code.func, *call.arguments, **code.keywords)
            value = called() if _is_async(called) else await self._in_thread(called)
            return await value if inspect.isawaitable(value) else value

        call = StepCall(
            name=attempt.step.name,
            workflow_id=run.workflow_id,
            run_id=run.run_id,
            attempt=attempt.number,
            arguments=code.args,
            headers=attempt.step.headers,
        )
        return await chained(self._around.interceptors, "execute_step", last)(call)

    async def _in_thread(self, code: Callable[[], Any]) -> Any:
        """Runs code in a thread, with the context that interceptors have set."""
        ended: Future[tuple[Any, BaseException | None]] = Future()
        self._threads.submit(partial(copy_context().run, _run_into, ended, code))
        value, error = await asyncio.wrap_future(ended)
        if error is not None:
            raise error
        return value

    def _run(self, attempt: Attempt) -> None:
        if attempt.book is not None and attempt.book.closed:
            return
        if _is_async(attempt.code):
            self._user.post(self._run_on_loop, attempt, attempt.code)
        else:
            self._threads.submit(partial(Context().run, self._run_in_thread, attempt))

    def _launch_on_loop(self, attempts: Sequence[Attempt], begun: Callable[[], None]) -> None:
        for attempt in attempts:
            self._run_on_loop(attempt, attempt.code)
        self._user_loop.call_soon(self._home.post, begun)

    def _run_on_loop(self, attempt: Attempt, code: Callable[[], Any]) -> None:
        attempt.on_loop = self._user_loop.create_task(self._await(attempt, code))
        attempt.on_loop.add_done_callback(partial(self._left, attempt))

    async def _await(self, attempt: Attempt, code: Callable[[], Any]) -> None:
        try:
            self._succeed(attempt, await code())
        except BaseException as error:  # noqa: BLE001  # SystemExit in user code is a failure too
            self._fail(attempt, error)
        self._end(attempt)

    def _left(self, attempt: Attempt, on_loop: asyncio.Task[None]) -> None:
        if on_loop.cancelled():
            # Before its first turn: nothing has run that could say so.
            self._fail(attempt, asyncio.CancelledError())
            self._end(attempt)

    def _run_in_thread(self, attempt: Attempt) -> None:
        try:
            value = attempt.code()
            if inspect.isawaitable(value):
                # As of a lambda around an async function: the loop is the place for it.
                self._user.post(self._run_on_loop, attempt, lambda: value)
                return
            self._succeed(attempt, value)
        except BaseException as error:  # noqa: BLE001  # SystemExit in user code is a failure too
            self._fail(attempt, error)
        self._end(attempt)

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

    def _end(self, attempt: Attempt) -> None:
        attempt.ended = True
        if attempt.book is not None:
            self._home.post(self._done, attempt, attempt.book)

    def _done(self, attempt: Attempt, book: Book) -> None:
        # Not when it was found to have ended as it was filed.
        if attempt.ended and attempt in book.running and not book.closed:
            self._settle(attempt, book)
            if attempt not in book.running:
                self._ended(book.run_id)

    def _settle(self, attempt: Attempt, book: Book) -> None:
        """Has the end of a step recorded, or the step run again."""
        delay_s = _delay_s(attempt)
        if delay_s is None:
            book.running.discard(attempt)
            book.ended.append(attempt)
            return
        attempt.number += 1
        attempt.failure, attempt.ended = None, False
        self._loop.call_later(delay_s if self._around.waits else 0, self._run, attempt)


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


def _run_into(ended: Future[tuple[Any, BaseException | None]], code: Callable[[], Any]) -> None:
    if not ended.set_running_or_notify_cancel():
        return  # the run was forgotten while the step waited for a thread
    try:
        ended.set_result((code(), None))
    except BaseException as error:  # noqa: BLE001  # SystemExit in user code is a failure too
        ended.set_result((None, error))


def _is_async(code: Callable[[], Any]) -> bool:
    inner = code.func if isinstance(code, partial) else code
    if isinstance(inner, FunctionType):
        return inspect.iscoroutinefunction(inner)
    call = getattr(type(inner), "__call__", None)  # noqa: B004 -- an object may be async to call
    return inspect.iscoroutinefunction(inner) or inspect.iscoroutinefunction(call)


def _cancel(attempt: Attempt) -> None:
    if attempt.on_loop is not None:
        attempt.on_loop.cancel()
