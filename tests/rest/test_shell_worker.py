"""The worker in bash, curl and jq runs an activity, a timer and a signal over REST alone."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.rest.process import rest_server

WORKER = Path(__file__).resolve().parents[2] / "clients" / "shell" / "worker.sh"
TOOLS = ("bash", "curl", "jq")
WAIT_SECONDS = 40

pytestmark = pytest.mark.skipif(
    not ("CI" in os.environ or all(map(shutil.which, TOOLS))), reason=f"needs {', '.join(TOOLS)}"
)


def call(address, verb, path, body=None):
    connection = http.client.HTTPConnection(address, timeout=WAIT_SECONDS + 10)
    try:
        connection.request(verb, f"/api/v1{path}", body=json.dumps(body) if body else None)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


@pytest.fixture
def address(tmp_path):
    with rest_server(tmp_path) as address:
        yield address


@pytest.fixture
def worker(address):
    # A group of its own, so that the end of the test is the end of its loops.
    process = subprocess.Popen(
        ["bash", WORKER, f"http://{address}"], stdout=subprocess.PIPE, text=True, process_group=0
    )
    assert "takes tasks of queue shell" in process.stdout.readline()
    yield process
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=WAIT_SECONDS)


def start(address, name):
    body = {"workflow_type": "approval", "workflow_id": name, "task_queue": "shell"}
    assert call(address, "POST", "/workflows", {**body, "input": {"name": "Ada"}})[0] == 201


def test_it_completes_its_workflow(address, worker):
    start(address, "a/1 ü")
    path = "/workflows/a%2F1%20%C3%BC"
    assert call(address, "POST", f"{path}/signal/approve", {"payload": {"by": "Grace"}})[0] == 200
    status, ended = call(address, "GET", f"{path}/result?wait_secs={WAIT_SECONDS}")
    assert (status, ended["status"]) == (200, "COMPLETED")
    assert ended["result"] == {"greeting": "Hello, Ada!", "approved_by": "Grace"}
    _, events = call(address, "GET", f"{path}/events")
    kinds = {event["event_type"] for event in events}
    assert {"ActivityCompleted", "TimerFired", "SignalReceived"} < kinds


def test_it_cancels_when_asked(address, worker):
    start(address, "c-1")
    assert call(address, "POST", "/workflows/c-1/cancel")[0] == 200
    _, ended = call(address, "GET", f"/workflows/c-1/result?wait_secs={WAIT_SECONDS}")
    assert ended["status"] == "CANCELLED"
