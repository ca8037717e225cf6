"""A transport whose server is the test, message by message."""

from __future__ import annotations

import asyncio
from contextlib import suppress


class FakeStream:
    """One stream as the server sees it."""

    def __init__(self):
        self.requests = asyncio.Queue()
        self.responses = asyncio.Queue()

    async def request(self):
        """The next message of the client."""
        return await self.requests.get()

    async def request_with(self, field):
        """The next message of the client that says `field`."""
        while True:
            request = await self.requests.get()
            if any(known.name == field for known, _ in request.ListFields()):
                return request

    def say(self, response):
        self.responses.put_nowait(response)

    def end(self, error=None):
        self.responses.put_nowait(error)


class FakeTransport:
    """Gives each stream to the test, through `accept`."""

    def __init__(self):
        self.streams = asyncio.Queue()
        self.answers = {}

    async def accept(self):
        return await self.streams.get()

    async def open(self):
        pass

    async def call(self, method, request, *, timeout_s=None):
        return self.answers[method](request)

    async def stream(self, method, requests):
        stream = FakeStream()
        self.streams.put_nowait(stream)
        reader = asyncio.create_task(self._read(stream, requests))
        try:
            while True:
                response = await stream.responses.get()
                if response is None:
                    return
                if isinstance(response, Exception):
                    raise response
                yield response
        finally:
            reader.cancel()
            with suppress(asyncio.CancelledError):
                await reader

    async def close(self):
        pass

    async def _read(self, stream, requests):
        async for request in requests:
            stream.requests.put_nowait(request)
