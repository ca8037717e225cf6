"""Codecs: what leaves the process is encoded, whatever message it is in, and comes back."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import sys
from dataclasses import dataclass
from datetime import timedelta

import pytest
import typer

from perdure import (
    ActivityError,
    ApplicationError,
    Client,
    Codec,
    Compression,
    PayloadError,
    RetryPolicy,
    SealedFailures,
    StepError,
    Worker,
    WorkflowFailedError,
    activity,
    query,
    signal,
    update,
    workflow,
)
from perdure._cli.codecs import with_codecs
from perdure._transport import GrpcTransport
from perdure.codec import Codecs, payloads_of
from perdure.converter import PAYLOAD_BYTES_MAX, Converter
from perdure.errors import RpcError
from perdure.interceptors import ClientInterceptor
from perdure.testing import Environment
from perdure.v1.failure_pb2 import Failure, FailureKind
from perdure.v1.history_pb2 import HistoryEvent
from perdure.v1.payload_pb2 import Payload
from perdure.v1.task_pb2 import WorkflowTask
from perdure.v1.watch_service_pb2 import WatchWorkflowRequest
from perdure.v1.workflow_service_pb2 import GetWorkflowHistoryRequest, GetWorkflowRequest


class Turned(Codec):
    """Stands in for encryption: nobody reads it by chance."""

    encoding = "test/turned"

    def encode(self, data):
        return data[::-1]

    def decode(self, data):
        return data[::-1]


class Slow(Codec):
    """Asks somebody else, as one does for keys."""

    encoding = "test/slow"

    async def encode(self, data):
        await asyncio.sleep(0)
        return b"slow" + data

    async def decode(self, data):
        await asyncio.sleep(0)
        return data.removeprefix(b"slow")


class Signed(Codec):
    encoding = "test/signed"

    def __init__(self, key):
        self.key = key

    def encode(self, data):
        return hmac.digest(self.key, data, hashlib.sha256) + data

    def decode(self, data):
        digest, data = data[:32], data[32:]
        if not hmac.compare_digest(digest, hmac.digest(self.key, data, hashlib.sha256)):
            raise ValueError("the signature is wrong")
        return data


@dataclass
class Secret:
    words: str


answers = signal("answers", Secret)


@activity(retry=RetryPolicy(max_attempts=2, initial_interval=timedelta(milliseconds=1)))
async def repeat(secret: Secret) -> Secret:
    if activity.info().attempt == 1:
        activity.heartbeat(Secret("beaten"))
        raise ApplicationError("again", details=Secret("detailed"))
    kept = activity.heartbeat_details(Secret)
    return Secret(f"{secret.words} {kept and kept.words}")


@activity
def repeat_in_thread(secret: Secret) -> Secret:
    activity.heartbeat()
    return secret


@workflow
async def tells(secret: Secret) -> Secret:
    answer = await answers.wait()
    first = await repeat(Secret(f"{secret.words} {answer.words}"))
    return await repeat_in_thread(first)


@workflow
async def fails(secret: Secret) -> None:
    raise ApplicationError("no", details=secret)


ALL = ([tells, fails], [repeat, repeat_in_thread])


@pytest.mark.parametrize("use_session", [True, False])
async def test_the_server_sees_nothing_that_the_codecs_did_not_make(address, use_session):
    codecs = [Compression(min_bytes=1), Turned(), Slow()]
    async with (
        Client.connect(address, codecs=codecs, use_session=use_session) as client,
        Worker(client, "q", *ALL, max_cached_runs=0),
        Client.connect(address) as eavesdropper,
    ):
        handle = await client.start(tells, Secret("hidden"))
        await handle.signal(answers, Secret("veiled"))
        assert await handle.result() == Secret("hidden veiled beaten")
        failed = await client.start(fails, Secret("hidden"))
        with pytest.raises(WorkflowFailedError) as caught:
            await failed.result()
        assert caught.value.__cause__.details == {"words": "hidden"}
        assert [event async for event in failed.watch()] == list((await failed.history()).events)

        raw, known = [], []
        for run in (handle, failed):
            seen = eavesdropper.get_handle(run.workflow_id)
            raw += list(payloads_of(await seen.history()))
            known += list(payloads_of(await run.history()))
    assert {payload.encoding for payload in raw} == {Slow.encoding}
    assert len(raw) == len(known) >= 8
    assert not [p for p in raw if any(w in p.data for w in (b"hidden", b"veiled", b"beaten"))]
    assert {Converter().decode(payload)["words"].split()[0] for payload in known} == {
        "hidden",
        "veiled",
    }


async def test_with_virtual_time_and_headers():
    class Names(ClientInterceptor):
        async def call(self, call, proceed):
            call.headers["by"] = "ada"
            return await proceed(call)

    async with Environment(*ALL, codecs=[Turned()], interceptors=[Names()]) as env:
        handle = await env.client.start(tells, Secret("hidden"))
        await handle.signal(answers, Secret("veiled"))
        assert await handle.result() == Secret("hidden veiled beaten")
        headers = (await handle.history()).events[0].workflow_started.headers
        assert [header.value.data for header in headers] == [b'"ada"']


async def test_what_was_written_without_codecs_is_still_read(address):
    async with Client.connect(address) as plain:
        handle = await plain.start(tells, Secret("open"), task_queue="q")
    async with (
        Client.connect(address, codecs=[Turned()]) as client,
        Worker(client, "q", *ALL),
    ):
        handle = client.get_handle(handle.workflow_id, result_type=Secret)
        await handle.signal(answers, Secret("veiled"))
        assert await handle.result() == Secret("open veiled beaten")


async def test_a_value_that_the_codec_refuses_fails_the_task():
    codec = Signed(b"theirs")
    async with Environment(*ALL, codecs=[codec]) as env:
        handle = await env.client.start(fails, Secret("hidden"), start_delay=timedelta(hours=1))
        codec.key = b"mine"
        with pytest.raises(RpcError, match="cannot decode a value of test/signed: the signature"):
            await handle.result()


class Broken(Turned):
    """Has no key for what says `broken`."""

    def encode(self, data):
        if b"broken" in data:
            raise RuntimeError("no key")
        return super().encode(data)


async def test_a_codec_that_breaks_on_the_way_out_is_a_failure_not_an_end(address, caplog):
    @activity(retry=RetryPolicy(max_attempts=1))
    async def gives(how: str) -> str:
        activity.heartbeat("broken heartbeat")
        if how == "raise":
            raise ApplicationError("no", details="broken")
        return "broken"

    @workflow
    async def asks(how: str) -> str:
        try:
            return await gives(how)
        except ActivityError as error:
            return error.type

    async with (
        Client.connect(address, codecs=[Broken()]) as client,
        Worker(client, "q", [asks], [gives]),
    ):
        for how in ("raise", "return"):
            assert await client.execute(asks, how) == "RuntimeError"
    assert "the details of a heartbeat are lost" in caplog.text


async def test_commands_that_cannot_be_encoded_fail_the_task():
    @workflow
    async def ends() -> str:
        return "broken"

    async with Environment([ends], codecs=[Broken()]) as env:
        with pytest.raises(RpcError, match="no key"):
            await env.client.execute(ends)


async def test_compression_is_used_where_it_helps():
    codecs = Codecs([Compression(min_bytes=100)])
    small, large = Payload(data=b"x" * 10), Payload(data=b"x" * 10_000, encoding="binary/plain")
    random = Payload(data=hashlib.shake_256(b"seed").digest(500))
    assert await codecs.encoded(small) == small
    assert await codecs.encoded(random) == random
    packed = await codecs.encoded(large)
    assert (packed.encoding, len(packed.data) < 100) == ("compressed/zlib", True)
    await codecs.decode(packed)
    assert packed == large
    assert large.encoding == "binary/plain"


async def test_a_chain_is_undone_in_reverse_and_needs_different_names():
    codecs = Codecs([Turned(), Slow()])
    payload = await codecs.encoded(Payload(data=b"abc"))
    assert payload.data.startswith(b"slow")
    await codecs.decode(payload)
    assert payload == Payload(data=b"abc")
    with pytest.raises(ValueError, match="same encoding"):
        Codecs([Turned(), Turned()])


def test_a_codec_goes_both_ways():
    class OneWay(Codec):
        encoding = "one/way"

        def encode(self, data):
            return data

    with pytest.raises(TypeError, match="decode"):
        OneWay()


async def test_a_payload_must_fit_when_the_codecs_are_done():
    class Longer(Turned):
        def encode(self, data):
            return data * 2

    with pytest.raises(PayloadError, match="passed the codecs"):
        await Codecs([Longer()]).encoded(Payload(data=b"x" * PAYLOAD_BYTES_MAX))


def test_every_payload_is_found_wherever_it_stands():
    inner = Failure(details=Payload(data=b"2"), cause=Failure(details=Payload(data=b"3")))
    event = HistoryEvent()
    event.workflow_started.input.data = b"1"
    event.workflow_started.headers.add(name="h").value.data = b"h"
    task = WorkflowTask()
    task.history.events.extend([event, HistoryEvent(workflow_failed={"failure": inner})])
    assert [payload.data for payload in payloads_of(task)] == [b"1", b"h", b"2", b"3"]
    assert list(payloads_of(GetWorkflowRequest(workflow_id="o"))) == []


async def test_without_codecs_nothing_is_copied():
    message = Payload(data=b"1")
    codecs = Codecs()
    assert not codecs
    assert await codecs.encoded(message) is message
    await codecs.decode(message)


THEIRS = [Compression(min_bytes=1), Turned()]
BROKEN = ["not a codec"]


async def test_the_command_line_uses_the_codecs_that_are_named(address, monkeypatch):
    monkeypatch.setitem(sys.modules, "codecs_of_a_test", sys.modules[__name__])
    async with (
        Client.connect(address, codecs=THEIRS) as client,
        Worker(client, "q", *ALL),
    ):
        handle = await client.start(fails, Secret("hidden"))
        with pytest.raises(WorkflowFailedError):
            await handle.result()
        for named, word in (("", b""), ("codecs_of_a_test:THEIRS", b"hidden")):
            monkeypatch.setenv("PERDURE_CODECS", named)
            transport = with_codecs(GrpcTransport(address))
            await transport.open()
            request = GetWorkflowHistoryRequest(workflow_id=handle.workflow_id)
            answer = await transport.call("WorkflowService/GetWorkflowHistory", request)
            data = [payload.data for payload in payloads_of(answer)]
            assert len(data) == 2
            assert all((word in one) is True for one in data)
            assert any(b"hidden" in one for one in data) is bool(named)

            async def watched():
                yield WatchWorkflowRequest(workflow_id=handle.workflow_id)

            seen = transport.stream("WatchService/WatchWorkflow", watched())
            events = [answer.event async for answer in seen if answer.HasField("event")]
            assert events == list(answer.history.events)
            await transport.close()


@pytest.mark.parametrize("named", ["nowhere:CODECS", "codecs_of_a_test", "codecs_of_a_test:BROKEN"])
def test_what_names_no_codecs_is_said(named, monkeypatch):
    monkeypatch.setitem(sys.modules, "codecs_of_a_test", sys.modules[__name__])
    monkeypatch.setenv("PERDURE_CODECS", named)
    with pytest.raises(typer.BadParameter, match=f"PERDURE_CODECS={named}"):
        with_codecs(GrpcTransport("localhost:1"))


@activity(retry=RetryPolicy(max_attempts=1))
async def leaks(secret: Secret) -> None:
    cause = KeyError(f"the cause {secret.words}")
    raise ApplicationError(f"at {secret.words}", details=secret) from cause


def leaks_in_step(words: str) -> None:
    raise ValueError(f"in a step, {words}")


@workflow
class Leaks:
    async def run(self, secret: Secret) -> None:
        told = []
        try:
            await leaks(secret)
        except ActivityError as error:
            told += [str(error), str(error.__cause__), error.details]
        try:
            await workflow.step(leaks_in_step, secret.words)
        except StepError as error:
            told.append(str(error))
        await answers.wait()
        raise RuntimeError(told)

    @query
    def ask(self, words: str) -> None:
        raise ValueError(f"asked for {words}")

    @update
    def change(self, words: str) -> None:
        raise ValueError(f"not changed, {words}")


@pytest.mark.parametrize("max_cached_runs", [0, 10])
async def test_what_failures_say_can_be_sealed_too(address, max_cached_runs):
    sealed = [SealedFailures(), Turned()]
    async with (
        Client.connect(address, codecs=sealed) as client,
        Worker(client, "q", [Leaks], [leaks], max_cached_runs=max_cached_runs),
        Client.connect(address) as eavesdropper,
        Client.connect(address, codecs=[Turned()]) as reader,
    ):
        handle = await client.start(Leaks, Secret("hidden"), id="leaks")
        for asks in (handle.query("ask", "hidden"), handle.update("change", "hidden")):
            # The server words these errors, and has nothing else to say.
            with pytest.raises(RpcError, match="the text is sealed") as refused:
                await asks
            assert refused.value.metadata["failure_type"] == "ValueError"
        await handle.signal(answers, Secret("hidden"))
        for one in (handle, reader.get_handle("leaks")):
            with pytest.raises(WorkflowFailedError) as caught:
                await one.result()
            for word in (
                "ApplicationError: at hidden",
                "KeyError: 'the cause hidden'",
                "{'words': 'hidden'}",
                "step leaks_in_step failed on attempt 1: ValueError: in a step, hidden",
            ):
                assert word in str(caught.value)
        assert "in a step, hidden" in str(await handle.history())

        seen = eavesdropper.get_handle("leaks")
        raw = await seen.history()
        for said in (raw, (await seen.describe()).message):
            assert b"hidden" not in said.SerializeToString()
            assert b"test_codec" not in said.SerializeToString()
        with pytest.raises(WorkflowFailedError, match="RuntimeError: the text is sealed"):
            await seen.result()
        (failure,) = [
            e.workflow_failed.failure for e in raw.events if e.HasField("workflow_failed")
        ]
        assert (failure.type, failure.stack_trace) == ("RuntimeError", "")


@activity(start_to_close=timedelta(seconds=0.05), retry=RetryPolicy(max_attempts=1))
async def hangs() -> None:
    await asyncio.Event().wait()


@workflow
async def passes_on() -> None:
    await hangs()


async def test_what_the_server_has_worded_is_not_sealed(address):
    async with (
        Client.connect(address, codecs=[SealedFailures(), Turned()]) as client,
        Worker(client, "q", [passes_on], [hangs]),
        Client.connect(address) as eavesdropper,
    ):
        handle = await client.start(passes_on, id="w")
        with pytest.raises(WorkflowFailedError):
            await handle.result()
        with pytest.raises(WorkflowFailedError) as seen:
            await eavesdropper.get_handle("w").result()
    said = seen.value.failure
    assert (said.message, said.cause.message) == (
        "the text is sealed",
        "the attempt took too long",
    )


async def test_only_what_the_server_words_is_taken_for_that():
    codecs = Codecs([SealedFailures(), Turned()])
    known = {"type": "WORKFLOW_NOT_FOUND", "non_retryable": True}
    for plain in (
        Failure(message="terminated", kind=FailureKind.FAILURE_KIND_TERMINATED),
        Failure(message="no run", **known),
    ):
        assert await codecs.encoded(plain) == plain
    for raised in (
        Failure(message="m", kind=FailureKind.FAILURE_KIND_TIMEOUT, stack_trace="lines"),
        Failure(message="m", kind=FailureKind.FAILURE_KIND_CANCELLED),
        Failure(message="m", details={"data": b"1"}, **known),
        Failure(message="m", type="WORKFLOW_NOT_FOUND"),
    ):
        sealed = await codecs.encoded(raised)
        assert sealed.message == "the text is sealed"
        await codecs.decode(sealed)
        assert sealed == raised


async def test_a_failure_is_sealed_once_and_only_by_what_seals():
    codecs = Codecs([SealedFailures(), Turned()])
    plain = Failure(message="no", type="T", cause=Failure(stack_trace="lines"))
    sealed = await codecs.encoded(plain)
    assert await codecs.encoded(Failure(type="T")) == Failure(type="T")
    stranger = await Codecs([SealedFailures(), Slow()]).encoded(sealed)
    await Codecs([Slow()]).decode(stranger)
    assert stranger == sealed
    await codecs.decode(sealed)
    assert sealed == plain

    with pytest.raises(ValueError, match="needs a codec beside it"):
        Codecs([SealedFailures()])
    packed = Payload(data=b"nothing that could be read", encoding=SealedFailures.encoding)
    with pytest.raises(PayloadError, match="what a failure says"):
        await codecs.decode(Failure(details=packed))
    assert SealedFailures().encode(b"x") is None
    assert SealedFailures().decode(b"x") == b"x"
