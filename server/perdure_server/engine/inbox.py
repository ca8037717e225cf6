"""Owns messages of runs to one another on their way.

A message is durable with the commit of its sender. Here it is made a stimulus of its receiver; it
is gone from the store with the receiver's commit. Messages to one receiver stand in a line: what
could not be recorded now goes back to its head, and nothing overtakes it. There is room for so many
messages and so many lines at once; what finds none stays in the store and is read from there. So is
what a dead server left.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from perdure_server.core import decide, limits
from perdure_server.core.changeset import Changeset
from perdure_server.core.draft import Draft
from perdure_server.core.errors import (
    DomainError,
    MessageTaken,
    RunContended,
    StoreError,
    WorkflowClosed,
    WorkflowNotFound,
)
from perdure_server.core.messages import wants_answer
from perdure_server.core.model import Message, MessageKey
from perdure_server.engine.alarms import Alarms
from perdure_server.engine.background import Background
from perdure_server.engine.ports import Clock
from perdure_server.engine.runs import Runs
from perdure_server.engine.stimuli import Stimulus
from perdure_server.store.contract import Store

_log = logging.getLogger(__name__)

_RETRY_US = limits.SECOND_US
_PAGE = 1_000
_EVER_US = 2**62

Receiver = tuple[str, str, str]
"""Namespace and workflow id; for answers, which name no workflow, the run id instead."""
_STORE: Receiver = ("", "", "")
"""Whose alarm it is to read the store again."""
Drop = Callable[[Changeset, Callable[[Any], None]], None]
Decision = Callable[[Draft, int], None]


@dataclass(slots=True, eq=False)
class _Line:
    """The messages for one receiver, in order."""

    receiver: Receiver
    waiting: deque[Message] = field(default_factory=deque)
    out: int = 0
    """How many were handed on and have no outcome yet."""
    back: list[Message] = field(default_factory=list)
    """Of those, the ones to be handed on again, in order."""
    rests: bool = False
    """Whether the next try is to come after a while."""
    closed: str = ""
    """A run that was the latest one and turned out to be closed."""


class Inbox:
    """Hands messages to the runs that they are for. `drop` commits a changeset without a run."""

    def __init__(
        self, store: Store, runs: Runs, *, clock: Clock, background: Background, drop: Drop
    ) -> None:
        self._store = store
        self._runs = runs
        self._clock = clock
        self._background = background
        self._drop = drop
        self._lines: dict[Receiver, _Line] = {}
        self._sizes: dict[MessageKey, int] = {}
        self._bytes = 0
        self._places = limits.INBOX_LINES_MAX
        self._ready: deque[_Line] = deque()
        self._serving = False
        self._left = False
        self._came = False
        self._reading = False
        self._retries = Alarms[Receiver](clock, self._ring)

    async def rebuild(self) -> None:
        """Takes up every message in the store. Raises StoreUnavailable."""
        self._left = True
        await self._read()

    def close(self) -> None:
        """Tries nothing again."""
        self._retries.close()

    def next_us(self) -> int | None:
        """Returns the earliest instant at which a message is tried again."""
        return self._retries.next_us()

    def deliver(self, messages: Iterable[Message]) -> None:
        """Hands messages on, unless they are on their way already."""
        for message in messages:
            if message.key in self._sizes:
                continue
            # Of two messages the later one must not find room when the earlier one has found none.
            if self._left or self._is_full():
                self._left = self._came = True
            else:
                self._take(message)

    def _is_full(self) -> bool:
        return (
            len(self._sizes) >= limits.INBOX_MESSAGES_MAX or self._bytes >= limits.INBOX_BYTES_MAX
        )

    def _take(self, message: Message) -> None:
        self._sizes[message.key] = len(message.body)
        self._bytes += len(message.body)
        receiver = (message.namespace, message.workflow_id, "")
        if not message.workflow_id:
            receiver = (message.namespace, "", message.run_id)
        line = self._lines.get(receiver)
        if line is not None:
            line.waiting.append(message)
            return
        line = self._lines[receiver] = _Line(receiver)
        line.waiting.append(message)
        self._ready.append(line)
        self._serve()

    def _settle(self, line: _Line, message: Message) -> None:
        self._bytes -= self._sizes.pop(message.key)
        self._returned(line)

    async def _read(self) -> None:
        """Takes up what the store has, in order, as far as there is room."""
        self._reading = True
        try:
            while self._left:
                self._came = False
                if not await self._read_all():
                    return
                # What was sent meanwhile may be missing from what was read.
                self._left = self._came
        finally:
            self._reading = False

    async def _read_all(self) -> bool:
        """Takes up what the store has; False when there is more than room."""
        after: MessageKey | None = None
        while True:
            found = await self._store.read_inbox(after=after, before_us=_EVER_US, limit=_PAGE)
            for message in found:
                if message.key in self._sizes:
                    continue
                if self._is_full():
                    return False
                self._take(message)
            if len(found) < _PAGE:
                return True
            after = found[-1].key

    async def _read_again(self) -> None:
        try:
            await self._read()
        except DomainError as error:
            _log.warning("messages could not be read, trying again: %s", error)
            self._retries.set(_STORE, self._clock.now_us() + _RETRY_US)

    def _ring(self, receiver: Receiver, _due_us: int) -> None:
        if receiver == _STORE:
            self._refill()
            return
        self._ready.append(self._lines[receiver])
        self._serve()

    def _refill(self) -> None:
        room = 2 * len(self._sizes) <= limits.INBOX_MESSAGES_MAX
        if self._left and room and not self._is_full() and not self._reading:
            self._reading = True
            self._background.spawn(self._read_again(), "read messages that found no room")

    def _serve(self) -> None:
        """Gives free places to lines; a line that gives its place back at once is no recursion."""
        if self._serving:
            return
        self._serving = True
        try:
            while self._ready and self._places:
                self._places -= 1
                self._advance(self._ready.popleft())
        finally:
            self._serving = False

    def _advance(self, line: _Line) -> None:
        """Hands on from the head of a line what is for one run."""
        run_id = self._run_of(line, line.waiting[0])
        if run_id is None:
            self._background.spawn(self._look(line), f"find the run of {line.receiver[1]}")
            return
        batch: list[Message] = []
        while line.waiting and len(batch) < limits.INBOX_BATCH_MAX:
            if batch and self._run_of(line, line.waiting[0]) != run_id:
                break
            batch.append(line.waiting.popleft())
        self._hand(line, run_id, batch)

    def _run_of(self, line: _Line, message: Message) -> str | None:
        """Returns the run that a message is for; None when only the store knows."""
        if message.run_id:
            return message.run_id
        target = (message.namespace, message.workflow_id)
        run_id = self._runs.latest(*target)
        if run_id is None or run_id == line.closed or not self._runs.is_open(run_id, *target):
            return None
        return run_id

    async def _look(self, line: _Line) -> None:
        """Finds the latest run of a workflow for the messages at the head of its line."""
        namespace, workflow_id, _ = line.receiver
        try:
            run_id = await self._store.find_run(namespace, workflow_id, None)
        except DomainError:
            line.rests = True
            self._next(line)
            return
        batch: list[Message] = []
        while line.waiting and len(batch) < limits.INBOX_BATCH_MAX and not line.waiting[0].run_id:
            batch.append(line.waiting.popleft())
        if run_id is not None and run_id != line.closed:
            self._hand(line, run_id, batch)
            return
        line.closed, line.out = "", len(batch)
        error = (
            WorkflowNotFound(f"there is no workflow {workflow_id!r}")
            if run_id is None
            else WorkflowClosed(f"run {run_id} of workflow {workflow_id} is closed")
        )
        for message in batch:
            self._refused(line, message, error)

    def _hand(self, line: _Line, run_id: str, batch: list[Message]) -> None:
        line.out, line.closed = len(batch), ""
        self._runs.stimulate(run_id, *(self._stimulus(line, message, run_id) for message in batch))

    def _stimulus(self, line: _Line, message: Message, run_id: str) -> Stimulus:
        def decision(draft: Draft, now_us: int) -> None:
            if line.back:
                raise RunContended("an earlier message has to be recorded first")
            decide.decide_message(draft, message, now_us)

        def refused(error: Exception) -> None:
            if isinstance(error, WorkflowClosed) and not (message.run_id or error.ending):
                # Another run of the workflow may go on for it.
                line.closed = run_id
                self._return(line, message)
            else:
                self._refused(line, message, error)

        return self._made(line, message, decision, refused)

    def _refused(self, line: _Line, message: Message, error: Exception) -> None:
        """Does what follows when the receiver does not take a message."""
        if isinstance(error, StoreError | RunContended):
            self._later(line, message)
        elif isinstance(error, WorkflowClosed | WorkflowNotFound) and wants_answer(message):
            self._give_back(line, message, error)
        else:
            self._discard(line, message, error)

    def _give_back(
        self, line: _Line, message: Message, error: WorkflowClosed | WorkflowNotFound
    ) -> None:
        reason, ending = str(error), getattr(error, "ending", None)

        def decision(draft: Draft, now_us: int) -> None:
            decide.decide_message_returned(draft, message, reason, now_us, ending=ending)

        def refused(error: Exception) -> None:
            if isinstance(error, StoreError | RunContended):
                self._later(line, message)
            else:
                self._discard(line, message, error)

        self._runs.stimulate(message.sender_run_id, self._made(line, message, decision, refused))

    def _made(
        self,
        line: _Line,
        message: Message,
        decision: Decision,
        refused: Callable[[Exception], None],
    ) -> Stimulus:
        def done(_answer: Any) -> None:
            self._settle(line, message)

        return Stimulus(decision, done, refused, message=message.key)

    def _discard(self, line: _Line, message: Message, error: Exception) -> None:
        """Deletes a message that nobody is left for."""
        if not isinstance(error, WorkflowClosed | WorkflowNotFound):
            _log.error("message %s cannot be recorded", message.key, exc_info=error)
        self._drop(Changeset(taken=[message.key]), partial(self._dropped, line, message))

    def _dropped(self, line: _Line, message: Message, outcome: Any) -> None:
        if isinstance(outcome, Exception) and not isinstance(outcome, MessageTaken):
            self._later(line, message)
        else:
            self._settle(line, message)

    def _later(self, line: _Line, message: Message) -> None:
        line.rests = True
        self._return(line, message)

    def _return(self, line: _Line, message: Message) -> None:
        line.back.append(message)
        self._returned(line)

    def _returned(self, line: _Line) -> None:
        line.out -= 1
        if not line.out:
            self._next(line)

    def _next(self, line: _Line) -> None:
        """Passes on the place of a line whose head has its outcome."""
        line.waiting.extendleft(reversed(line.back))
        line.back.clear()
        self._places += 1
        if line.rests:
            line.rests = False
            self._retries.set(line.receiver, self._clock.now_us() + _RETRY_US)
        elif line.waiting:
            self._ready.append(line)
        else:
            del self._lines[line.receiver]
            self._refill()
        self._serve()
