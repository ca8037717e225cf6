"""Owns what callers ask of workflow code: updates, which it answers, and queries, which only look.

An update is answered by a command that names the event which brought it. Queries are asked after
each task, and their values make the snapshot of the run.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

from perdure._failures import to_failure
from perdure._replay.commands import NOTE, Request, describe_work
from perdure.converter import Converter
from perdure.errors import ApplicationError
from perdure.interceptors import UpdateCall, chained
from perdure.v1.command_pb2 import Command, CompleteUpdate, RejectUpdate
from perdure.v1.failure_pb2 import Failure
from perdure.v1.history_pb2 import UpdateRequested
from perdure.v1.payload_pb2 import Payload

if TYPE_CHECKING:
    from perdure._replay.run import Run

UNKNOWN_UPDATE: Final = "UnknownUpdate"
"""The failure type of an update that the code has no handler for."""
_JSON: Final = ("", "json/plain")
_log = logging.getLogger("perdure.replay")


class UpdateHandler(Protocol):
    """What takes the updates of a name."""

    @property
    def fn(self) -> Callable[..., Any]:
        """The function, async or not."""

    @property
    def check(self) -> Callable[..., Any] | None:
        """Refuses an update by raising, before anything is done; it only looks."""

    def arguments(self, payload: Payload | None, converter: Converter) -> tuple[Any, ...]:
        """The arguments to call the function with; raises PayloadError."""


@dataclass(frozen=True, slots=True)
class Taker:
    """An update handler, with what stands before its arguments: the object of a class, if any."""

    handler: UpdateHandler
    before: tuple[Any, ...]

    def check(self, arguments: tuple[Any, ...]) -> None:
        """Raises what the check of the handler raises."""
        if self.handler.check is not None:
            self.handler.check(*self.before, *arguments)

    async def take(self, call: UpdateCall) -> Any:
        """Does what the update asks for."""
        result = self.handler.fn(*self.before, *call.arguments)
        return await result if inspect.isawaitable(result) else result


class AnswerRequest(Request):
    """CompleteUpdate or RejectUpdate; `seq` is the event that brought the update."""

    __slots__ = ("name",)

    TABLE = NOTE
    NUMBERED: ClassVar[bool] = False

    def __init__(self, name: str, seq: int) -> None:
        super().__init__("")
        self.name = name
        self.seq = seq

    def fits(self, recorded: Any) -> bool:
        # What was answered is not compared: values may change as long as the steps do not.
        return bool(recorded.requested_seq == self.seq)


class CompleteUpdateRequest(AnswerRequest):
    """CompleteUpdate."""

    __slots__ = ("result",)

    KIND = "complete_update"
    EVENT = "update_completed"

    def __init__(self, name: str, seq: int, result: Payload) -> None:
        super().__init__(name, seq)
        self.result = result

    def describe(self) -> str:
        return describe_work("CompleteUpdate", self.seq, self.name)

    def to_proto(self) -> Command:
        complete = CompleteUpdate(requested_seq=self.seq, result=self.result)
        return Command(complete_update=complete)


class RejectUpdateRequest(AnswerRequest):
    """RejectUpdate."""

    __slots__ = ("failure",)

    KIND = "reject_update"
    EVENT = "update_rejected"

    def __init__(self, name: str, seq: int, failure: Failure) -> None:
        super().__init__(name, seq)
        self.failure = failure

    def describe(self) -> str:
        return describe_work("RejectUpdate", self.seq, self.name)

    def to_proto(self) -> Command:
        return Command(reject_update=RejectUpdate(requested_seq=self.seq, failure=self.failure))


class Desk:
    """The handlers of one run: those of its class, and those that its code has added."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._takers: dict[str, Taker] = {}
        self._queries: dict[str, Callable[[], Any]] = {}
        self._published = b""

    def open(
        self,
        instance: Any,
        *,
        updates: Mapping[str, UpdateHandler],
        queries: Mapping[str, Callable[..., Any]],
    ) -> None:
        """Adds the handlers of a class."""
        for name, handler in updates.items():
            self.add_update(name, handler, (instance,))
        for name, query in queries.items():
            self.add_query(name, partial(query, instance))

    def add_update(self, name: str, handler: UpdateHandler, before: tuple[Any, ...] = ()) -> None:
        """Has a handler take the updates of a name."""
        self._takers[name] = Taker(handler, before)

    def add_query(self, name: str, query: Callable[[], Any]) -> None:
        """Publishes what a function says under a name."""
        self._queries[name] = query

    async def answer(self, seq: int, asked: UpdateRequested) -> None:
        """Has the update that the event `seq` brought done, or refused, and answers it."""
        run, name = self._run, asked.update_name
        run.handling += 1
        try:
            result = await self._do(asked)
            answer: Request = CompleteUpdateRequest(name, seq, run.converter.encode(result))
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 -- its caller hears of it
            answer = RejectUpdateRequest(name, seq, to_failure(error, run.converter))
        finally:
            run.handling -= 1
        run.journal.ask(answer)

    def snapshot(self) -> Payload | None:
        """What the queries say now, as one object; None when that was published before.

        A query that raises, or whose value is not JSON, is left out.
        """
        values = {name: self._value(name, query) for name, query in self._queries.items()}
        members = [
            json.dumps(name).encode() + b":" + value
            for name, value in values.items()
            if value is not None
        ]
        state = b"{" + b",".join(members) + b"}"
        if not members or state == self._published:
            return None
        self._published = state
        return Payload(data=state)

    async def _do(self, asked: UpdateRequested) -> Any:
        run, taker = self._run, self._takers.get(asked.update_name)
        if taker is None:
            raise ApplicationError(
                f"the workflow takes no update {asked.update_name!r}", type=UNKNOWN_UPDATE
            )
        payload = asked.input if asked.HasField("input") else None
        arguments = taker.handler.arguments(payload, run.converter)
        with run.journal.only_looking():
            taker.check(arguments)
        call = UpdateCall(name=asked.update_name, arguments=arguments)
        return await chained(run.interceptors, "handle_update", taker.take)(call)

    def _value(self, name: str, query: Callable[[], Any]) -> bytes | None:
        run = self._run
        try:
            with run.journal.only_looking():
                payload = run.converter.encode(query())
        except Exception:  # noqa: BLE001 -- a look at the run must not fail it
            _log.exception("query %r of workflow %s failed", name, run.where())
            return None
        return payload.data if payload.encoding in _JSON else None
