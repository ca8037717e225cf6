"""The server behind its REST door, called as Envoy would call it: no Envoy runs."""

from __future__ import annotations

import json
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

import grpc
from google.api.httpbody_pb2 import HttpBody

from perdure.v1 import watch_service_pb2, worker_service_pb2, workflow_service_pb2
from perdure_server.api.interceptors import Interceptors
from perdure_server.api.rpcs import rpcs_of
from perdure_server.rest.interceptor import RestDoor
from perdure_server.rest.options import routes_of

ERROR_ID = "e-1"
SERVICES = {
    name: service
    for file in (workflow_service_pb2, worker_service_pb2, watch_service_pb2)
    for name, service in file.DESCRIPTOR.services_by_name.items()
}
ROUTES = routes_of(SERVICES.values())


class Fake:
    """Answers the RPCs of one service as the test says."""

    def __init__(self, service, **behaviours):
        self.DESCRIPTOR = SERVICES[service]
        for method in self.DESCRIPTOR.methods:
            setattr(self, method.name, behaviours.get(method.name))


@dataclass
class Answer:
    """What Envoy would turn into an HTTP answer."""

    status: int
    headers: dict
    content_type: str
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


class Envoy:
    """Sends requests as Envoy does once it has found the route."""

    def __init__(self, address):
        self.channel = grpc.aio.insecure_channel(address, [("grpc.max_metadata_size", 128 * 1024)])

    async def get(self, url, **headers):
        return await self.call("GET", url, **headers)

    async def post(self, url, body=b"", **headers):
        return await self.call("POST", url, body, **headers)

    async def call(self, verb, url, body=b"", *, timeout=None, **headers):
        route, request = route_of(verb, url, body)
        method = f"/{route.service}/{route.method}"
        call = self.channel.unary_unary(method)(
            request, metadata=metadata_of(verb, url, headers), timeout=timeout
        )
        answer = HttpBody.FromString(await call)
        return await _answer(call, answer)

    def open(self, url, **headers):
        """Opens a stream; its messages are what Envoy flushes one by one."""
        route, request = route_of("GET", url)
        method = f"/{route.service}/{route.method}"
        call = self.channel.unary_stream(method)(request, metadata=metadata_of("GET", url, headers))
        return Stream(call)


class Stream:
    """A stream of messages under way."""

    def __init__(self, call):
        self.call = call

    async def next(self):
        """Returns the next message; None at the clean end."""
        message = await self.call.read()
        if message is grpc.aio.EOF:
            assert await self.call.code() is grpc.StatusCode.OK
            return None
        return (await self.answer(message)).body

    async def first(self):
        return await self.answer(await self.call.read())

    async def answer(self, message):
        return await _answer(self.call, HttpBody.FromString(message))

    async def rest(self):
        """Returns all that comes until the end, joined."""
        parts = []
        while (part := await self.next()) is not None:
            parts.append(part)
        return b"".join(parts)

    def leave(self):
        self.call.cancel()


@asynccontextmanager
async def serving(*services, ping_seconds=60.0):
    """Serves fakes; gives what tests call, with the inside of the server."""
    interceptors = Interceptors(monotonic_us=lambda: 0, error_id=lambda: ERROR_ID)
    handlers = interceptors.handlers(rpcs_of(services))
    door = RestDoor(handlers, ROUTES, error_id=lambda: ERROR_ID, ping_seconds=ping_seconds)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((door,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    envoy = Envoy(f"127.0.0.1:{port}")
    envoy.interceptors, envoy.door = interceptors, door
    try:
        yield envoy
    finally:
        await envoy.channel.close()
        await server.stop(0)


def route_of(verb, url, body=b""):
    """Finds the route of a URL and builds the request that carries its path fields and body."""
    path = url.partition("?")[0]
    for route in ROUTES:
        pattern = re.sub(r"\{\w+\}", "([^/]*)", route.path.replace(".", r"\."))
        if route.verb == verb and (found := re.fullmatch(pattern, path)):
            break
    else:
        raise LookupError(f"{verb} {path}")
    request = b"".join(
        _field(route.request.fields_by_name[name].number, unquote_to_bytes(value))
        for name, value in zip(route.path_fields, found.groups(), strict=True)
    )
    if body:
        assert route.has_body
        request += _field(1000, HttpBody(content_type="x", data=body).SerializeToString())
    return route, request


def metadata_of(verb, url, headers):
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return (("x-envoy-original-method", verb), ("x-envoy-original-path", url), *named)


def _field(number, data):
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


async def _answer(call, body):
    headers = dict(await call.initial_metadata())
    status = int(headers.pop("x-http-code", 200))
    return Answer(status, headers, body.content_type, body.data)
