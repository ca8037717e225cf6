"""A plain HTTP caller with a connection for each call."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

PATIENCE_SECONDS = 30
"""How long an answer may take before a test calls it hanging: longer than a busy machine needs."""


@dataclass
class Answer:
    """What came back; of a stream only the head."""

    status: int
    headers: dict
    body: bytes = b""

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def reason(self):
        return self.json["reason"]

    @property
    def streams(self):
        return self.headers.get("content-type") == "text/event-stream"


class Rest:
    """Calls a server through its Envoy."""

    def __init__(self, address: str) -> None:
        self._host, _, self._port = address.rpartition(":")

    async def call(self, verb: str, url: str, body: str = "", **headers: str) -> Answer:
        """Makes one call; of a stream it reads the head and leaves."""
        async with self.opened(verb, url, body, **headers) as (answer, _):
            return answer

    @asynccontextmanager
    async def opened(self, verb: str, url: str, body: str = "", **headers: str):
        """Lends an answer and the events that follow it, if it is a stream."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            reader, writer = await asyncio.open_connection(self._host, int(self._port))
        try:
            writer.write(_request(verb, url, body.encode(), headers))
            async with asyncio.timeout(PATIENCE_SECONDS):
                answer = await _answer(reader)
            yield answer, _events(reader)
        finally:
            writer.close()


def _request(verb: str, url: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    said = {"host": "side", "content-length": str(len(body)), **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in said.items())
    return f"{verb} {url} HTTP/1.1\r\n{lines}\r\n".encode() + body


async def _answer(reader: asyncio.StreamReader) -> Answer:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines if line)
    answer = Answer(int(first.split()[1]), headers)
    if headers.get("transfer-encoding") != "chunked":
        answer.body = await reader.readexactly(int(headers.get("content-length", 0)))
    elif not answer.streams:
        answer.body = b"".join([part async for part in _parts(reader)])
    return answer


async def _events(reader: asyncio.StreamReader) -> AsyncIterator[dict]:
    """Reads the events of a stream, each as its fields; comments say nothing."""
    said = b""
    async for part in _parts(reader):
        *whole, said = (said + part).split(b"\n\n")
        for event in whole:
            lines = [line for line in event.decode().split("\n") if not line.startswith(":")]
            if any(lines):
                yield dict(line.split(": ", 1) for line in lines)
    assert not said, "the stream ended within an event"


async def _parts(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while size := int(await reader.readuntil(b"\r\n"), 16):
        yield (await reader.readexactly(size + 2))[:-2]
