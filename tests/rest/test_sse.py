"""Streams as server-sent events: frames, resuming, pings, back-pressure, clean ends."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging

import grpc
import pytest

from perdure.v1 import watch_service_pb2 as watching
from perdure.v1 import worker_service_pb2 as working
from perdure_server.core.errors import CursorExpired, Unauthenticated, WatcherTooSlow
from perdure_server.rest.sse import ENDING, OPENING, PING, event, last_words
from perdure_server.rest.statuses import Refusal
from tests.rest.door import ERROR_ID, Fake, serving
from tests.support.quiet import until_quiet

URL = "/api/v1/events/stream"


def watcher(watch):
    return Fake("WatchService", Watch=watch)


def cursor(number):
    return watching.WatchResponse(cursor=f"c{number}")


def signal(number):
    answer = watching.WatchResponse(cursor=f"c{number}", kind="signal_received", workflow_id="w")
    answer.event.seq = number
    return answer


def large_signal(number):
    answer = signal(number)
    answer.event.signal_received.payload.data = b'"%b"' % (b"x" * 1_000_000)
    return answer


def parsed(frame):
    """Returns one event as a browser would see it."""
    assert frame.endswith(b"\n\n")
    assert frame.count(b"\n\n") == 1
    return dict(line.split(": ", 1) for line in frame.decode().splitlines() if line)


def test_an_event_has_id_kind_and_data():
    assert event("c1", "k", b"{}") == b"id: c1\nevent: k\ndata: {}\n\n"
    assert event("", "k", b"{}") == b"event: k\ndata: {}\n\n"


def test_a_batch_without_a_number_does_not_move_the_place():
    assert event("0", "tasks", b"{}") == b"event: tasks\ndata: {}\n\n"


def test_without_a_kind_only_the_place_moves():
    assert event("c1", "", b"{}") == b"id: c1\n\n"
    assert event("", "", b"{}") == b""


def test_an_error_is_an_event_and_a_stop_is_none():
    refusal = Refusal(429, "too slow", reason="WATCHER_TOO_SLOW")
    assert last_words(refusal) == (
        b'event: error\ndata: {"error":"too slow","reason":"WATCHER_TOO_SLOW","details":{}}\n\n'
    )
    assert last_words(Refusal(503, "x", reason="SHUTTING_DOWN")) == ENDING
    assert ENDING.startswith(b":")


async def test_the_opening_comes_with_the_first_message_at_once():
    go_on = asyncio.Event()

    async def watch(request):
        yield cursor(1)
        await go_on.wait()
        yield signal(2)

    async with serving(watcher(watch)) as envoy:
        stream = envoy.open(URL)
        first = await stream.first()
        assert (first.status, first.content_type) == (200, "text/event-stream")
        assert first.headers == {"cache-control": "no-cache"}
        assert first.body == OPENING + b"id: c1\n\n"
        go_on.set()
        seen = parsed(await stream.next())
        assert await stream.next() is None
    assert (seen["id"], seen["event"]) == ("c2", "signal_received")
    shown = json.loads(seen["data"])
    assert list(shown) == [
        "id",
        "kind",
        "namespace",
        "workflow_id",
        "run_id",
        "seq",
        "timestamp",
        "payload",
    ]
    assert (shown["id"], shown["workflow_id"], shown["seq"]) == ("c2", "w", 2)


async def test_an_answer_may_be_bytes_already():
    async def watch(request):
        yield cursor(1).SerializeToString()

    async with serving(watcher(watch)) as envoy:
        assert await envoy.open(URL).rest() == OPENING + b"id: c1\n\n"


async def test_a_stream_without_messages_is_one_still():
    async def watch(request):
        for number in ():
            yield cursor(number)

    async with serving(watcher(watch)) as envoy:
        stream = envoy.open(URL)
        first = await stream.first()
        assert (first.content_type, first.body) == ("text/event-stream", OPENING)
        assert await stream.next() is None


async def test_filters_come_from_the_query():
    requests = []

    async def watch(request):
        requests.append(request)
        yield cursor(1)

    async with serving(watcher(watch)) as envoy:
        await envoy.open(f"{URL}?workflow_id=a%2Fb&type=T&kind=x&kind=y&after=c7&nosuch=1").rest()
    assert requests == [
        watching.WatchRequest(workflow_id="a/b", workflow_type="T", kinds=["x", "y"], after="c7")
    ]


@pytest.mark.parametrize(
    ("query", "headers", "after"),
    [
        ("?after=c1", {"last_event_id": "c2"}, "c2"),
        ("", {"last_event_id": "c2"}, "c2"),
        ("?after=c1", {"last_event_id": ""}, "c1"),
        ("?after=c1", {}, "c1"),
    ],
)
async def test_the_last_event_id_wins_over_the_query(query, headers, after):
    requests = []

    async def watch(request):
        requests.append(request)
        yield cursor(1)

    async with serving(watcher(watch)) as envoy:
        await envoy.open(URL + query, **headers).rest()
    assert requests[0].after == after


def tasks(stream_tasks):
    return Fake("WorkerService", StreamTasks=stream_tasks)


TASKS_URL = "/api/v1/tasks/stream?queue=q&worker_id=w&slots=5"


async def test_a_batch_number_resumes_a_stream_of_tasks():
    requests = []

    async def stream_tasks(request):
        requests.append(request)
        yield working.StreamTasksResponse(batch=8)

    async with serving(tasks(stream_tasks)) as envoy:
        frames = await envoy.open(TASKS_URL, last_event_id="7").rest()
    assert (requests[0].received_batch, requests[0].slots.workflow_tasks) == (7, 5)
    seen = parsed(frames.removeprefix(OPENING))
    assert (seen["id"], seen["event"], json.loads(seen["data"])["batch"]) == ("8", "tasks", 8)


@pytest.mark.parametrize("number", ["x", "-1", "99999999999999999999999"])
async def test_a_last_event_id_that_is_none_is_refused(number):
    async with serving(tasks(None)) as envoy:
        answer = await envoy.open(TASKS_URL, last_event_id=number).first()
    assert (answer.status, answer.json["details"]) == (400, {"field": "Last-Event-ID"})
    assert answer.json["reason"] == "INVALID_REQUEST"


async def test_an_error_before_the_first_message_is_a_status():
    async def watch(request):
        raise CursorExpired("the cursor is older than what is kept")
        yield

    async with serving(watcher(watch)) as envoy:
        stream = envoy.open(URL)
        answer = await stream.first()
        assert await stream.next() is None
    assert (answer.status, answer.content_type) == (410, "application/json")
    assert answer.json == {
        "error": "the cursor is older than what is kept",
        "reason": "CURSOR_EXPIRED",
        "details": {},
    }


async def test_an_error_after_the_first_message_is_an_event():
    async def watch(request):
        yield cursor(1)
        raise WatcherTooSlow("the watcher fell behind")

    async with serving(watcher(watch)) as envoy:
        stream = envoy.open(URL)
        assert await stream.next() == OPENING + b"id: c1\n\n"
        seen = parsed(await stream.next())
        assert await stream.next() is None
    assert seen["event"] == "error"
    assert json.loads(seen["data"])["reason"] == "WATCHER_TOO_SLOW"


async def test_a_fault_after_the_first_message_is_told_by_its_id(caplog):
    async def watch(request):
        yield cursor(1)
        yield "no message at all"

    async with serving(watcher(watch)) as envoy:
        frames = await envoy.open(URL).rest()
    seen = parsed(frames.split(b"\n\n", 2)[2])
    told = json.loads(seen["data"])
    assert (seen["event"], told["reason"]) == ("error", "INTERNAL")
    assert ERROR_ID in told["error"]
    (line,) = [record for record in caplog.records if record.name.endswith("failures")]
    assert line.fields == {"method": "perdure.v1.WatchService/Watch", "error_id": ERROR_ID}


async def test_pings_come_while_nothing_else_does():
    async def watch(request):
        yield cursor(1)
        await asyncio.Event().wait()

    async with serving(watcher(watch), ping_seconds=0.001) as envoy:
        stream = envoy.open(URL)
        assert (await stream.first()).body == OPENING + b"id: c1\n\n"
        assert [await stream.next() for _ in range(3)] == [PING] * 3


async def test_a_stream_opens_even_when_its_first_message_is_late():
    late = asyncio.Event()

    async def watch(request):
        await late.wait()
        raise WatcherTooSlow("too late for a status")
        yield

    async with serving(watcher(watch), ping_seconds=0.001) as envoy:
        stream = envoy.open(URL)
        assert (await stream.first()).body == OPENING + PING
        late.set()
        assert b"event: error" in await stream.rest()


async def test_pings_never_tear_an_event():
    async def watch(request):
        for number in range(300):
            yield signal(number)
            await asyncio.sleep(0)

    async with serving(watcher(watch), ping_seconds=0) as envoy:
        frames = (await envoy.open(URL).rest()).split(b"\n\n")
    events = [frame for frame in frames if frame and not frame.startswith(b":")]
    assert [json.loads(frame.split(b"data: ")[1])["seq"] for frame in events] == list(range(300))


async def test_a_slow_reader_holds_back_the_stream():
    made = []

    async def watch(request):
        for number in itertools.count():
            made.append(number)
            yield large_signal(number)

    async with serving(watcher(watch)) as envoy:
        stream = envoy.open(URL)
        await stream.first()
        await until_quiet(made)
        assert len(made) < 100  # gRPC itself holds some MB
        assert await stream.next()
        stream.leave()


async def test_a_reader_that_leaves_ends_everything_of_its_stream(caplog):
    ended = asyncio.Event()

    async def watch(request):
        try:
            yield cursor(1)
            await asyncio.Event().wait()
        finally:
            ended.set()

    with caplog.at_level(logging.INFO):
        async with serving(watcher(watch), ping_seconds=0.001) as envoy:
            before = asyncio.all_tasks()
            stream = envoy.open(URL)
            await stream.first()
            stream.leave()
            await ended.wait()
            await _gone(before)
    assert [line.fields["code"] for line in caplog.records if line.name.endswith("access")] == [
        "CANCELLED"
    ]
    assert not [line for line in caplog.records if line.levelno >= logging.WARNING]


async def test_a_reader_that_leaves_in_the_middle_of_a_message_ends_its_stream(caplog):
    ended, begun = asyncio.Event(), asyncio.Event()

    async def watch(request):
        try:
            yield cursor(1)
            begun.set()
            while True:
                yield large_signal(1)
        finally:
            ended.set()

    async with serving(watcher(watch)) as envoy:
        before = asyncio.all_tasks()
        stream = envoy.open(URL)
        await stream.first()
        await begun.wait()
        stream.leave()
        await ended.wait()
        await _gone(before)
    assert not [line for line in caplog.records if line.levelno >= logging.WARNING]


async def _gone(before):
    """Returns when no more tasks are left than there were, and gRPC's own that accepts calls."""
    left = asyncio.all_tasks() - before
    ours = [task for task in left if "_request_call" not in task.get_coro().__qualname__]
    await asyncio.gather(*ours, return_exceptions=True)


async def test_streams_end_cleanly_when_the_server_stops():
    async def watch(request):
        yield cursor(1)
        await asyncio.Event().wait()

    async with serving(watcher(watch)) as envoy:
        stream = envoy.open(URL)
        await stream.first()
        envoy.interceptors.end_streams()
        assert await stream.rest() == ENDING


async def test_a_slow_readers_stream_ends_cleanly_too(caplog):
    made = []

    async def watch(request):
        for number in itertools.count():
            made.append(number)
            yield large_signal(number)

    async with serving(watcher(watch)) as envoy:
        stream = envoy.open(URL)
        await stream.first()
        await until_quiet(made)
        envoy.interceptors.end_streams()
        rest = await stream.rest()
    assert rest.count(b"event: signal_received") == len(made) - 1
    assert rest.endswith(b"}\n\n" + ENDING)
    assert not [line for line in caplog.records if line.levelno >= logging.WARNING]


async def test_a_slow_reader_is_told_why_its_stream_ends():
    made = []

    async def watch(request):
        made.append(asyncio.current_task())
        while True:
            made.append(1)
            yield large_signal(1)

    async with serving(watcher(watch)) as envoy:
        stream = envoy.open(URL)
        await stream.first()
        await until_quiet(made)
        envoy.interceptors.end_stream(made[0], Unauthenticated("the key was revoked"))
        envoy.interceptors.end_streams()
        seen = parsed(b"event: error" + (await stream.rest()).rpartition(b"event: error")[2])
    assert json.loads(seen["data"])["reason"] == "UNAUTHENTICATED"


async def test_a_server_that_stops_refuses_new_streams_by_a_status():
    waiting = asyncio.Event()

    async def watch(request):
        waiting.set()
        await asyncio.Event().wait()
        yield

    async with serving(watcher(watch)) as envoy:
        stream = envoy.open(URL)
        await waiting.wait()
        envoy.interceptors.end_streams()
        answer = await stream.first()
    assert (answer.status, answer.json["reason"]) == (503, "SHUTTING_DOWN")


async def test_native_callers_get_messages():
    async def watch(request):
        yield cursor(1)

    async with serving(watcher(watch)) as envoy:
        call = envoy.channel.unary_stream("/perdure.v1.WatchService/Watch")(b"")
        assert watching.WatchResponse.FromString(await call.read()) == cursor(1)
        assert await call.read() is grpc.aio.EOF
