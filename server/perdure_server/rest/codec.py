"""Owns the way between one route's JSON and its messages."""

from __future__ import annotations

from typing import Final

import msgspec
from google.protobuf.message import Message

from perdure_server.core.errors import InvalidRequest
from perdure_server.rest.decoder import Decoders
from perdure_server.rest.encoder import Encoders
from perdure_server.rest.json_text import NotJson, check, object_of
from perdure_server.rest.names import rest_path
from perdure_server.rest.options import Route, field_of, has_default
from perdure_server.rest.query import Query, parameters
from perdure_server.rest.values import quoted, shown, string

_PAGING: Final = ("page_size", "page_token", "offset", "order")
"""The fields of a list's request that ask for a part of it."""
_NEXT_PAGE = "next_page_token"
_REQUEST_ID = "request_id"
_UNSAID = frozenset((b"null", b'""'))


class RouteCodec:
    """Reads the requests of one route and writes its answers. Built once, it keeps no state.

    Codecs that are given the same `encoders` and `decoders` share their plans. Raises ValueError
    when the options of the route's messages do not fit.
    """

    def __init__(
        self,
        route: Route,
        *,
        encoders: Encoders | None = None,
        decoders: Decoders | None = None,
    ) -> None:
        self.route = route
        encoders, decoders = encoders or Encoders(), decoders or Decoders()
        self._plan = decoders.plan_of(route.request)
        self._query = Query(route.request)
        self._path_keys = {
            name: field_of(route.request.fields_by_name[name]).key for name in route.path_fields
        }
        request = route.request.fields_by_name
        self._paging = {field_of(request[name]).key for name in _PAGING if name in request}
        self._pages = _NEXT_PAGE in route.response.fields_by_name
        self._message = encoders.encoder_of(route.response)
        self._answer = self._message
        if route.response_field:
            field = field_of(route.response.fields_by_name[route.response_field])
            self._answer = encoders.field_encoder(field)
        self._absent = route.absent.encode()
        self._encoder = msgspec.json.Encoder()

    def read(self, request: Message, *, body: bytes, query: str, idempotency_key: str) -> None:
        """Fills a request that has its path fields. Raises InvalidRequest and its kinds.

        What the path says counts before the body, the body before the query, and the request id
        before the idempotency key.
        """
        asked = _members(body) if self.route.has_body else {}
        for name, key in self._path_keys.items():
            asked[key] = _agreed(getattr(request, name), asked.get(key, b"null"), key)
        for key, text in self._query.read(query).items():
            if asked.get(key, b"null") == b"null":
                asked[key] = text
        if idempotency_key and asked.get(_REQUEST_ID, b"null") in _UNSAID:
            asked[_REQUEST_ID] = quoted(idempotency_key, "Idempotency-Key")
        self._plan.fill(request, asked, "")

    def write(self, answer: Message) -> bytes:
        """Returns the JSON of an answer."""
        value = self._answer(answer)
        return self._absent if value is None else self._encoder.encode(value)

    def status(self, answer: Message) -> int:
        """Returns the HTTP status of an answer."""
        otherwise = self.route.otherwise
        if otherwise is not None and has_default(answer, otherwise.field):
            return otherwise.status
        return self.route.status

    def next_page(self, answer: Message) -> str:
        """Returns the token of the next page; empty when there is none."""
        return getattr(answer, _NEXT_PAGE) if self._pages else ""

    def asks_paging(self, query: str) -> bool:
        """Tells whether a query asks for a part of a list. Raises InvalidRequest."""
        return not self._paging.isdisjoint(parameters(query))

    def rest_name(self, field_path: str) -> str:
        """Returns the REST name of a dotted path into the request; unknown ones unchanged."""
        return rest_path(self.route.request, field_path)

    def data(self, answer: Message) -> bytes:
        """Returns the JSON of a message of a stream, on one line."""
        return self._encoder.encode(self._message(answer))

    def event_id(self, answer: Message) -> str:
        """Returns the id of the event; empty when the message has none."""
        events = self.route.events
        return str(getattr(answer, events.id)) if events and events.id else ""

    def event_kind(self, answer: Message) -> str:
        """Returns the kind of the event; empty when the message has an id and no data."""
        events = self.route.events
        if events is None:
            return ""
        return events.name or str(getattr(answer, events.kind))


def _members(body: bytes) -> dict[str, bytes]:
    if not body.strip():
        return {}
    try:
        check(body)
    except NotJson as problem:
        raise InvalidRequest(f"the body {problem}") from None
    members = {} if body.strip() == b"null" else object_of(body)
    if members is None:
        raise InvalidRequest("the body must be a JSON object")
    return {key: bytes(raw) for key, raw in members.items()}


def _agreed(in_path: str, in_body: bytes, key: str) -> bytes:
    text = quoted(in_path, key)
    if in_body == b"null" or (in_body[:1] == b'"' and string(in_body, key) == in_path):
        return text
    raise InvalidRequest(f"is {shown(text)} in the path and {shown(in_body)} in the body", key)
