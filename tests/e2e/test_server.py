"""The server as a process: how it starts, stops, comes back, and refuses."""

from __future__ import annotations

import json
import signal

import pytest

from tests.e2e.processes import ServerProcess, perdure


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_when_told_and_exits_0(start_server, number):
    server = start_server()
    server.tell(number)
    assert server.wait() == (0, "")


def test_it_says_where_it_listens_and_keeps_everything_in_its_folder(start_server, tmp_path):
    data = tmp_path / "a" / "b"
    server = start_server(data=data)
    assert server.greeting.startswith("Perdure serves gRPC on 127.0.0.1:")
    assert str(data) in server.greeting
    assert (data / "perdure.db").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_what_was_answered_is_there_after_a_restart(start_server, end):
    server = start_server()
    address = ["--address", server.address]
    assert perdure("workflow", "start", "checkout", "--id", "w", *address).returncode == 0
    getattr(server, end)()
    server = start_server()
    listed = perdure("workflow", "list", "--address", server.address, "--output", "json")
    assert [run["workflow_id"] for run in json.loads(listed.stdout)] == ["w"]


def test_a_second_server_on_the_same_folder_refuses_to_start(start_server, tmp_path):
    start_server()
    second = perdure("server", "--data", str(tmp_path / "data"), "--grpc", "127.0.0.1:0")
    assert second.returncode == 1
    assert "in use by another server" in second.stderr
    assert second.stderr.count("\n") == 1


def test_a_second_server_on_the_same_port_refuses_to_start(start_server, tmp_path):
    first = start_server()
    second = perdure("server", "--data", str(tmp_path / "other"), "--grpc", first.address)
    assert second.returncode == 1
    assert second.stderr == (
        f"perdure: cannot listen on {first.address}: another program listens there\n"
    )


def test_an_address_that_others_reach_is_refused(tmp_path):
    refusal = perdure("server", "--data", str(tmp_path), "--grpc", "0.0.0.0:0")
    assert refusal.returncode == 1
    assert "--insecure" in refusal.stderr


def test_an_address_that_others_reach_may_be_insisted_on(tmp_path):
    arguments = ("--data", str(tmp_path), "--grpc", "0.0.0.0:0", "--insecure")
    server = ServerProcess("server", *arguments)
    assert "0.0.0.0:" in server.greeting
    assert server.stop()[0] == 0


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()
    refusal = perdure("server", "--data", str(tmp_path / "file" / "data"))
    assert refusal.returncode == 1
    assert "cannot be made" in refusal.stderr


def test_wrong_usage_exits_64():
    assert perdure("dev", "--nonsense").returncode == 64


def test_a_server_logs_calls_as_json(tmp_path):
    server = ServerProcess("server", "--data", str(tmp_path), "--grpc", "127.0.0.1:0")
    missing = perdure("workflow", "describe", "w", "--address", server.address)
    assert missing.returncode == 1
    code, errors = server.stop()
    assert code == 0
    (line,) = [json.loads(line) for line in errors.splitlines()]
    assert line["method"] == "perdure.v1.WorkflowService/GetWorkflow"
    assert (line["code"], line["reason"]) == ("NOT_FOUND", "WORKFLOW_NOT_FOUND")
    assert line["ms"] > 0
