"""Owns messages of runs to one another on their way.

A message is durable with the commit of its sender. Here it is made a stimulus of its receiver, in
the order of sending; it is gone from the store with the receiver's commit. What a dead server left
is found by reading the store.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable
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

Target = tuple[str, str]
"""Namespace and workflow id of messages whose receiver is the latest run."""
Drop = Callable[[Changeset, Callable[[Any], None]], None]


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
        self._under_way: set[MessageKey] = set()
        self._looking: dict[Target, deque[Message]] = {}
        self._retries = Alarms[Message](clock, lambda message, _due_us: self._send(message))

    async def rebuild(self) -> None:
        """Takes up every message in the store. Raises StoreUnavailable."""
        after: MessageKey | None = None
        while True:
            found = await self._store.read_inbox(
                after=after, before_us=self._clock.now_us() + _RETRY_US, limit=_PAGE
            )
            self.deliver(found)
            if len(found) < _PAGE:
                return
            after = found[-1].key

    def close(self) -> None:
        """Tries nothing again."""
        self._retries.close()

    def next_us(self) -> int | None:
        """Returns the earliest instant at which a message is tried again."""
        return self._retries.next_us()

    def deliver(self, messages: Iterable[Message]) -> None:
        """Hands messages on, unless they are on their way already."""
        for message in messages:
            if message.key not in self._under_way:
                self._under_way.add(message.key)
                self._send(message)

    def _send(self, message: Message) -> None:
        if message.run_id:
            self._hand(message.run_id, message)
            return
        target = (message.namespace, message.workflow_id)
        if target in self._looking:
            self._looking[target].append(message)
            return
        run_id = self._runs.latest(*target)
        if run_id is not None and self._runs.is_open(run_id, *target):
            self._hand(run_id, message)
            return
        self._looking[target] = deque([message])
        self._background.spawn(self._look(target), f"find the run of {message.workflow_id}")

    async def _look(self, target: Target) -> None:
        """Finds the latest run of a workflow for the messages that wait for it."""
        try:
            run_id = await self._store.find_run(*target, None)
        except DomainError as error:
            for message in self._looking.pop(target):
                self._refused(message, error)
            return
        for message in self._looking.pop(target):
            if run_id is None:
                missing = f"there is no workflow {message.workflow_id!r}"
                self._refused(message, WorkflowNotFound(missing))
            else:
                self._hand(run_id, message)

    def _hand(self, run_id: str, message: Message) -> None:
        def decision(draft: Draft, now_us: int) -> None:
            decide.decide_message(draft, message, now_us)

        self._stimulate(run_id, message, decision, partial(self._refused, message))

    def _refused(self, message: Message, error: Exception) -> None:
        """Does what follows when the receiver does not take a message."""
        if isinstance(error, StoreError | RunContended):
            self._again(message)
        elif isinstance(error, WorkflowClosed | WorkflowNotFound) and wants_answer(message):
            self._give_back(message, str(error))
        else:
            self._discard(message, error)

    def _give_back(self, message: Message, reason: str) -> None:
        def decision(draft: Draft, now_us: int) -> None:
            decide.decide_message_returned(draft, message, reason, now_us)

        def refused(error: Exception) -> None:
            if isinstance(error, StoreError | RunContended):
                self._again(message)
            else:
                self._discard(message, error)

        self._stimulate(message.sender_run_id, message, decision, refused)

    def _stimulate(
        self,
        run_id: str,
        message: Message,
        decision: Callable[[Draft, int], None],
        refused: Callable[[Exception], None],
    ) -> None:
        def done(_answer: Any) -> None:
            self._under_way.discard(message.key)

        self._runs.stimulate(run_id, Stimulus(decision, done, refused, message=message.key))

    def _discard(self, message: Message, error: Exception) -> None:
        """Deletes a message that nobody is left for."""
        if not isinstance(error, WorkflowClosed | WorkflowNotFound):
            _log.error("message %s cannot be recorded", message.key, exc_info=error)

        def landed(outcome: Any) -> None:
            if isinstance(outcome, Exception) and not isinstance(outcome, MessageTaken):
                self._again(message)
            else:
                self._under_way.discard(message.key)

        self._drop(Changeset(taken=[message.key]), landed)

    def _again(self, message: Message) -> None:
        self._retries.set(message, self._clock.now_us() + _RETRY_US)
