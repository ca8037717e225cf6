"""Owns the REST door: for calls that come through Envoy it turns JSON into requests and answers
into JSON, around handlers that do not know it.

Envoy marks its calls with `x-envoy-original-path`. All others get their handler as it is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, NoReturn, TypeAlias
from urllib.parse import quote, unquote_plus

import grpc
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from perdure_server.core.errors import DomainError, InvalidRequest
from perdure_server.rest.codec import RouteCodec
from perdure_server.rest.decoder import Decoders
from perdure_server.rest.encoder import Encoders
from perdure_server.rest.envelope import JSON, body_of, http_body
from perdure_server.rest.options import Route
from perdure_server.rest.sse import EventStream, event, last_words
from perdure_server.rest.statuses import Refusal, refusal_of

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"

ORIGINAL_PATH: Final = "x-envoy-original-path"
STATUS_HEADER: Final = "x-http-code"
PING_SECONDS: Final = 15.0
"""Keeps proxies from closing a silent stream, and finds readers that vanished."""
_UNAUTHORIZED: Final = 401
_CHALLENGE: Final = ("www-authenticate", "Bearer")
_CREATED: Final = 201
_NO_STORE: Final = ("cache-control", "no-store")
"""What was made may have a secret that is told only once."""
_URL_SAFE: Final = "%/?:@!$&'()*+,;=-._~[]"

_failures = logging.getLogger("perdure_server.failures")


class RestDoor(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # not so at run time
    """Finds the handler of a call, among those given, and fits it to who calls.

    `error_id` gives the ids that connect what a caller is told with a line of the log.
    """

    def __init__(
        self,
        handlers: Sequence[grpc.GenericRpcHandler[Any, Any]],
        routes: Iterable[Route],
        *,
        error_id: Callable[[], str],
        ping_seconds: float = PING_SECONDS,
    ) -> None:
        self._handlers = tuple(handlers)
        self._rest: dict[str, Handler] = {}
        encoders, decoders = Encoders(), Decoders()
        for route in routes:
            method = f"/{route.service}/{route.method}"
            plain = self._plain(_Details(method, ()))
            # Bindings of one RPC differ in their paths, and those Envoy has read already.
            if plain is not None and method not in self._rest:
                codec = RouteCodec(route, encoders=encoders, decoders=decoders)
                rpc = _RestRpc(codec, plain, error_id=error_id, ping_seconds=ping_seconds)
                self._rest[method] = rpc.handler()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler | None:
        """Returns the handler of a call; None when there is none."""
        plain = self._plain(handler_call_details)
        for key, _ in handler_call_details.invocation_metadata:
            if key == ORIGINAL_PATH:
                return self._rest.get(handler_call_details.method, plain)
        return plain

    def _plain(self, details: Any) -> Handler | None:
        for handler in self._handlers:
            found = handler.service(details)
            if found is not None:
                return found
        return None


class _Details(NamedTuple):
    method: str
    invocation_metadata: tuple[tuple[str, str], ...]


@dataclass(slots=True)
class _Call:
    """One call under way. Stands for its context: a refusal becomes an answer, not a status."""

    context: Context
    path: str
    query: str
    headers: dict[str, Any]
    rest_name: Callable[[str], str] = field(default=str)
    """Translates the fields that a refusal names."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.context, name)

    async def abort(
        self,
        code: grpc.StatusCode,
        details: str = "",
        trailing_metadata: Iterable[tuple[str, str | bytes]] = (),
    ) -> NoReturn:
        """Raises the Refusal."""
        raise refusal_of(code, details, trailing_metadata, self.rest_name)


class _RestRpc:
    """One RPC as callers of REST see it."""

    def __init__(
        self, codec: RouteCodec, plain: Handler, *, error_id: Callable[[], str], ping_seconds: float
    ) -> None:
        self._route = codec.route
        self._codec = codec
        self._plain: Any = plain
        self._decode_answer = GetMessageClass(codec.route.response).FromString
        self._error_id = error_id
        self._ping_seconds = ping_seconds

    def handler(self) -> Handler:
        """Returns what gRPC calls, from bytes to bytes."""
        if self._route.streams:
            return grpc.unary_stream_rpc_method_handler(self._stream)
        return grpc.unary_unary_rpc_method_handler(self._unary)

    async def _unary(self, data: bytes, context: Context) -> bytes:
        try:
            call = _call(context)
            request = self._read(data, call)
            answer = self._message(await self._plain.unary_unary(request, call))
            if self._is_whole(call):
                answer = await self._join(request, answer, call)
            headers, body = self._headers(answer, call), self._codec.write(answer)
        except Refusal as refusal:
            return await _refuse(refusal, context)
        except Exception as error:  # noqa: BLE001 - every error must reach the caller as a status
            return await _refuse(self._unexpected(error), context)
        if headers:
            await context.send_initial_metadata(headers)
        return http_body(JSON, body)

    async def _stream(self, data: bytes, context: Context) -> None:
        events = EventStream(context)
        async with events.kept_alive(self._ping_seconds):
            refusal = await self._forward(data, context, events)
        if refusal is None:
            await events.send(b"")
        elif events.opened:
            await events.send(last_words(refusal))
        else:
            await context.write(await _refuse(refusal, context))

    async def _forward(self, data: bytes, context: Context, events: EventStream) -> Refusal | None:
        codec = self._codec
        try:
            call = _call(context)
            request = self._read(data, call)
            async with aclosing(self._plain.unary_stream(request, call)) as answers:
                async for answer in answers:
                    message = self._message(answer)
                    kind = codec.event_kind(message)
                    body = codec.data(message) if kind else b""
                    await events.send(event(codec.event_id(message), kind, body))
        except Refusal as refusal:
            return refusal
        except Exception as error:  # noqa: BLE001 - every error must reach the caller as an event
            return self._unexpected(error)
        return None

    def _read(self, data: bytes, call: _Call) -> Message | DomainError:
        """Returns the request, or in its place what is wrong with it.

        The handler refuses that as it refuses bytes that are no message, so its log has the call.
        """
        try:
            body = body_of(data)
            request = self._plain.request_deserializer(data)
            if isinstance(request, DomainError):
                # The fields of the path are all there is beside the body.
                return InvalidRequest("the path is not UTF-8 once percent-decoded")
            request.DiscardUnknownFields()
            key = call.headers.get("idempotency-key", "")
            self._codec.read(request, body=body, query=call.query, idempotency_key=key)
            self._resume(request, call.headers.get("last-event-id", ""))
        except DomainError as error:
            return error
        except Exception as error:  # noqa: BLE001 - every error must reach the caller as a status
            return DomainError(self._unexpected(error).text)
        call.rest_name = self._codec.rest_name
        return request  # type: ignore[no-any-return]

    def _resume(self, request: Message, last_event_id: str) -> None:
        events = self._route.events
        if not (last_event_id and events is not None and events.resume):
            return
        if isinstance(getattr(request, events.resume), str):
            setattr(request, events.resume, last_event_id)
            return
        try:
            setattr(request, events.resume, int(last_event_id))
        except ValueError as error:
            problem = f"is no id of an event of this stream: {last_event_id!r}"
            raise InvalidRequest(problem, "Last-Event-ID") from error

    def _is_whole(self, call: _Call) -> bool:
        return self._route.whole and not self._codec.asks_paging(call.query)

    async def _join(self, request: Any, first: Any, call: _Call) -> Any:
        while first.next_page_token:
            request.page_token = first.next_page_token
            page = self._message(await self._plain.unary_unary(request, call))
            # What repeats grows; the rest, the token among it, is that of the last page.
            first.next_page_token = ""
            first.MergeFrom(page)
        return first

    def _headers(self, answer: Message, call: _Call) -> list[tuple[str, str]]:
        headers = []
        status = self._codec.status(answer)
        if status != 200:
            headers.append((STATUS_HEADER, str(status)))
        if status == _CREATED:
            headers.append(_NO_STORE)
        if token := self._codec.next_page(answer):
            link = next_page(call.path, call.query, self._codec.rest_name("page_token"), token)
            headers += [("link", f'<{link}>; rel="next"'), ("x-next-page-token", token)]
        return headers

    def _message(self, answer: Message | bytes) -> Message:
        return self._decode_answer(answer) if isinstance(answer, bytes) else answer

    def _unexpected(self, error: Exception) -> Refusal:
        """Logs an error that no rule foresaw; returns what its caller is told: that line's id."""
        error_id = self._error_id()
        method = f"{self._route.service}/{self._route.method}"
        fields = {"method": method, "error_id": error_id}
        _failures.error("unexpected error", exc_info=error, extra={"fields": fields})
        return Refusal(
            500,
            f"the server failed in a way it should not; its log has the cause under id {error_id}",
            reason="INTERNAL",
        )


def next_page(path: str, query: str, name: str, token: str) -> str:
    """Returns the original path with the parameter `name` set to the token."""
    kept = [
        part for part in query.split("&") if part and unquote_plus(part.partition("=")[0]) != name
    ]
    parameters = "&".join([*kept, f"{name}={quote(token, safe='')}"])
    return quote(f"{path}?{parameters}", safe=_URL_SAFE)


def _call(context: Context) -> _Call:
    headers = dict(context.invocation_metadata() or ())
    path, _, query = str(headers[ORIGINAL_PATH]).partition("?")
    return _Call(context, path, query, headers)


async def _refuse(refusal: Refusal, context: Context) -> bytes:
    headers = [(STATUS_HEADER, str(refusal.status))]
    if refusal.status == _UNAUTHORIZED:
        headers.append(_CHALLENGE)
    await context.send_initial_metadata(headers)
    return http_body(JSON, refusal.body())
