"""Owns what callers ask of workflow code: updates, which it answers, and queries, which only look.

An update is answered by a command that names the event which brought it. Queries are asked after
each task, and their values make the snapshot of the run.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

from perdure._failures import to_failure
from perdure._replay.commands import NOTE, Request, describe_work
from perdure._replay.looking import Look, Reach, StateChangedError
from perdure.converter import Converter
from perdure.errors import ApplicationError
from perdure.interceptors import QueryCall, UpdateCall, chained, nested
from perdure.v1.command_pb2 import Command, CompleteUpdate, RejectUpdate
from perdure.v1.failure_pb2 import Failure
from perdure.v1.history_pb2 import UpdateRequested
from perdure.v1.payload_pb2 import Payload

if TYPE_CHECKING:
    from perdure._replay.run import Run

UNKNOWN_UPDATE: Final = "UnknownUpdate"
"""The failure type of an update that the code has no handler for."""
UNKNOWN_QUERY: Final = "UnknownQuery"
"""The failure type of a query that the code does not answer."""
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


class QueryHandler(Protocol):
    """What answers the queries of a name."""

    @property
    def fn(self) -> Callable[..., Any]:
        """The function, not async."""

    @property
    def needs_value(self) -> bool:
        """Whether it cannot be asked without a value, and so has no place in snapshots."""

    def arguments(self, payload: Payload | None, converter: Converter) -> tuple[Any, ...]:
        """The arguments to call the function with; raises PayloadError."""


@dataclass(frozen=True, slots=True)
class Teller:
    """A query handler, with what stands before its arguments: the object of a class, if any."""

    handler: QueryHandler
    before: tuple[Any, ...]

    def tell(self, call: QueryCall) -> Any:
        """Returns what the code says. TypeError when it is async."""
        value = self.handler.fn(*self.before, *call.arguments)
        if inspect.isawaitable(value):
            if inspect.iscoroutine(value):
                value.close()
            raise TypeError(f"the query {call.name!r} is async; a query only looks")
        return value


@dataclass(frozen=True, slots=True)
class Taker:
    """An update handler, with what stands before its arguments: the object of a class, if any."""

    handler: UpdateHandler
    before: tuple[Any, ...]

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
        self._tellers: dict[str, Teller] = {}
        self._published = b""
        self._complained: set[tuple[str, type[Exception]]] = set()

    def open(
        self,
        instance: Any,
        *,
        updates: Mapping[str, UpdateHandler],
        queries: Mapping[str, QueryHandler],
    ) -> None:
        """Adds the handlers of a class."""
        for name, handler in updates.items():
            self.add_update(name, handler, (instance,))
        for name, query in queries.items():
            self.add_query(name, query, (instance,))

    def add_update(self, name: str, handler: UpdateHandler, before: tuple[Any, ...] = ()) -> None:
        """Has a handler take the updates of a name."""
        self._takers[name] = Taker(handler, before)

    def add_query(self, name: str, handler: QueryHandler, before: tuple[Any, ...] = ()) -> None:
        """Has a handler answer the queries of a name; what it says without a value is published."""
        self._tellers[name] = Teller(handler, before)

    @property
    def answers(self) -> bool:
        """Whether the code answers queries."""
        return bool(self._tellers)

    def tell(self, name: str, payload: Payload | None) -> Payload:
        """What a query says now. Raises what it raises; ApplicationError when there is none."""
        teller = self._tellers.get(name)
        if teller is None:
            raise ApplicationError(
                f"the workflow answers no query {name!r}", type=UNKNOWN_QUERY, non_retryable=True
            )
        with self._asking(f"the query {name!r}", (teller,)):
            return self._told(name, teller, payload)

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
        asked = {
            name: teller for name, teller in self._tellers.items() if not teller.handler.needs_value
        }
        if not asked:
            return None
        try:
            with self._asking("one of the queries " + ", ".join(asked), asked.values()):
                values = {name: self._value(name, teller) for name, teller in asked.items()}
        except StateChangedError:
            _log.exception("the snapshot of workflow %s is left out", self._run.where())
            return None
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
        call = UpdateCall(name=asked.update_name, arguments=arguments)
        if taker.handler.check is not None:
            self._check(taker.before, taker.handler.check, call)
        return await chained(run.interceptors, "handle_update", taker.take)(call)

    def _check(self, before: tuple[Any, ...], check: Callable[..., Any], call: UpdateCall) -> None:
        def last(call: UpdateCall) -> None:
            check(*before, *call.arguments)

        with self._looking(f"the check of the update {call.name!r}", Reach(before, (check,))):
            nested(self._run.interceptors, "check_update", last)(call)

    @contextmanager
    def _asking(self, who: str, tellers: Collection[Teller]) -> Iterator[None]:
        """Lets queries run; a run that one has changed is spoiled."""
        before = {id(one): one for teller in tellers for one in teller.before}
        try:
            with self._looking(
                who, Reach(before.values(), [teller.handler.fn for teller in tellers])
            ):
                yield
        except StateChangedError:
            self._run.journal.spoiled = True
            raise

    @contextmanager
    def _looking(self, who: str, reach: Reach) -> Iterator[None]:
        """Lets code run that only looks; StateChangedError when it has done more than that."""
        journal, look, raised = self._run.journal, Look(reach), None
        try:
            with journal.only_looking():
                yield
        except Exception as error:  # noqa: BLE001 -- raised below, unless there is worse to tell
            raised = error
        changed = look.changed() or ("what other code waits for" if journal.stirred else "")
        if changed:
            raise StateChangedError(f"{who} changed {changed}; it must only look") from raised
        if raised is not None:
            raise raised

    def _told(self, name: str, teller: Teller, payload: Payload | None) -> Payload:
        run = self._run
        call = QueryCall(name=name, arguments=teller.handler.arguments(payload, run.converter))
        value = nested(run.interceptors, "handle_query", teller.tell)(call)
        return run.converter.encode(value)

    def _value(self, name: str, teller: Teller) -> bytes | None:
        try:
            payload = self._told(name, teller, None)
        except Exception as error:  # noqa: BLE001 -- a look at the run must not fail it
            self._complain(name, error)
            return None
        return payload.data if payload.encoding in _JSON else None

    def _complain(self, name: str, error: Exception) -> None:
        """Logs that a query raised, once for each kind of error: it is asked after each task."""
        if (name, type(error)) in self._complained:
            return
        self._complained.add((name, type(error)))
        _log.error(
            "query %r of workflow %s raised %s, so the snapshot of the run has no such value;"
            " the same error is not logged again for this run",
            name,
            self._run.where(),
            type(error).__name__,
            exc_info=error,
        )
