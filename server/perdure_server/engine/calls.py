"""Owns the client session.

Many calls of one process over one stream, each served on its own, answers coalesced.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

from google.rpc.status_pb2 import Status

from perdure.v1 import workflow_service_pb2 as pb
from perdure_server.core import checks, limits
from perdure_server.core.errors import DomainError, InvalidRequest, StoreBusy
from perdure_server.core.frames import field
from perdure_server.engine.outbox import Outbox
from perdure_server.engine.results import Ticket

_log = logging.getLogger(__name__)

Resolve = Callable[[Any], None]
Reject = Callable[[Exception], None]
ToStatus = Callable[[DomainError], Status]

_REPLIES = pb.SessionResponse.REPLIES_FIELD_NUMBER


class SessionCalls(Protocol):
    """The use cases that a session offers."""

    def begin_start(
        self, request: pb.StartWorkflowRequest, resolve: Resolve, reject: Reject
    ) -> None:
        """Starts a workflow."""

    def begin_execute(
        self, request: pb.StartWorkflowRequest, ticket: Ticket, resolve: Resolve, reject: Reject
    ) -> None:
        """Starts a workflow and waits for its end."""

    def begin_result(
        self, request: pb.GetWorkflowResultRequest, ticket: Ticket, resolve: Resolve, reject: Reject
    ) -> None:
        """Waits for the end of a workflow."""

    def begin_signal(
        self, request: pb.SignalWorkflowRequest, resolve: Resolve, reject: Reject
    ) -> None:
        """Delivers a signal."""

    def begin_cancel(
        self, request: pb.CancelWorkflowRequest, resolve: Resolve, reject: Reject
    ) -> None:
        """Asks a workflow to end."""

    def forget(self, ticket: Ticket) -> None:
        """Drops a result that is no longer waited for."""


async def serve_session(
    calls: SessionCalls, requests: AsyncIterator[pb.SessionRequest], to_status: ToStatus
) -> AsyncIterator[bytes]:
    """Serves calls until the client ends the stream; yields encoded SessionResponses.

    `to_status` makes of an error what its unary RPC would end with.
    """
    session = _ClientSession(calls, to_status)
    reader = asyncio.create_task(session.read(requests), name="read client session")
    try:
        while (part := await session.outbox.next()) is not None:
            yield part[0]
    finally:
        reader.cancel()
        session.close()


def refusal_of(error: Exception, to_status: ToStatus) -> Status:
    """Returns what one call among others is refused with; what nobody expected is logged."""
    if not isinstance(error, DomainError):
        _log.error("a call failed", exc_info=error)
        error = DomainError("the server failed; its log has more")
    return to_status(error)


class _ClientSession:
    """One stream: the calls under way and the replies that wait to be written."""

    def __init__(self, calls: SessionCalls, to_status: ToStatus) -> None:
        self._calls = calls
        self._to_status = to_status
        self._open: dict[Ticket, int] = {}
        self._tickets: dict[int, Ticket] = {}
        self._read_all = False
        self.outbox = Outbox()

    async def read(self, requests: AsyncIterator[pb.SessionRequest]) -> None:
        """Takes calls in until the client has sent its last one.

        The stream ends when all are answered.
        """
        try:
            async for request in requests:
                if request.ping:
                    self.outbox.put(pb.SessionResponse(pong=request.ping).SerializeToString())
                for call in request.calls:
                    self._begin(call)
                for call_id in request.abandoned_call_ids:
                    self._abandon(call_id)
                await self.outbox.room()
        except Exception as error:  # noqa: BLE001 - the stream must end with it, not hang
            self.outbox.end(error)
            return
        self._read_all = True
        self._end_when_done()

    def close(self) -> None:
        """Drops the results that nobody waits for any more."""
        for ticket in self._open:
            self._calls.forget(ticket)

    def _begin(self, call: pb.SessionCall) -> None:
        ticket, kind = Ticket(), call.WhichOneof("call")
        self._open[ticket] = call.call_id
        self._tickets[call.call_id] = ticket

        def resolve(answer: Any) -> None:
            self._reply(ticket, pb.SessionReply(call_id=call.call_id, **{str(kind): answer}))

        def reject(error: Exception) -> None:
            refusal = refusal_of(error, self._to_status)
            self._reply(ticket, pb.SessionReply(call_id=call.call_id, error=refusal))

        try:
            if len(self._open) > limits.SESSION_CALLS_MAX:
                raise StoreBusy("the session has too many calls under way; wait for answers")
            self._serve(call, ticket, resolve, reject)
        except DomainError as error:
            reject(error)

    def _serve(
        self, call: pb.SessionCall, ticket: Ticket, resolve: Resolve, reject: Reject
    ) -> None:
        calls = self._calls
        match call.WhichOneof("call"):
            case "start":
                checks.check_start(call.start)
                calls.begin_start(call.start, resolve, reject)
            case "execute":
                checks.check_execute(call.execute)
                calls.begin_execute(call.execute.start, ticket, resolve, reject)
            case "result":
                checks.check_get_result(call.result)
                calls.begin_result(call.result, ticket, resolve, reject)
            case "signal":
                checks.check_signal(call.signal)
                calls.begin_signal(call.signal, resolve, reject)
            case "cancel":
                checks.check_cancel(call.cancel)
                calls.begin_cancel(call.cancel, resolve, reject)
            case _:
                raise InvalidRequest("nothing is set; say what is asked", "call")

    def _abandon(self, call_id: int) -> None:
        ticket = self._tickets.get(call_id)
        if ticket is not None and self._end(ticket):
            self._calls.forget(ticket)

    def _reply(self, ticket: Ticket, reply: pb.SessionReply) -> None:
        if self._end(ticket):
            self.outbox.put(field(_REPLIES, reply.SerializeToString()))
            self._end_when_done()

    def _end(self, ticket: Ticket) -> bool:
        """Ends a call; False when it had ended before."""
        call_id = self._open.pop(ticket, None)
        if call_id is not None and self._tickets.get(call_id) is ticket:
            del self._tickets[call_id]
        return call_id is not None

    def _end_when_done(self) -> None:
        if self._read_all and not self._open:
            self.outbox.end()
