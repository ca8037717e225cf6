"""Owns how a client's calls reach the server and come back to the loop of the user.

Calls that a session knows travel in it; the others, and all of them when the session is not wanted,
are unary. A call that finds the server away is repeated with the same request id until patience
ends.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any, Final, TypeVar

from google.protobuf.message import Message

from perdure._home import HomeLoop, Hop
from perdure._session import Session
from perdure._transport import Transport, one, response_type
from perdure.codec import Codecs
from perdure.converter import Converter
from perdure.errors import RpcError, UnavailableError
from perdure.interceptors import (
    ClientCall,
    ClientInterceptor,
    Interceptor,
    Proceed,
    chained,
    of_kind,
)
from perdure.v1 import workflow_service_pb2 as pb

MessageT = TypeVar("MessageT", bound=Message)
T = TypeVar("T")

CALL_TIMEOUT_S: Final = 30.0
"""A call that does not wait for anything is answered long before."""
LONG_POLL_S: Final = 60.0

_BACKOFF_FIRST_S: Final = 0.05
_BACKOFF_MAX_S: Final = 2.0


class Connection:
    """One client's way to one server. `open` and `close` it on the loop that uses it."""

    def __init__(
        self,
        transport: Transport,
        *,
        namespace: str,
        converter: Converter,
        use_session: bool,
        patience_s: float,
        codecs: Codecs,
        interceptors: Sequence[Interceptor],
    ) -> None:
        self.codecs: Final = codecs
        self.interceptors: Final = tuple(interceptors)
        self._outbound = of_kind(interceptors, ClientInterceptor)
        self.transport: Final = transport
        self.namespace: Final = namespace
        self.converter: Final = converter
        self.uses_session: Final = use_session
        self.home: Final = HomeLoop()
        self.task_queues: Final[dict[str, set[str]]] = {}
        """Where this client's own workers serve a workflow type."""
        self._patience_s = patience_s
        self._call_ids = itertools.count(1)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._user: Hop | None = None
        self._session: Session | None = None

    async def open(self) -> None:
        """Starts the home loop. Does not wait for the server."""
        if self._loop is not None:
            raise RuntimeError("a client is entered once: make another one")
        self._loop = asyncio.get_running_loop()
        self._user = Hop(self._loop)
        self.home.start()
        try:
            self._session = await self.home.run(self._open_on_home())
        except BaseException:
            await self.home.stop()
            raise

    async def close(self) -> None:
        """Leaves the server and ends the home loop."""
        session, self._session = self._session, None
        try:
            await self.home.run(self._close_on_home(session))
        finally:
            await self.home.stop()

    @property
    def session(self) -> Session:
        """The session; it lives on the home loop. Raises RuntimeError when it is not open."""
        if self._session is None:
            raise RuntimeError("the client is not open: use it inside of `async with`")
        return self._session

    async def intercepted(self, call: ClientCall, last: Proceed[ClientCall]) -> Any:
        """Makes a call by `last`, through the interceptors of the client."""
        return await chained(self._outbound, "call", last)(call)

    async def made(self, call: ClientCall, method: str, read: Callable[[Any], T]) -> T:
        """Sends the request of a call, through the interceptors, and returns what `read` makes."""

        async def last(call: ClientCall) -> T:
            return read(await self.unary(method, call.request, response_type(method)))

        made: T = await self.intercepted(call, last)
        return made

    async def yielded(
        self, call: ClientCall, source: Callable[[ClientCall], AsyncGenerator[T, None]]
    ) -> AsyncGenerator[T, None]:
        """Yields what a call brings in parts; it passes the interceptors as a whole."""

        async def last(call: ClientCall) -> AsyncGenerator[T, None]:
            return source(call)

        async with aclosing(await self.intercepted(call, last)) as parts:
            async for part in parts:
                yield part

    async def pages(self, method: str, request: Any) -> AsyncGenerator[Any, None]:
        """Yields the pages of a list. Raises an `RpcError`."""
        while True:
            page: Any = await self.unary(method, request, response_type(method))
            yield page
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def in_session(self, call: pb.SessionCall, answer: type[MessageT]) -> MessageT:
        """Makes one call through the session and returns its answer. Raises an `RpcError`."""
        patience = self.patience()
        call = await self.codecs.encoded(call)
        while True:
            try:
                reply = await self._in_session_once(call)
            except UnavailableError as error:
                # Without a reason no server has answered, and the session has been patient.
                if not error.reason:
                    raise
                await patience.after(error)
            else:
                assert isinstance(reply, answer)
                await self.codecs.decode(reply)
                return reply

    def queue_of_own_worker(self, name: str) -> str | None:
        """Where the one worker of this client serves the type; None when that is not clear."""
        queues = self.task_queues.get(name, set())
        return next(iter(queues)) if len(queues) == 1 else None

    async def unary(
        self,
        method: str,
        request: Message,
        answer: type[MessageT],
        *,
        timeout_s: float = CALL_TIMEOUT_S,
    ) -> MessageT:
        """Makes one unary call and returns its answer. Raises an `RpcError`."""
        patience = self.patience()
        request = await self.codecs.encoded(request)
        while True:
            try:
                reply = await self.home.run(
                    self.transport.call(method, request, timeout_s=timeout_s)
                )
            except UnavailableError as error:
                await patience.after(error)
            else:
                assert isinstance(reply, answer)
                await self.codecs.decode(reply)
                return reply

    async def stream(
        self, method: str, request: Message, answer: type[MessageT]
    ) -> AsyncGenerator[MessageT, None]:
        """Yields the answers of a server stream. Raises an `RpcError`."""
        responses = self.transport.stream(method, one(request))
        try:
            while True:
                response = await self.home.run(anext(responses, None))
                if response is None:
                    return
                assert isinstance(response, answer)
                await self.codecs.decode(response)
                yield response
        finally:
            await self.home.run(responses.aclose())

    def patience(self) -> Patience:
        """Returns new patience with a server that is away."""
        return Patience(self._patience_s)

    async def _open_on_home(self) -> Session:
        await self.transport.open()
        return Session(self.transport, patience_s=self._patience_s)

    async def _close_on_home(self, session: Session | None) -> None:
        if session is not None:
            await session.close()
        await self.transport.close()

    async def _in_session_once(self, call: pb.SessionCall) -> Message:
        session, user = self.session, self._user
        call_id = next(self._call_ids)
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            raise RuntimeError("a client belongs to the event loop on which it was entered")
        future: asyncio.Future[Message] = loop.create_future()

        def done(outcome: Message | RpcError) -> None:
            assert user is not None
            user.post(_settle, future, outcome)

        self.home.post(session.begin, call_id, call, done)
        try:
            return await future
        except asyncio.CancelledError:
            self.home.post(session.abandon, call_id)
            raise


class Patience:
    """Waits between repetitions, until a time after the first failure."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._loop = asyncio.get_running_loop()
        self._ends_at: float | None = None
        self._backoff_s = _BACKOFF_FIRST_S

    async def after(self, error: RpcError) -> None:
        """Waits before the next attempt; raises the error when there is to be none."""
        now = self._loop.time()
        if self._ends_at is None:
            self._ends_at = now + self._patience_s
        if now >= self._ends_at:
            raise error
        await asyncio.sleep(self._backoff_s * random.uniform(0.5, 1.0))  # noqa: S311  # jitter
        self._backoff_s = min(2 * self._backoff_s, _BACKOFF_MAX_S)


def _settle(future: asyncio.Future[Message], outcome: Message | RpcError) -> None:
    if future.done():
        return
    if isinstance(outcome, RpcError):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
