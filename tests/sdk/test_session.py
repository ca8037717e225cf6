"""The session of a client, message by message."""

from __future__ import annotations

import asyncio

import pytest

from perdure import _session, _stream
from perdure._session import Session
from perdure.errors import RpcError, StoreBusyError, UnavailableError, from_reason
from perdure.v1 import workflow_service_pb2 as pb
from tests.sdk.fakes import FakeTransport

AWAY = from_reason("", "the server is away", "UNAVAILABLE")


@pytest.fixture(autouse=True)
def no_backoff(monkeypatch):
    monkeypatch.setattr(_stream, "_BACKOFF_FIRST_S", 0.0)
    monkeypatch.setattr(_stream, "_BACKOFF_MAX_S", 0.0)


@pytest.fixture
async def transport():
    return FakeTransport()


@pytest.fixture
async def session(transport):
    session = Session(transport, patience_s=1000)
    yield session
    await session.close()


@pytest.fixture
async def asking(session):
    """Begins a call and gives the future of its outcome."""
    numbers = iter(range(1, 1_000_000))

    def ask(**call):
        future = asyncio.get_running_loop().create_future()
        session.begin(next(numbers), pb.SessionCall(**call), future.set_result)
        return future

    return ask


def start(name="w"):
    return {"start": pb.StartWorkflowRequest(workflow_id=name, request_id=f"request of {name}")}


def reply(call_id, run_id):
    answer = pb.StartWorkflowResponse(run_id=run_id)
    return pb.SessionResponse(replies=[pb.SessionReply(call_id=call_id, start=answer)])


async def test_calls_of_one_moment_travel_in_one_message(transport, asking):
    outcomes = [asking(**start(f"w{number}")) for number in range(3)]
    stream = await transport.accept()

    request = await stream.request()
    assert [call.start.workflow_id for call in request.calls] == ["w0", "w1", "w2"]
    for number in (3, 1, 2):
        stream.say(reply(number, f"run {number}"))
    assert [(await outcome).run_id for outcome in outcomes] == ["run 1", "run 2", "run 3"]


async def test_unanswered_calls_are_sent_again_on_the_next_stream(transport, asking):
    outcomes = [asking(**start(f"w{number}")) for number in range(3)]
    first = await transport.accept()
    await first.request()
    first.say(reply(2, "run 2"))
    assert (await outcomes[1]).run_id == "run 2"
    first.end(AWAY)

    second = await transport.accept()
    request = await second.request()
    assert [call.start.request_id for call in request.calls] == [
        "request of w0",
        "request of w2",
    ]
    second.say(reply(1, "run 1"))
    second.say(reply(3, "run 3"))
    assert [(await outcomes[at]).run_id for at in (0, 2)] == ["run 1", "run 3"]


async def test_an_error_reply_fails_its_call_alone(transport, asking):
    refused, accepted = asking(**start("a")), asking(**start("b"))
    stream = await transport.accept()
    await stream.request()
    failed = pb.SessionReply(call_id=1)
    failed.error.code = 14
    failed.error.message = "later"
    failed.error.details.add().Pack(_error_info("STORE_BUSY"))
    stream.say(pb.SessionResponse(replies=[failed]))
    stream.say(reply(2, "run b"))

    assert isinstance(await refused, StoreBusyError)
    assert (await accepted).run_id == "run b"


async def test_an_abandoned_call_is_not_sent_again(transport, session, asking):
    asking(**start("a"))
    kept = asking(**start("b"))
    first = await transport.accept()
    await first.request()
    session.abandon(1)
    first.end()

    second = await transport.accept()
    assert [call.call_id for call in (await second.request()).calls] == [2]
    # Its answer, from whatever stream, is nobody's.
    second.say(reply(1, "run a"))
    second.say(reply(2, "run b"))
    assert (await kept).run_id == "run b"


async def test_the_server_is_told_of_an_abandoned_call(transport, session, asking, monkeypatch):
    monkeypatch.setattr(_session, "CALLS_MAX", 1)
    asking(**start("a"))
    kept = asking(**start("b"))
    stream = await transport.accept()
    assert [call.call_id for call in (await stream.request()).calls] == [1]
    session.abandon(1)
    second = await stream.request()
    assert list(second.abandoned_call_ids) == [1]
    calls = [*second.calls] or [*(await stream.request()).calls]
    assert [call.call_id for call in calls] == [2]
    stream.say(reply(2, "run b"))
    assert (await kept).run_id == "run b"


async def test_only_so_many_calls_wait_at_the_server(transport, asking, monkeypatch):
    monkeypatch.setattr(_session, "CALLS_MAX", 2)
    outcomes = [asking(**start(f"w{number}")) for number in range(3)]
    stream = await transport.accept()

    assert [call.call_id for call in (await stream.request()).calls] == [1, 2]
    stream.say(reply(1, "run 1"))
    assert [call.call_id for call in (await stream.request()).calls] == [3]
    stream.say(reply(2, "run 2"))
    stream.say(reply(3, "run 3"))
    assert [(await outcome).run_id for outcome in outcomes] == ["run 1", "run 2", "run 3"]


async def test_a_message_carries_only_so_much(transport, asking, monkeypatch):
    monkeypatch.setattr(_session, "BATCH_BYTES_MAX", 1)
    for number in range(2):
        asking(**start(f"w{number}"))
    stream = await transport.accept()

    assert [len((await stream.request()).calls) for _ in range(2)] == [1, 1]


@pytest.mark.parametrize("code", ["UNIMPLEMENTED", "UNAUTHENTICATED", "PERMISSION_DENIED"])
async def test_a_server_that_refuses_the_stream_fails_the_calls(transport, asking, code):
    outcome = asking(**start())
    (await transport.accept()).end(from_reason("", "not here", code))

    assert (await outcome).code == code
    assert transport.streams.empty()


async def test_a_server_that_refused_is_asked_again_with_the_next_call(transport, asking):
    refused = asking(**start("w1"))
    (await transport.accept()).end(from_reason("UNAUTHENTICATED", "no key", "UNAUTHENTICATED"))
    await refused

    served = asking(**start("w2"))
    stream = await transport.accept()
    (call,) = (await stream.request()).calls
    assert call.start.workflow_id == "w2"
    stream.say(reply(call.call_id, "run 2"))
    assert (await served).run_id == "run 2"


async def test_patience_ends(transport):
    session = Session(transport, patience_s=0)
    outcome = asyncio.get_running_loop().create_future()
    session.begin(1, pb.SessionCall(**start()), outcome.set_result)
    (await transport.accept()).end(AWAY)

    assert isinstance(await outcome, UnavailableError)
    await session.close()


async def test_closing_fails_what_waits(transport, session, asking):
    outcome = asking(**start())
    await session.close()

    assert isinstance(await outcome, RpcError)


def _error_info(reason):
    from google.rpc.error_details_pb2 import ErrorInfo

    return ErrorInfo(reason=reason, domain="perdure")
