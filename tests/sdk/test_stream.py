"""When a conversation pings, gives up and begins again."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from perdure import _stream
from perdure._stream import Conversation
from perdure.v1.workflow_service_pb2 import SessionRequest, SessionResponse
from tests.sdk.fakes import FakeTransport


class Party:
    """Says what it is told to, and notes what it hears."""

    def __init__(self):
        self.heard = asyncio.Queue()
        self.breaks = asyncio.Queue()

    def opening(self, ping):
        return SessionRequest(ping=ping)

    def next_request(self, ping):
        return SessionRequest(ping=ping) if ping else None

    def received(self, response):
        if response.pong == 666:
            raise ValueError("a message of the devil")
        self.heard.put_nowait(response.pong)

    def broken(self, error, down_s):
        self.breaks.put_nowait((error, down_s))


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    monkeypatch.setattr(_stream, "_TICK_S", 0.002)
    monkeypatch.setattr(_stream, "SILENCE_S", 0.02)
    monkeypatch.setattr(_stream, "_STALL_S", 1000.0)
    monkeypatch.setattr(_stream, "_BACKOFF_FIRST_S", 0.0)
    monkeypatch.setattr(_stream, "_BACKOFF_MAX_S", 0.0)


@pytest.fixture
async def transport():
    return FakeTransport()


@pytest.fixture
async def party():
    return Party()


@pytest.fixture
async def conversation(transport, party):
    conversation = Conversation(transport, "WorkflowService/Session", party)
    running = asyncio.create_task(conversation.run())
    yield conversation
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def test_it_pings_and_lives_on_the_answers(conversation, transport, party, monkeypatch):
    # A machine that is busy for a moment is not a silent server.
    monkeypatch.setattr(_stream, "_STALL_S", 0.01)
    stream = await transport.accept()
    for _ in range(30):
        stream.say(SessionResponse(pong=(await stream.request()).ping))

    assert [await party.heard.get() for _ in range(30)] == list(range(1, 31))
    assert party.breaks.empty()


async def test_a_silent_server_is_given_up(conversation, transport, party):
    await transport.accept()

    error, down_s = await party.breaks.get()
    assert "no word" in str(error)
    assert down_s >= 0.02
    await transport.accept()


async def test_a_process_that_was_stopped_reads_before_it_judges(
    conversation, transport, party, monkeypatch
):
    # Every tick is late, as after a stop: silence cannot be told from messages not yet read.
    monkeypatch.setattr(_stream, "_STALL_S", 0.0)
    stream = await transport.accept()
    for _ in range(30):
        await stream.request()

    assert party.breaks.empty()


async def test_a_stream_that_ends_is_opened_again(conversation, transport, party):
    for _ in range(3):
        stream = await transport.accept()
        await stream.request()
        stream.end()
        error, _ = await party.breaks.get()
        assert error.code == "UNAVAILABLE"


async def test_a_message_that_cannot_be_handled_costs_the_stream_only(
    conversation, transport, party, caplog
):
    (await transport.accept()).say(SessionResponse(pong=666))
    await party.breaks.get()
    assert "could not be handled" in caplog.text

    (await transport.accept()).say(SessionResponse(pong=1))
    assert await party.heard.get() == 1


async def test_it_leaves_when_the_party_asks(conversation, transport, party):
    first = await transport.accept()
    conversation.reconnect()
    first.say(SessionResponse(pong=1))

    second = await transport.accept()
    assert second is not first


async def test_backoff_grows_to_its_bound_and_starts_anew(monkeypatch, transport, party):
    monkeypatch.setattr(_stream, "_BACKOFF_FIRST_S", 0.05)
    monkeypatch.setattr(_stream, "_BACKOFF_MAX_S", 2.0)
    conversation = Conversation(transport, "WorkflowService/Session", party)

    delays = [conversation._next_backoff() for _ in range(8)]
    bounds = [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    assert all(bound / 2 <= delay <= bound for delay, bound in zip(delays, bounds, strict=True))
