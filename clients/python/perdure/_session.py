"""Owns the session of one client: its calls, many to a message, over one stream.

Lives on the home loop. A call that was not answered when the stream broke is sent again on the next
one. Every call that changes something carries a request id, so it counts once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from google.protobuf.message import Message

from perdure._stream import BATCH_BYTES_MAX, Conversation
from perdure._transport import FINAL_CODES, Transport, error_from_status
from perdure.errors import RpcError, from_reason
from perdure.v1.workflow_service_pb2 import SessionCall, SessionRequest, SessionResponse

CALLS_MAX: Final = 10_000
"""Calls sent and not answered, as in the server's limits; further ones wait here."""
_FINAL_CODES: Final = FINAL_CODES | {"UNIMPLEMENTED"}
"""What a server answers that will not take the stream however often it is asked."""


class _Pending(NamedTuple):
    call: SessionCall
    size: int
    done: Callable[[Message | RpcError], None]


class Session:
    """Carries calls and hands each its reply. Connects with the first call."""

    def __init__(self, transport: Transport, *, patience_s: float) -> None:
        self._patience_s = patience_s
        self._pending: dict[int, _Pending] = {}
        self._due: deque[int] = deque()
        self._abandoned: list[int] = []
        self._sent: set[int] = set()
        self._conversation = Conversation[SessionRequest, SessionResponse](
            transport, "WorkflowService/Session", self
        )
        self._task: asyncio.Task[None] | None = None

    def begin(
        self, call_id: int, call: SessionCall, done: Callable[[Message | RpcError], None]
    ) -> None:
        """Sends a call; `done` is called once, on the home loop, with the reply or the error."""
        call.call_id = call_id
        self._pending[call_id] = _Pending(call, call.ByteSize(), done)
        self._due.append(call_id)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._converse())
        self._conversation.wake()

    def abandon(self, call_id: int) -> None:
        """Forgets a call whose caller has left, and tells the server; it may still happen."""
        self._pending.pop(call_id, None)
        if call_id in self._sent:
            self._sent.remove(call_id)
            self._abandoned.append(call_id)
            self._conversation.wake()

    async def close(self) -> None:
        """Leaves the stream. Calls that still wait are told so."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self.fail(from_reason("", "the client was closed", "CANCELLED"))

    @property
    def only_waits(self) -> bool:
        """Whether all unanswered calls wait for results, and there are some."""
        kinds = {pending.call.WhichOneof("call") for pending in self._pending.values()}
        return bool(kinds) and kinds <= {"result", "execute"}

    @property
    def idle(self) -> bool:
        """Whether no call is unanswered."""
        return not self._pending

    def opening(self, ping: int) -> SessionRequest:
        """Returns the first message of a stream: the unanswered calls again, oldest first."""
        self._due = deque(self._pending)
        self._abandoned.clear()
        self._sent.clear()
        return self._batch(ping)

    def next_request(self, ping: int) -> SessionRequest | None:
        """Returns the calls that are due."""
        return self._batch(ping) if ping or self._due or self._abandoned else None

    def received(self, response: SessionResponse) -> None:
        """Hands out replies."""
        for reply in response.replies:
            pending = self._pending.pop(reply.call_id, None)
            self._sent.discard(reply.call_id)
            if pending is None:
                continue
            kind = reply.WhichOneof("reply")
            if kind == "error":
                pending.done(error_from_status(reply.error))
            elif kind is not None:
                pending.done(getattr(reply, kind))
        if self._due:
            self._conversation.wake()

    def broken(self, error: RpcError, down_s: float) -> None:
        """Fails what waits when the server has been away for too long, or refuses the stream.

        Raises the error in the second case: the server is asked again with the next call only.
        """
        final = error.code in _FINAL_CODES
        if final or down_s >= self._patience_s:
            self.fail(error)
        if final:
            raise error

    def fail(self, error: RpcError) -> None:
        """Fails every call that waits for an answer."""
        waiting = list(self._pending.values())
        self._pending.clear()
        for pending in waiting:
            pending.done(error)

    async def _converse(self) -> None:
        with contextlib.suppress(RpcError):
            # Whoever waited for an answer was told.
            await self._conversation.run()

    def _batch(self, ping: int) -> SessionRequest:
        calls: list[SessionCall] = []
        size = 0
        while self._due and len(self._sent) < CALLS_MAX and size < BATCH_BYTES_MAX:
            pending = self._pending.get(self._due.popleft())
            if pending is not None:
                calls.append(pending.call)
                size += pending.size
                self._sent.add(pending.call.call_id)
        if self._due and len(self._sent) < CALLS_MAX:
            self._conversation.wake()
        abandoned, self._abandoned = self._abandoned, []
        return SessionRequest(calls=calls, ping=ping, abandoned_call_ids=abandoned)
