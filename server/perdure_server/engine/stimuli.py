"""Owns what can happen to a run: a stimulus, and how its answer or its refusal is delivered."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from google.protobuf.message import Message

from perdure_server.core.draft import Draft
from perdure_server.core.errors import (
    DomainError,
    MessageTaken,
    RequestRecorded,
    RunContended,
    StaleVersion,
    StoreError,
)
from perdure_server.core.model import MessageKey, RequestRecord
from perdure_server.core.state import RunState
from perdure_server.engine.requests import RequestKey

_log = logging.getLogger(__name__)

Decide = Callable[[Draft, int], Any]
Visit = Callable[[RunState | None], None]


@dataclass(slots=True)
class Stimulus:
    """Something that happens to a run.

    `decide` turns it into a change, then one of the other two is called.
    """

    decide: Decide
    resolve: Callable[[Any], None]
    reject: Callable[[Exception], None]
    request: RequestKey | None = None
    """With a request, `decide` returns the response message.

    A repetition resolves with the encoded first answer.
    """
    once: Sequence[RequestKey] = ()
    """Keys that are taken besides, for what happens only once whoever asks.

    When one is taken already, the stimulus resolves with `b""`.
    """
    message: MessageKey | None = None
    """The message that the decision records. When it was recorded before, nothing is decided."""
    fresh: bool = False
    """Whether what it is decided on was read after it came, so that a refusal holds."""
    may_lag: bool = False
    """Whether an answer that changes nothing may tell what was so a moment before it came."""

    @property
    def keys(self) -> list[RequestKey]:
        """What the store must not know yet."""
        return [*(() if self.request is None else (self.request,)), *self.once]


def stimulus_of(
    future: asyncio.Future[Any], decide: Decide, request: RequestKey | None = None
) -> Stimulus:
    """Returns a stimulus whose answer goes to a future."""

    def resolve(answer: Any) -> None:
        if not future.done():
            future.set_result(answer)

    def reject(error: Exception) -> None:
        if not future.done():
            future.set_exception(error)

    return Stimulus(decide, resolve, reject, request)


M = TypeVar("M", bound=Message)


def answer_as(kind: type[M], answer: M | bytes) -> M:
    """Returns an answer as a message, also when it is the encoded answer of an earlier request."""
    return kind.FromString(answer) if isinstance(answer, bytes) else answer


def decide_one(
    stimulus: Stimulus,
    draft: Draft,
    records: dict[RequestKey, RequestRecord],
    taken: set[MessageKey],
    *,
    now_us: int,
) -> Any:
    """Decides one stimulus, unless an earlier one of the batch was the same request or message."""
    if stimulus.message is not None:
        if stimulus.message in taken:
            return None
        answer = stimulus.decide(draft, now_us)
        taken.add(stimulus.message)
        return answer
    request = stimulus.request
    if request is None and not stimulus.once:
        return stimulus.decide(draft, now_us)
    for key in stimulus.keys:
        if key in records:
            key.check(records[key])
            return records[key].response
    answer = stimulus.decide(draft, now_us)
    for key in stimulus.once:
        records[key] = key.record(None, now_us)
    if request is None:
        return answer
    records[request] = request.record(answer, now_us)
    return records[request].response


def deliver(answers: Iterable[tuple[Stimulus, Any]]) -> None:
    """Delivers answers; one that is an exception is a refusal."""
    for stimulus, answer in answers:
        if isinstance(answer, Exception):
            refuse(stimulus, answer)
            continue
        try:
            stimulus.resolve(answer)
        except Exception:  # noqa: BLE001 - one lost answer must not take the others along
            _log.exception("an answer could not be delivered")


def refuse(stimulus: Stimulus, error: Exception) -> None:
    """Delivers a refusal; what the engine did not expect is logged."""
    if not isinstance(error, DomainError | RequestRecorded | MessageTaken | StaleVersion):
        _log.error("a decision failed", exc_info=error)
    try:
        stimulus.reject(error)
    except Exception:  # noqa: BLE001 - one lost answer must not take the others along
        _log.exception("a refusal could not be delivered")


def refuse_all(answers: Iterable[tuple[Stimulus, Any]], error: Exception) -> None:
    """Delivers one refusal to all of them."""
    for stimulus, _ in answers:
        refuse(stimulus, error)


def may_pass(error: Exception, run_id: str) -> bool:
    """Whether what the engine did to a run for reasons of its own is to be tried again.

    Logs what nobody expected.
    """
    if isinstance(error, StoreError | RunContended):
        return True
    if not isinstance(error, DomainError):
        _log.error("the engine could not act on run %s", run_id, exc_info=error)
    return False


def show(visit: Visit, state: RunState | None) -> None:
    """Lets a visitor see a run."""
    try:
        visit(state)
    except Exception:  # noqa: BLE001 - one visitor must not take the others along
        _log.exception("a visit failed")
