"""Owns the description of the REST surface as an OpenAPI 3.1 document.

Everything in it is read from the contract: routes and options, bounds, and the comments, which a
descriptor set with source info carries. `make rest` writes the committed file, which the server
answers with.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType
from typing import Final

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from perdure_server.rest.descriptor import service_files
from perdure_server.rest.openapi_bounds import ID, OPAQUE, Schema
from perdure_server.rest.openapi_examples import Examples
from perdure_server.rest.openapi_schemas import Schemas
from perdure_server.rest.openapi_words import Words, words_of
from perdure_server.rest.options import Route, field_of, routes_of
from perdure_server.rest.statuses import http_status

FILE: Final = Path(__file__).with_name("openapi.json")
"""The committed document."""

_JSON: Final = "application/json"
_EVENTS: Final = "text/event-stream"
_ABOUT: Final = """\
Durable workflows over HTTP. Every answer is JSON; streams are server-sent events.

Times are seconds since 1970 and spans are seconds, both as numbers with a fraction. Payloads
(`input`, `result`, `payload`, `details`) are any JSON value and come back digit for digit; one in
another encoding is `{"encoding": "...", "data": "<base64>"}`.

Every key of a record is present; what is absent is `null`. In a request `null` is the same as
absent, and so are an empty body, `null` and `[]` in the place of `{}`. Unknown keys and parameters
are ignored, and every key of a body may be given as a query parameter instead. The keys of the
path may be repeated in the body, with the same value.

Ids and names have at most 255 bytes of UTF-8, which `maxLength` cannot say, and no control
characters. Cursors and tokens are opaque: send what this server gave out.

A server without authentication needs no key.
"""
_ERROR: Final[Schema] = {
    "type": "object",
    "description": "Says why a request was refused.",
    "properties": {
        "error": {"type": "string", "description": "Says what is wrong, for people."},
        "reason": {
            "type": "string",
            "pattern": "^[A-Z][A-Z_]*$",
            "description": "Says what is wrong, for programs.",
        },
        "details": {
            "type": "object",
            "description": "Gives more, for example the `field`.",
            "additionalProperties": {"type": "string"},
        },
    },
    "required": ["error", "reason", "details"],
}
_PAGE_HEADERS: Final[Schema] = {
    "Link": {
        "description": 'Leads to the next page, as `rel="next"`; absent on the last one.',
        "schema": {"type": "string"},
    },
    "x-next-page-token": {
        "description": "Continues the list; absent on the last page.",
        "schema": {"type": "string"},
    },
}
_FRAMES: Final = (
    "A comment comes at once and after every 15 s of silence; an event may be an id alone."
)
_VISIBLE: Final = "^[ -~]*$"
"""What a header may hold."""
_ABSENT: Final = "absent"
"""Stands in the comment of an answer that may be missing."""
_REASONS: Final = "perdure.v1.ErrorReason.ERROR_REASON_"
_ANY_CALL: Final = (
    ("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED"),
    ("RESOURCE_EXHAUSTED", "RESOURCE_EXHAUSTED"),
    ("UNAVAILABLE", "SHUTTING_DOWN"),
    ("UNAVAILABLE", "STORE_BUSY"),
    ("UNAVAILABLE", "STORE_UNAVAILABLE"),
)
"""Refusals that a call may meet whatever it asks."""
_DOOR_REASONS: Final = MappingProxyType(
    {
        400: "BAD_REQUEST",
        403: "ORIGIN_REFUSED",
        408: "REQUEST_TIMEOUT",
        429: "TOO_MANY_REQUESTS",
        431: "HEADERS_TOO_LARGE",
        503: "UNAVAILABLE",
        504: "TIMEOUT",
    }
)
"""Refusals of the door itself, which `envoy.yaml` words."""
_PLAIN_STATUSES: Final = frozenset({*_DOOR_REASONS, 401})


def document(words: Words) -> Schema:
    """Returns the whole description."""
    return _Document(words).build()


def encoded(described: Schema) -> bytes:
    """Returns the bytes of the file, the same on every machine."""
    return (json.dumps(described, indent=1, ensure_ascii=False) + "\n").encode()


class _Document:
    """Puts the parts together; schemas are gathered on the way."""

    def __init__(self, words: Words) -> None:
        self._words = words
        self._schemas = Schemas(words)
        self._examples = Examples(self._schemas.components)
        self._files = service_files()
        self._refusals: dict[str, Schema] = {}

    def build(self) -> Schema:
        paths: dict[str, Schema] = defaultdict(dict)
        services = [s for file in self._files for s in file.services_by_name.values()]
        for route in routes_of(services):
            paths[route.path][route.verb.lower()] = self._operation(route)
        return {
            "openapi": "3.1.0",
            "info": {"title": "Perdure", "version": "1", "description": _ABOUT},
            "servers": [{"url": "/", "description": "The server that answers with this page."}],
            "security": [{"bearer": []}, {}],
            "tags": [
                {"name": service.name, "description": self._words.of(service.full_name)}
                for service in services
            ],
            "paths": dict(sorted(paths.items())),
            "components": {
                "responses": dict(sorted(self._refusals.items())),
                "schemas": {"Error": _ERROR, **dict(sorted(self._schemas.components.items()))},
                "securitySchemes": {
                    "bearer": {
                        "type": "http",
                        "scheme": "bearer",
                        "description": "An API key, as `Authorization: Bearer <key>`.",
                    }
                },
            },
        }

    def _operation(self, route: Route) -> Schema:
        method = self._method(route)
        operation: Schema = {
            "operationId": route.method,
            "tags": [method.containing_service.name],
            "summary": self._words.title_of(method.full_name),
            "description": self._words.of(method.full_name),
        }
        if self._words.is_public(method):
            operation["security"] = []
        if parameters := list(self._parameters(route)):
            operation["parameters"] = parameters
        if route.has_body:
            operation["requestBody"] = self._body(route)
        operation["responses"] = {**self._successes(route), **self._errors(route, method)}
        return operation

    def _method(self, route: Route) -> MethodDescriptor:
        name = route.service.rpartition(".")[2]
        (service,) = [
            file.services_by_name[name] for file in self._files if name in file.services_by_name
        ]
        return service.methods_by_name[route.method]

    def _parameters(self, route: Route) -> Iterator[Schema]:
        fields = route.request.fields_by_name
        for name in route.path_fields:
            yield self._with_example(self._schemas.path_parameter(fields[name]))
        query = list(self._schemas.parameters_of(route.request, route.path_fields))
        for parameter in query:
            if not route.has_body or parameter["name"] == "namespace":
                required = parameter["required"]
                example = (
                    {"example": self._examples.parameter(parameter["name"])} if required else {}
                )
                yield parameter | example
        if any(parameter["name"] == "request_id" for parameter in query):
            yield _header(
                "Idempotency-Key", "Stands for `request_id`.", {**ID, "pattern": _VISIBLE}
            )
        if route.events and route.events.resume:
            text = f"Stands for `{route.events.resume}`, and wins over it."
            yield _header("Last-Event-ID", text, dict(OPAQUE))

    def _with_example(self, parameter: Schema) -> Schema:
        return {**parameter, "example": self._examples.parameter(parameter["name"])}

    def _body(self, route: Route) -> Schema:
        schema = self._schemas.body_of(route.request, route.path_fields)
        name = route.request.name
        example = self._examples.request(name)
        return {
            "description": self._words.of(route.request.full_name),
            "required": "$ref" in schema,
            "content": {_JSON: {"schema": schema, "example": example}},
        }

    def _successes(self, route: Route) -> Schema:
        statuses = {route.status, *([route.otherwise.status] if route.otherwise else [])}
        return {
            str(status): self._stream(route) if route.streams else self._answer(route, status)
            for status in sorted(statuses)
        }

    def _answer(self, route: Route, status: int) -> Schema:
        response, name = route.response, route.response_field
        field = response.fields_by_name[name] if name else None
        schema = self._schemas.field_of(field) if field else self._schemas.answer_of(response)
        described: Schema = {"description": self._words.of(response.full_name)}
        if "next_page_token" in response.fields_by_name:
            described["headers"] = _PAGE_HEADERS
        if status == HTTPStatus.NO_CONTENT:
            return described
        example = self._examples.answer(schema, route.method, status)
        if field and _ABSENT in self._words.of(field.full_name):
            schema = {"anyOf": [schema, {"const": json.loads(route.absent)}]}
        return {**described, "content": {_JSON: {"schema": schema, "example": example}}}

    def _stream(self, route: Route) -> Schema:
        events = route.events
        if events is None:
            raise ValueError(f"{route.method} streams without events")
        data = self._schemas.answer_of(route.response)
        example = self._examples.answer(data, route.method, route.status)
        kind = events.name or example[field_of(route.response.fields_by_name[events.kind]).key]
        identity = str(example.get("id", 1))
        frame = f": connected\n\nid: {identity}\nevent: {kind}\ndata: {json.dumps(example)}\n\n"
        return {
            "description": f"{self._words.of(route.response.full_name)}\n{_FRAMES}",
            "content": {_EVENTS: {"schema": _event(data), "example": frame}},
        }

    def _errors(self, route: Route, method: MethodDescriptor) -> Schema:
        """Returns the refusals of a route by status, each with its reasons."""
        reasons: dict[int, set[str]] = defaultdict(set)
        for status, reason in _DOOR_REASONS.items():
            reasons[status].add(reason)
        for code, reason in (*self._words.errors_of(method), *_ANY_CALL, *_kind_errors(route)):
            reasons[http_status(grpc.StatusCode[code], reason)].add(reason)
        if not self._words.is_public(method):
            reasons[HTTPStatus.UNAUTHORIZED].add("UNAUTHENTICATED")
        return {
            str(int(status)): self._refusal(status, sorted(reasons[status]))
            for status in sorted(reasons)
        }

    def _refusal(self, status: int, reasons: Sequence[str]) -> Schema:
        """Returns a reference where any call may meet just these reasons."""
        if status in _PLAIN_STATUSES:
            name = HTTPStatus(status).phrase.replace(" ", "")
            self._refusals.setdefault(name, self._error(status, reasons))
            if self._refusals[name] == self._error(status, reasons):
                return {"$ref": f"#/components/responses/{name}"}
        return self._error(status, reasons)

    def _error(self, status: int, reasons: Sequence[str]) -> Schema:
        known = {reason: self._words.of(_REASONS + reason) for reason in reasons}
        lines = [
            f"* `{reason}`: {text}" if text else f"* `{reason}`" for reason, text in known.items()
        ]
        first = reasons[0]
        text = known[first] or HTTPStatus(status).phrase
        example = {"error": text, "reason": first, "details": {}}
        schema = {"$ref": "#/components/schemas/Error"}
        return {
            "description": "\n".join([f"{HTTPStatus(status).phrase}.", *lines]),
            "content": {_JSON: {"schema": schema, "example": example}},
        }


def _kind_errors(route: Route) -> Iterator[tuple[str, str]]:
    """Yields the refusals of every route with a body, parameters or a name in its path."""
    if route.has_body or route.request.fields:
        yield "INVALID_ARGUMENT", "INVALID_REQUEST"
    if route.has_body:
        yield "INVALID_ARGUMENT", "PAYLOAD_TOO_LARGE"
    if route.path_fields:
        yield "NOT_FOUND", "ROUTE_NOT_FOUND"


def _event(data: Schema) -> Schema:
    """Returns the schema of one server-sent event, as OpenAPI 3.2 would have it per item."""
    return {
        "type": "object",
        "description": "One event of the stream.",
        "properties": {
            "id": {"type": "string", "description": "Resumes after this event."},
            "event": {"type": "string", "description": "Is the kind of the event."},
            "data": {
                "type": "string",
                "contentMediaType": _JSON,
                "contentSchema": data,
                "description": "Is one line of JSON.",
            },
        },
        "required": ["event", "data"],
    }


def _header(name: str, description: str, schema: Schema) -> Schema:
    return {
        "name": name,
        "in": "header",
        "description": description,
        "required": False,
        "schema": schema,
    }


def main(arguments: Sequence[str]) -> None:
    """Reads a descriptor set with source info; writes the named file, else the committed one."""
    source, *named = arguments
    words = words_of(FileDescriptorSet.FromString(Path(source).read_bytes()))
    (Path(named[0]) if named else FILE).write_bytes(encoded(document(words)))


if __name__ == "__main__":
    main(sys.argv[1:])
