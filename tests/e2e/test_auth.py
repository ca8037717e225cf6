"""A server that asks for API keys, as operators, workers and applications meet it."""

from __future__ import annotations

import json
import os

import pytest

from perdure import Client, Worker, activity, workflow
from perdure.errors import UnauthenticatedError
from tests.e2e.processes import ServerProcess, perdure

WRONG = "perdure_" + "0" * 64


@activity
async def double(number: int) -> int:
    return 2 * number


@workflow
async def doubled(number: int) -> int:
    return await double(number)


@pytest.fixture
def start_server(tmp_path):
    servers = []

    def start(*arguments):
        where = ("--data", str(tmp_path / "data"), "--grpc", "127.0.0.1:0")
        server = ServerProcess("server", *where, *arguments)
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.kill()


@pytest.fixture
def server(start_server):
    return start_server("--auth", "keys")


def command(server, *arguments, key=""):
    environment = {**os.environ, "PERDURE_ADDRESS": server.address, "PERDURE_API_KEY": key}
    return perdure(*arguments, env=environment)


def create(server, *arguments, key=""):
    made = command(server, "api-key", "create", *arguments, key=key)
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


def listed(server, key):
    answer = command(server, "api-key", "list", "--output", "json", key=key)
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


def test_keys_are_created_listed_and_revoked(server):
    made = command(server, "api-key", "create", "--label", "ops")
    assert (made.returncode, made.stderr.count("only now")) == (0, 1)
    first = made.stdout.strip()
    second = create(server, "--label", "ci", key=first)
    assert [(key["prefix"], key["label"]) for key in listed(server, first)] == [
        (second[:16], "ci"),
        (first[:16], "ops"),
    ]
    assert first[:16] in command(server, "api-key", "list", key=first).stdout

    again = command(server, "api-key", "create", "--label", "ci", "--idempotent", key=first)
    assert (again.returncode, again.stdout) == (0, "")
    assert second[:16] in again.stderr

    assert command(server, "api-key", "revoke", second[:16], key=first).returncode == 0
    assert command(server, "api-key", "list", key=second).returncode == 1
    gone = command(server, "api-key", "revoke", second[:16], key=first)
    assert (gone.returncode, gone.stderr.count("API_KEY_NOT_FOUND")) == (1, 1)


@pytest.mark.parametrize("key", ["", WRONG], ids=["missing", "wrong"])
def test_a_command_without_a_valid_key_says_what_to_do(server, key):
    create(server)
    for arguments in (("workflow", "list"), ("api-key", "create"), ("workflow", "result", "w")):
        refused = command(server, *arguments, key=key)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert "PERDURE_API_KEY" in refused.stderr
        assert "UNAUTHENTICATED" in refused.stderr
        assert WRONG not in refused.stderr
        assert refused.stderr.count("\n") == 1


def test_the_option_wins_over_the_environment(server):
    key = create(server)
    assert command(server, "workflow", "list", "--api-key", key, key=WRONG).returncode == 0
    assert command(server, "workflow", "list", "--api-key", WRONG, key=key).returncode == 1


def test_what_is_no_key_is_wrong_usage_and_not_shown(server):
    refused = command(server, "workflow", "list", key="not a key")
    assert refused.returncode == 64
    assert "not a key" not in refused.stderr


async def test_a_worker_and_a_client_with_a_key_do_their_work(server):
    key = create(server)
    client = Client.connect(server.address, api_key=key)
    async with client, Worker(client, "q", [doubled], [double]):
        assert await client.execute(doubled, 4) == 8
    shown = command(server, "workflow", "list", "--output", "json", key=key)
    assert [run["status"] for run in json.loads(shown.stdout)] == ["COMPLETED"]


async def test_a_worker_and_a_client_with_a_wrong_key_are_told_and_do_not_go_on(server):
    create(server)
    async with Client.connect(server.address, api_key=WRONG) as client:
        with pytest.raises(UnauthenticatedError, match="unknown or revoked"):
            await client.start(doubled, 4)
        with pytest.raises(UnauthenticatedError, match="unknown or revoked"):
            await Worker(client, "q", [doubled], [double]).run()


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_keys_stand_after_a_restart(start_server, end):
    server = start_server("--auth", "keys")
    key = create(server)
    getattr(server, end)()
    server = start_server("--auth", "keys")
    assert [shown["prefix"] for shown in listed(server, key)] == [key[:16]]
    assert command(server, "api-key", "create").returncode == 1


def test_no_key_reaches_the_log(server):
    key = create(server)
    command(server, "workflow", "list", key=key)
    command(server, "workflow", "list", key=WRONG)
    code, log = server.stop()
    assert code == 0
    assert key not in log
    assert WRONG not in log


def test_with_keys_an_address_that_others_reach_needs_no_insisting(tmp_path):
    where = ("--data", str(tmp_path), "--grpc", "0.0.0.0:0")
    server = ServerProcess("server", *where, "--auth", "keys")
    assert "0.0.0.0:" in server.greeting
    assert server.stop()[0] == 0
