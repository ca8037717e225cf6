"""What callers are told by an Envoy whose server is away."""

from __future__ import annotations

import asyncio
import http.client
import json

import pytest

from tests.support.envoy import running_envoy

NOBODY = "127.0.0.1:1"


@pytest.fixture
async def door():
    async with running_envoy(NOBODY) as door:
        yield door


def get(address, path, accept):
    connection = http.client.HTTPConnection(address, timeout=20)
    try:
        connection.request("GET", path, headers={"accept": accept})
        answer = connection.getresponse()
        return answer.status, answer.headers["content-type"], answer.read()
    finally:
        connection.close()


async def test_a_caller_is_told_to_try_again(door):
    path = "/api/v1/workflows"
    status, kind, body = await asyncio.to_thread(get, door.address, path, "application/json")
    assert (status, kind) == (503, "application/json")
    assert json.loads(body)["reason"] == "UNAVAILABLE"


async def test_an_event_source_gets_a_stream_that_ends(door):
    # At any other status but 200 a browser closes its EventSource for good.
    path = "/api/v1/events/stream"
    status, kind, body = await asyncio.to_thread(get, door.address, path, "text/event-stream")
    assert (status, kind) == (200, "text/event-stream")
    assert body.startswith(b": ")
    assert body.endswith(b"\n\n")
