"""Owns what surrounds every gRPC call: statuses for errors, early ends, a line in the log.

Behaviours are wrapped once, when the server is built, so a call costs one more frame and no lookup.
Payloads, ids and metadata never reach the log.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, NoReturn, TypeAlias

import grpc
from google.protobuf.message import DecodeError, Message

from perdure_server.api.errors import code_of, to_status
from perdure_server.api.rpcs import Answer, Rpc, rpcs_by_service
from perdure_server.core.errors import DomainError, InvalidRequest, ShuttingDown

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
HandlerOf: TypeAlias = Callable[[Rpc], Handler]
Guard: TypeAlias = Callable[[Rpc, HandlerOf], Handler]
"""Makes the handler of an RPC of those that serve it, or others like it, without a guard."""

STATUS_DETAILS_KEY: Final = "grpc-status-details-bin"
_WATCHES: Final = "perdure.v1.WatchService"
DEADLINE_MARGIN_SECONDS: Final = 0.25
"""Time for the answer of a long poll to travel before its caller gives up."""

_log = logging.getLogger("perdure_server.access")
_failures = logging.getLogger("perdure_server.failures")


@dataclass(slots=True)
class _Call:
    """One call under way."""

    rpc: Rpc
    context: Context
    began_us: int
    peer: str
    """For the log. Asked for at once: a stream may end when gRPC has let go of its call."""


@dataclass(slots=True)
class _Stream:
    """A stream under way."""

    rpc: Rpc
    end: DomainError | None = None
    """Why it has to end."""
    writing: bool = False
    """Whether gRPC has an answer of it in hand."""


def unguarded(rpc: Rpc, handler_of: HandlerOf) -> Handler:
    """Lets everyone call."""
    return handler_of(rpc)


class Interceptors:
    """Makes gRPC handlers of RPCs."""

    def __init__(self, *, monotonic_us: Callable[[], int], error_id: Callable[[], str]) -> None:
        self._monotonic_us = monotonic_us
        self._error_id = error_id
        self._streams: dict[asyncio.Task[Any], _Stream] = {}
        self._turned_away: DomainError | None = None
        self._leaving: DomainError | None = None

    def handlers(
        self, rpcs: Iterable[Rpc], guard: Guard = unguarded
    ) -> list[grpc.GenericRpcHandler[Any, Any]]:
        """Returns one handler per service."""
        return [
            grpc.method_handlers_generic_handler(
                service, {rpc.name: guard(rpc, self._handler) for rpc in methods}
            )
            for service, methods in rpcs_by_service(rpcs).items()
        ]

    def end_streams(self) -> None:
        """Ends every stream with SHUTTING_DOWN: their callers connect again and resume.

        What comes later is refused alike: gRPC may have taken a call that nobody serves yet, and
        one that waits would be told at the end of the grace that its caller has left.
        """
        self._leaving = leaving = ShuttingDown("the server is stopping; connect again")
        for task in list(self._streams):
            self.end_stream(task, leaving)

    def turn_away(self, error: DomainError) -> None:
        """Ends the streams of workers and callers, and refuses new ones until `welcome`.

        Watches stay: they go on where they were, and say nothing wrong meanwhile.
        """
        self._turned_away = error
        for task, stream in list(self._streams.items()):
            if not _is_watch(stream.rpc):
                self.end_stream(task, error)

    def welcome(self) -> None:
        """Takes streams again."""
        self._turned_away = None

    def end_stream(self, task: asyncio.Task[Any], error: DomainError) -> None:
        """Ends the stream that a task serves, if it still does, and tells its caller why.

        An answer under way is written to its end: gRPC takes nothing after one whose writer was
        cancelled, not even a status.
        """
        stream = self._streams.get(task)
        if stream is None or stream.end is not None:
            return
        stream.end = error
        if not stream.writing:
            task.cancel()

    def _handler(self, rpc: Rpc) -> Handler:
        match rpc.takes_stream, rpc.gives_stream:
            case False, False:
                return grpc.unary_unary_rpc_method_handler(
                    self._unary(rpc), _tolerant_decoder(rpc), rpc.encode
                )
            case False, True:
                return grpc.unary_stream_rpc_method_handler(
                    self._stream(rpc), _tolerant_decoder(rpc), rpc.encode
                )
            case _:
                return grpc.stream_stream_rpc_method_handler(
                    self._stream(rpc), _strict_decoder(rpc), rpc.encode
                )

    def _unary(self, rpc: Rpc) -> Callable[[Any, Context], Any]:
        waits = "wait" in rpc.request_type.DESCRIPTOR.fields_by_name

        async def handle(request: Message | DomainError, context: Context) -> Answer:
            call = self._begin(rpc, context)
            try:
                _refuse_malformed(request)
                self._refuse_when_leaving()
                if waits:
                    end_before_deadline(request, context.time_remaining())
                answer: Answer = await rpc.behaviour(request)
            except Exception as error:  # noqa: BLE001 - every error must reach the caller as a status
                await self._refuse(call, error)
            except BaseException:
                self._finish(call, grpc.StatusCode.CANCELLED)
                raise
            self._finish(call, grpc.StatusCode.OK)
            return answer

        return handle

    def _stream(self, rpc: Rpc) -> Callable[[Any, Context], Any]:
        async def handle(request: Any, context: Context) -> AsyncIterator[Answer]:
            call = self._begin(rpc, context)
            task = asyncio.current_task()
            assert task is not None
            stream = self._streams[task] = _Stream(rpc)
            try:
                _refuse_malformed(request)
                self._refuse_when_leaving()
                self._refuse_turned_away(rpc)
                async with aclosing(rpc.behaviour(request)) as answers:
                    async for answer in answers:
                        stream.writing = True
                        yield answer
                        stream.writing = False
                        _refuse_ended(stream)
            except Exception as error:  # noqa: BLE001 - every error must reach the caller as a status
                await self._refuse(call, error)
            except BaseException as error:
                if stream.end is not None and isinstance(error, asyncio.CancelledError):
                    await self._refuse(call, stream.end)
                self._finish(call, grpc.StatusCode.CANCELLED)
                raise
            finally:
                self._streams.pop(task, None)
            self._finish(call, grpc.StatusCode.OK)

        return handle

    def _refuse_when_leaving(self) -> None:
        if self._leaving is not None:
            raise self._leaving

    def _refuse_turned_away(self, rpc: Rpc) -> None:
        if self._turned_away is not None and not _is_watch(rpc):
            raise self._turned_away

    def _begin(self, rpc: Rpc, context: Context) -> _Call:
        peer = context.peer() if _log.isEnabledFor(logging.INFO) else ""
        return _Call(rpc, context, self._monotonic_us(), peer)

    async def _refuse(self, call: _Call, error: Exception) -> NoReturn:
        if not isinstance(error, DomainError):
            error = unexpected(call.rpc, error, self._error_id())
        code = code_of(error)
        self._finish(call, code, error.reason)
        details = to_status(error).SerializeToString()
        await call.context.abort(code, str(error), ((STATUS_DETAILS_KEY, details),))

    def _finish(self, call: _Call, code: grpc.StatusCode, reason: str = "") -> None:
        if not _log.isEnabledFor(logging.INFO):
            return
        fields = {
            "method": f"{call.rpc.service}/{call.rpc.name}",
            "code": code.name,
            "reason": reason,
            "ms": (self._monotonic_us() - call.began_us) / 1000,
            "peer": call.peer,
        }
        _log.info("rpc", extra={"fields": fields})


def unexpected(rpc: Rpc, error: Exception, error_id: str) -> DomainError:
    """Logs an error that no rule foresaw; returns what its caller is told: the id of that line."""
    _failures.error(
        "unexpected error",
        exc_info=error,
        extra={"fields": {"method": f"{rpc.service}/{rpc.name}", "error_id": error_id}},
    )
    return DomainError(
        f"the server failed in a way it should not; its log has the cause under id {error_id}"
    )


def end_before_deadline(request: Any, remaining_seconds: float | None) -> None:
    """Shortens the request's `wait` so that its answer arrives before the caller's deadline."""
    if remaining_seconds is None or not request.HasField("wait"):
        return
    limit_seconds = max(0.0, remaining_seconds - DEADLINE_MARGIN_SECONDS)
    if request.wait.seconds + request.wait.nanos / 1e9 > limit_seconds:
        request.wait.FromNanoseconds(int(limit_seconds * 1e9))


def _is_watch(rpc: Rpc) -> bool:
    return rpc.service == _WATCHES


def _refuse_malformed(request: object) -> None:
    if isinstance(request, DomainError):
        raise request


def _refuse_ended(stream: _Stream) -> None:
    if stream.end is not None:
        raise stream.end


def _tolerant_decoder(rpc: Rpc) -> Callable[[bytes], Message | DomainError]:
    # gRPC answers UNKNOWN when a decoder raises, so the error travels in place of the request.
    decode = _strict_decoder(rpc)

    def decode_or_error(data: bytes) -> Message | DomainError:
        try:
            return decode(data)
        except InvalidRequest as error:
            return error

    return decode_or_error


def _strict_decoder(rpc: Rpc) -> Callable[[bytes], Message]:
    parse = rpc.request_type.FromString

    def decode(data: bytes) -> Message:
        try:
            return parse(data)
        except DecodeError as error:
            raise InvalidRequest(
                f"the message is not a {rpc.request_type.DESCRIPTOR.full_name}"
            ) from error

    return decode
