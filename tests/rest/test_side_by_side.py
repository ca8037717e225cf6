"""Every row of the REST surface beside its RPC: the same answer, and the same state afterwards.

Two servers with equal clocks and ids live through the same cases, so they hold the same to the last
byte. A case that parts them fails, and then those behind it do too.
"""

from __future__ import annotations

from contextlib import aclosing
from urllib.parse import quote

import grpc
import pytest
import pytest_asyncio
from google.protobuf.message_factory import GetMessageClass

from perdure_server.rest.codec import RouteCodec
from perdure_server.rest.sse import NO_IDS
from perdure_server.rest.statuses import http_status
from tests.api.calls import Refused
from tests.rest import side_schedules, side_workers, side_workflows
from tests.rest.routes import routes, row_of
from tests.rest.side_twins import running_twins

CASES = (*side_workflows.CASES, *side_workers.CASES, *side_schedules.CASES)
STREAMS = (*side_workflows.STREAMS, *side_workers.STREAMS)
ROUTES = {row_of(route): route for route in routes()}

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def twins():
    async with running_twins() as twins:
        yield twins


async def test_no_row_is_left_out():
    served = {case.row for case in (*CASES, *STREAMS) if not getattr(case, "refused", "")}
    assert served == set(ROUTES)
    refused = {case.row for case in CASES if case.refused}
    assert {row for row in ROUTES if not row.startswith("GET ")} <= refused
    names = [case.name for case in (*CASES, *STREAMS)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_a_row_does_what_its_rpc_does(twins, case):
    known, known_over_rest = await twins.given(case)
    before = await twins.both_states(case.name)
    answer = await natively(twins.native, case, known)
    shown = await over_rest(twins.door, case, known_over_rest)
    after = await twins.both_states(case.name)
    assert_same_answer(case, answer, shown)
    assert (after != before) == case.changes


@pytest.mark.parametrize("case", STREAMS, ids=lambda case: case.name)
async def test_a_stream_tells_what_its_rpc_tells(twins, case):
    codec = RouteCodec(ROUTES[case.row])
    known, known_over_rest = await twins.given(case)
    headers = filled(case.headers, known_over_rest)
    async with (
        aclosing(stream_of(twins.native, case, known)) as messages,
        twins.door.opened("GET", url_of(case, known_over_rest), **headers) as (answer, events),
    ):
        assert (answer.status, answer.streams) == (200, True)
        told = await conversation(messages, case, twins.native)
        shown = await conversation(events, case, twins.rest)
        await twins.both_states(case.name)
    assert shown == [as_event(codec, message) for message in told]


async def conversation(messages, case, side):
    """Does what happens while a stream stands; returns what it told."""
    told = [await anext(messages) for _ in range(case.messages)]
    for act, count in case.meanwhile:
        await act(side.flows(case.name))
        told += [await anext(messages) for _ in range(count)]
    if case.ends:
        assert await anext(messages, None) is None
    return told


def as_event(codec, message):
    """Returns the fields of the event that a message of a stream means."""
    event_id, kind = codec.event_id(message), codec.event_kind(message)
    event = {} if event_id in NO_IDS else {"id": event_id}
    if kind:
        event |= {"event": kind, "data": codec.data(message).decode()}
    return event


async def natively(side, case, known):
    """Returns the answer of the RPC, or its refusal."""
    route = ROUTES[case.row]
    try:
        if route.streams:
            return await anext(stream_of(side, case, known))
        return await side.flows(case.name).call(rpc_of(route), request_of(case, known))
    except Refused as refusal:
        return refusal


def stream_of(side, case, known):
    return side.flows(case.name).stream(rpc_of(ROUTES[case.row]), request_of(case, known))


async def over_rest(door, case, known):
    """Returns the answer of the row."""
    body, headers = filled(case.body, known), filled(case.headers, known)
    return await door.call(ROUTES[case.row].verb, url_of(case, known), body, **headers)


def assert_same_answer(case, answer, shown):
    if case.refused:
        assert isinstance(answer, Refused), "the RPC served it"
        status = http_status(grpc.StatusCode[answer.code], answer.reason)
        assert (answer.reason, shown.reason, shown.status) == (case.refused, case.refused, status)
        return
    assert not isinstance(answer, Refused), answer
    codec = RouteCodec(ROUTES[case.row])
    assert shown.status == codec.status(answer)
    assert shown.body == (b"" if shown.status == 204 else codec.write(answer))
    assert shown.headers.get("x-next-page-token", "") == codec.next_page(answer)


def rpc_of(route):
    return f"{route.service.rpartition('.')[2]}/{route.method}"


def request_of(case, known):
    return GetMessageClass(ROUTES[case.row].request)(**filled(case.native, known))


def url_of(case, known):
    """Returns path and query; what the path names are fields of the message."""
    route = ROUTES[case.row]
    fields = {name: quote(filled(case.native[name], known), safe="") for name in route.path_fields}
    query = "&".join(filter(None, [filled(case.query, known), f"namespace={quote(case.name)}"]))
    return f"{route.path.format(**fields)}?{query}"


def filled(value, known):
    """Returns a value with the known names in their places."""
    if isinstance(value, dict):
        return {key: filled(part, known) for key, part in value.items()}
    if isinstance(value, list):
        return [filled(part, known) for part in value]
    if not isinstance(value, str):
        return value
    for name, text in known.items():
        value = value.replace(f"{{{name}}}", text)
    return value
