"""A server that asks for API keys, behind a real Envoy: every row refuses who has no valid one."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass

import pytest

from tests.rest.process import rest_server
from tests.rest.routes import routes, row_of
from tests.rest.side_rest import Rest
from tests.rest.surface import PUBLIC

KEYS = "/api/v1/api-keys"
WRONG = "perdure_" + "0" * 64
ROUTES = {row_of(route): route for route in routes()}
GUARDED = [row for row in ROUTES if row not in PUBLIC]


@dataclass
class Keys:
    """One key that stands and one that stood."""

    valid: str
    revoked: str


@pytest.fixture(scope="module")
def rest(tmp_path_factory):
    with rest_server(tmp_path_factory.mktemp("keys"), "--auth", "keys") as address:
        yield Rest(address)


@pytest.fixture
async def keys(rest):
    """Keys for one test; afterwards there is none, so that the next test makes the first again."""
    valid = (await create(rest)).json["plaintext"]
    second = (await create(rest, **bearer(valid))).json
    assert (await revoke(rest, second["prefix"], valid)).status == 204
    yield Keys(valid, second["plaintext"])
    listed = await rest.call("GET", KEYS, **bearer(valid))
    *others, own = sorted(listed.json, key=lambda key: valid.startswith(key["prefix"]))
    for key in (*others, own):
        await revoke(rest, key["prefix"], valid)


def bearer(key):
    return {"authorization": f"Bearer {key}"}


async def create(rest, **headers):
    return await rest.call("POST", KEYS, '{"label":"ci"}', **headers)


async def revoke(rest, prefix, key):
    return await rest.call("DELETE", f"{KEYS}/{prefix}", **bearer(key))


async def ask(rest, row, **headers):
    """Calls a row; its path names what nobody has made."""
    path = re.sub(r"\{\w+\}", "x", ROUTES[row].path)
    return await rest.call(ROUTES[row].verb, path, **headers)


def assert_refused(answer):
    assert (answer.status, answer.reason) == (401, "UNAUTHENTICATED")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json.keys() == {"error", "reason", "details"}


@pytest.mark.parametrize("row", GUARDED)
async def test_a_row_refuses_who_has_no_valid_key(rest, keys, row):
    for headers in ({}, bearer(WRONG), bearer(keys.revoked), {"authorization": keys.valid}):
        answer = await ask(rest, row, **headers)
        assert_refused(answer)
        for secret in (WRONG, keys.revoked, keys.valid):
            assert secret.encode() not in answer.body


@pytest.mark.parametrize("row", GUARDED)
async def test_a_row_serves_who_has_a_key(rest, keys, row):
    answer = await ask(rest, row, **bearer(keys.valid))
    assert answer.status in {200, 201, 204, 400, 404, 409}, answer
    # What is refused is the request, in the words of its own row.
    assert answer.status < 400 or answer.reason != "UNAUTHENTICATED"


@pytest.mark.parametrize("row", sorted(PUBLIC))
async def test_a_public_row_serves_anyone(rest, keys, row):
    for headers in ({}, bearer(WRONG), bearer(keys.revoked), bearer(keys.valid)):
        assert (await ask(rest, row, **headers)).status == 200


async def test_a_refused_row_does_nothing(rest, keys):
    start = '{"workflow_id":"w","workflow_type":"t"}'
    assert_refused(await rest.call("POST", "/api/v1/workflows", start, **bearer(WRONG)))
    answer = await rest.call("GET", "/api/v1/workflows/w", **bearer(keys.valid))
    assert (answer.status, answer.reason) == (404, "WORKFLOW_NOT_FOUND")


@pytest.mark.parametrize("callers", [2, 3, 8])
async def test_of_first_keys_that_race_one_wins(rest, callers):
    answers = await asyncio.gather(*(create(rest) for _ in range(callers)))
    winner, *losers = sorted(answers, key=lambda answer: answer.status)
    assert winner.status == 201
    for loser in losers:
        assert_refused(loser)
    key, prefix = winner.json["plaintext"], winner.json["prefix"]
    listed = await rest.call("GET", KEYS, **bearer(key))
    assert [shown["prefix"] for shown in listed.json] == [prefix]
    assert (await revoke(rest, prefix, key)).status == 204
