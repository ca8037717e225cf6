"""A worker over REST alone, with rules of its own, runs all that workflows can do through Envoy."""

from __future__ import annotations

import http.client
import json
import uuid
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.e2e.processes import eventually
from tests.rest.process import rest_server
from tests.support.processes import RealProcess

CODE = str(Path(__file__).with_name("rest_worker.py"))
QUEUE = "rest"
WAIT_S = 100
"""Beyond the lease of whatever a worker had when it was killed."""


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with rest_server(tmp_path_factory.mktemp("server")) as address:
        yield address


@pytest.fixture
def begin(address, tmp_path):
    """Starts workers; whatever still runs at the end is killed."""
    workers = []

    def start():
        workers.append(RealProcess([CODE, address, QUEUE], log=tmp_path / "worker.log"))
        workers[-1].start()
        return workers[-1]

    yield start
    for worker in workers:
        worker.kill()
        print(worker.complaints())


@pytest.fixture
def call(address):
    def exchange(verb, path, body=None):
        connection = http.client.HTTPConnection(address, timeout=WAIT_S + 10)
        try:
            text = None if body is None else json.dumps(body)
            connection.request(verb, f"/api/v1{path}", text)
            answer = connection.getresponse()
            found = json.loads(answer.read())
        finally:
            connection.close()
        assert answer.status < 300, found
        return found

    return exchange


@pytest.fixture
def start(call):
    """Starts a workflow; returns its id."""

    def begin(workflow_type, given, name=""):
        name = name or f"{workflow_type}-{uuid.uuid4()}"
        body = {"workflow_type": workflow_type, "workflow_id": name, "task_queue": QUEUE}
        call("POST", "/workflows", {**body, "input": given})
        return name

    return begin


@pytest.fixture
def ended(call):
    """Waits for the end of a workflow; returns its record."""

    def wait(name):
        return call("GET", f"/workflows/{name}/result?wait_secs={WAIT_S}")

    return wait


@pytest.fixture
def kinds(call):
    """The types of the events of a run, the latest unless given."""

    def read(name, run_id=""):
        events = call("GET", f"/workflows/{name}/events?run_id={run_id}")
        assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
        return [event["event_type"] for event in events]

    return read


@pytest.mark.timeout(WAIT_S + 20)
def test_all_that_workflows_do(call, start, ended, kinds, begin):
    worker = begin()
    name = f"journey-{uuid.uuid4()}"
    given = {"name": name, "round": 1, "numbers": [1, 2, 3], "token": 0}
    first = call("GET", f"/workflows/{start('journey', given, name)}")
    eventually(lambda: "ActivityScheduled" in kinds(name, first["run_id"]))
    worker.kill()
    begin()
    assert ended(name)["status"] == "COMPLETED"
    record = call("GET", f"/workflows/{name}")
    assert record["run_id"] != first["run_id"]
    assert call("GET", f"/workflows/{name}?run_id={first['run_id']}")["status"] == (
        "CONTINUED_AS_NEW"
    )

    result = record["result"]
    assert result["grown"] == [16, 32, 48]
    assert result["failures"] == ["-1 is negative"]
    first_history = call("GET", f"/workflows/{name}/events?run_id={first['run_id']}")
    recorded = [each["payload"] for each in first_history if "SideEffect" in each["event_type"]]
    assert [(each["side_effect_seq"], each["name"]) for each in recorded] == [
        (1, "token"),
        (2, "again"),
    ]
    assert result["first_token"] == recorded[0]["value"] != result["token"]
    for run_id in (first["run_id"], record["run_id"]):
        found = kinds(name, run_id)
        assert found.count("ActivityScheduled") == found.count("ActivityCompleted") == 3
        assert found.count("ChildWorkflowStarted") == 4
        assert found.count("ChildWorkflowCompleted") == 3
        assert found.count("ChildWorkflowFailed") == found.count("TimerFired") == 1
        assert found.count("SideEffectRecorded") == 2


def test_what_it_publishes_is_found(call, start, ended, begin):
    begin()
    name = f"journey-{uuid.uuid4()}"
    start("journey", {"name": name, "round": 2, "numbers": [5], "token": 0}, name)
    assert ended(name)["result"]["grown"] == [20]
    assert call("GET", f"/workflows/{name}/state")["state"] == {"stage": "done"}
    wanted = quote(json.dumps({"stage": "done", "round": 2}))
    found = call("GET", f"/workflows?search_attrs={wanted}")
    assert name in [each["id"] for each in found]
    children = call("GET", f"/workflows/{name}/children")
    assert {each["id"]: each["status"] for each in children} == {
        f"{name}-2-10": "COMPLETED",
        f"{name}-2-bad": "FAILED",
    }
    assert {each["parent_id"] for each in children} == {name}


def test_a_cancelled_workflow_cleans_up_first(call, start, ended, kinds, begin):
    begin()
    name = start("patient", 21)
    path = f"/workflows/{name}"
    eventually(lambda: "WorkflowAwaitingSignal" in kinds(name))
    call("POST", f"{path}/cancel", {"reason": "enough"})
    assert ended(name)["status"] == "CANCELLED"
    assert call("GET", f"{path}/state")["state"] == {"cleaned": 42}
    found = kinds(name)
    assert found.count("WorkflowAwaitingSignal") == 1
    assert found[-3:] == ["ActivityScheduled", "ActivityCompleted", "WorkflowCancelled"]


def test_a_parent_asks_its_child_to_end(call, start, ended, kinds, begin):
    begin()
    child = f"patient-{uuid.uuid4()}"
    name = start("parent", child)
    eventually(lambda: "ChildWorkflowStarted" in kinds(name))
    eventually(lambda: "WorkflowAwaitingSignal" in kinds(child))
    call("POST", f"/workflows/{name}/signal/enough", {"payload": None})
    assert ended(name)["result"].startswith("it ended: ")
    assert call("GET", f"/workflows/{child}")["status"] == "CANCELLED"
    assert kinds(name).count("CancelWorkflowInitiated") == 1
