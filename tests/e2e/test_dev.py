"""`perdure dev`: a server and the Envoy beside it, as processes."""

from __future__ import annotations

import json
import signal
import subprocess

import psutil
import pytest
import yaml

from perdure_server.sidecar import find_envoy
from tests.e2e.processes import (
    ANY,
    PATIENCE_SECONDS,
    ServerProcess,
    eventually,
    has_ended,
    perdure,
)


def test_both_doors_serve_on_the_ports_it_says(start_dev):
    dev = start_dev()
    assert dev.get("/api/v1/health")[0] == 200
    assert dev.get("/healthz")[0] == 200
    for address in (dev.address, dev.http):
        assert perdure("workflow", "list", "--address", address).returncode == 0


def test_an_envoy_that_dies_is_started_again_on_its_port(start_dev):
    dev = start_dev()
    assert dev.send("POST", "/api/v1/workflows", b'{"workflow_type":"t"}')[0] == 201
    for _ in range(2):
        first = dev.envoy
        first.kill()
        psutil.wait_procs([first])
        eventually(lambda first=first: dev.envoy not in (None, first) and _serves(dev))
    assert len(dev.get("/api/v1/workflows")[1]) == 1
    code, errors = dev.stop()
    assert code == 0
    messages = [json.loads(line)["message"] for line in errors.splitlines()]
    # One killed as soon as it serves may die before it was seen to be ready, which is told too.
    assert messages.count("Envoy ended and is started again") == 2


def _serves(dev):
    try:
        return dev.get("/api/v1/health")[0] == 200
    except OSError:
        return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_ends_both(start_dev, number):
    dev = start_dev()
    envoy = dev.envoy
    dev.tell(number)
    assert dev.wait() == (0, "")
    assert not envoy.is_running()


def test_a_stop_lets_a_long_poll_through_envoy_end(start_dev):
    dev = start_dev()
    registration = b'{"identity":"w","queue":"q","workflows":["t"]}'
    _, worker = dev.send("POST", "/api/v1/workers/register", registration)
    before = dev.get("/api/v1/workers")
    body = json.dumps({"queue": "q", "worker_id": worker["worker_id"], "wait_secs": 60})
    url = f"http://{dev.http}/api/v1/workflow-tasks/poll"
    with subprocess.Popen(
        ["curl", "-sS", "-w", "%{http_code}", url, "-d", body],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as poll:
        # The server has seen the worker again once it has the poll.
        eventually(lambda: dev.get("/api/v1/workers") != before)
        assert dev.stop()[0] == 0
        assert poll.communicate()[0][-3:] in ("200", "503")


@pytest.mark.skipif(not psutil.LINUX, reason="only Linux ends a child with its parent")
def test_a_kill_of_the_server_leaves_nothing(start_dev):
    dev = start_dev()
    envoy = dev.envoy
    dev.kill()
    eventually(lambda: has_ended(envoy))


def test_two_run_side_by_side(start_dev, tmp_path):
    one, two = start_dev(), start_dev(data=tmp_path / "two")
    assert one.send("POST", "/api/v1/workflows", b'{"workflow_type":"t"}')[0] == 201
    assert [len(dev.get("/api/v1/workflows")[1]) for dev in (one, two)] == [1, 0]


def test_a_taken_port_is_told(start_dev, tmp_path):
    first = start_dev()
    arguments = ("--data", str(tmp_path / "two"), "--grpc", "127.0.0.1:0", "--http", first.http)
    second = perdure("dev", *arguments)
    assert (second.returncode, second.stderr) == (
        1,
        f"perdure: cannot listen on {first.http}: another program listens there\n",
    )


def test_without_envoy_it_says_what_to_do(tmp_path):
    refusal = perdure("dev", "--data", str(tmp_path), *ANY, "--envoy", str(tmp_path / "envoy"))
    assert refusal.returncode == 1
    assert refusal.stderr.startswith("perdure: ")
    assert "--envoy" in refusal.stderr
    assert refusal.stderr.count("\n") == 1


def test_an_envoy_that_does_not_start_is_told(tmp_path):
    broken = tmp_path / "envoy"
    broken.write_text("#!/bin/sh\necho 'too old' >&2\nexit 3\n")
    broken.chmod(0o755)
    refusal = perdure("dev", "--data", str(tmp_path), *ANY, "--envoy", str(broken))
    assert refusal.returncode == 1
    assert refusal.stderr.splitlines()[-1] == "perdure: Envoy does not start: too old"


def test_http_too_needs_insecure_to_be_reached_by_others(tmp_path):
    arguments = ("dev", "--data", str(tmp_path), "--grpc", "127.0.0.1:0", "--http", "0.0.0.0:0")
    refusal = perdure(*arguments)
    assert refusal.returncode == 1
    assert "--insecure" in refusal.stderr
    insisted = ServerProcess(*arguments, "--insecure")
    assert "HTTP on 0.0.0.0:" in insisted.greeting
    assert insisted.stop()[0] == 0


def test_it_logs_what_passes_when_asked(start_dev):
    dev = start_dev("--log-level", "info")
    dev.get("/api/v1/workflows/none?namespace=secret")
    _, errors = dev.stop()
    lines = [json.loads(line) for line in errors.splitlines()]
    (passed,) = (line for line in lines if line.get("path"))
    assert (passed["path"], passed["status"]) == ("/api/v1/workflows/none", 404)
    assert passed["rpc"] == "/perdure.v1.WorkflowService/GetWorkflow"
    assert "secret" not in json.dumps(passed)


def test_the_configuration_is_printed_and_serves(start_server, tmp_path):
    server = start_server()
    printed = perdure("envoy-config", "--grpc", server.address, "--http", "127.0.0.1:0")
    assert printed.returncode == 0
    path = tmp_path / "envoy.yaml"
    path.write_text(printed.stdout)
    assert yaml.safe_load(printed.stdout)["static_resources"]
    done = subprocess.run(
        [find_envoy(), "--mode", "validate", "-c", path],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
