"""`perdure workflow why`: the right cause in each situation, with real processes."""

from __future__ import annotations

import json
import signal
import sys
import uuid
from pathlib import Path

import grpc
import pytest

from perdure._cli.commands import run
from perdure.v1 import worker_service_pb2 as worker
from perdure.v1.command_pb2 import Command
from perdure.v1.worker_service_pb2_grpc import WorkerServiceStub
from tests.e2e.processes import PATIENCE_SECONDS, eventually, perdure
from tests.support.processes import RealProcess

CODE = str(Path(__file__).with_name("why_worker.py"))
FAR = "why-nobody"


@pytest.fixture(scope="module")
def begin(server, tmp_path_factory):
    """Starts a worker process on a queue; whatever still runs at the end is killed."""
    log = tmp_path_factory.mktemp("workers") / "worker.log"
    workers = []

    def start(queue, version="old"):
        process = RealProcess([CODE, server.address, queue, version], log=log)
        process.start()
        workers.append(process)
        return process

    yield start
    for process in workers:
        process.kill()


@pytest.fixture(scope="module")
def queue(begin):
    """The task queue of one worker, for all tests that do not end it."""
    begin("why")
    return "why"


@pytest.fixture
def cli(server, monkeypatch, capsys):
    monkeypatch.setenv("PERDURE_ADDRESS", server.address)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["perdure", *arguments])
        assert run() == 0
        return capsys.readouterr().out

    return call


@pytest.fixture
def start(cli):
    """Starts a workflow of a type on a queue; returns its id."""

    def begin(workflow_type, queue, *options):
        name = f"{workflow_type}-{uuid.uuid4()}"
        cli("workflow", "start", workflow_type, "--id", name, "--task-queue", queue, *options)
        return name

    return begin


@pytest.fixture
def why(cli):
    """Asks until the first cause is the expected one, also in words; returns it."""

    def explain(name, kind):
        def first():
            cause = json.loads(cli("workflow", "why", name, "--json"))["causes"][0]
            if cause["kind"] != kind:
                return None
            # Between two looks a task may have been tried once more, and both tell of attempts.
            return cause if f"- {cause['text']}\n" in cli("workflow", "why", name) else None

        return eventually(first)

    return explain


def test_no_worker(start, why):
    cause = why(start("checkout", FAR), "NO_WORKER")
    assert f"no worker is connected to task queue '{FAR}'" in cause["text"]
    assert (cause["task_queue"], cause["name"]) == (FAR, "checkout")
    assert cause["since"]


def test_a_type_that_no_worker_has(start, why, queue):
    cause = why(start("unheard", queue), "TYPE_MISSING")
    assert "no worker on task queue 'why' has workflow type 'unheard'" in cause["text"]


def test_a_signal(start, why, queue):
    cause = why(start("waits", queue), "SIGNAL")
    assert cause["name"] == "approval"
    assert "waits for signal 'approval' since" in cause["text"]


def test_a_signal_that_nobody_takes(start, why, cli):
    name = start("waits", FAR)
    cli("workflow", "signal", name, "approval")
    why(name, "NO_WORKER")
    unseen = json.loads(cli("workflow", "why", name, "--json"))["causes"][1]
    assert (unseen["kind"], unseen["name"]) == ("SIGNALS_UNSEEN", "approval")
    assert "; the code has not been shown it yet" in cli("workflow", "why", name)


def test_a_timer(start, why, queue):
    cause = why(start("sleeps", queue), "TIMER")
    assert cause["until"]
    assert f"fires at {cause['until'][:19].replace('T', ' ')}" in cause["text"]


def test_an_activity_that_is_tried_again(start, why, queue):
    cause = why(start("retries", queue), "ACTIVITY_RETRYING")
    assert "because it failed: the bank is closed" in cause["text"]
    assert (cause["name"], cause["attempt"], bool(cause["until"])) == ("charge", 2, True)


def test_an_activity_that_a_worker_runs(start, why, queue):
    cause = why(start("hangs", queue), "ACTIVITY_RUNNING")
    assert cause["worker_identity"]
    assert (cause["name"], bool(cause["since"])) == ("hang", True)


def test_an_activity_without_a_worker(start, why, queue):
    cause = why(start("elsewhere", queue), "NO_WORKER")
    assert cause["text"].startswith("activity 'hang' (1) waits since")
    assert (cause["task_queue"], cause["seq"]) == ("why-elsewhere", 1)


def test_a_child_that_is_open(server, start, why):
    parent = start("parent", FAR + "-parent")
    child = {"seq": 1, "workflow_id": f"{parent}-child", "workflow_type": "c", "task_queue": FAR}
    with grpc.insecure_channel(server.address) as channel:
        stub = WorkerServiceStub(channel)
        poll = worker.PollWorkflowTaskRequest(
            task_queue=FAR + "-parent", worker_id="test", wait={"seconds": PATIENCE_SECONDS}
        )
        report = worker.CompleteWorkflowTaskRequest(
            task_token=stub.PollWorkflowTask(poll).task.task_token,
            commands=[Command(start_child_workflow=child)],
        )
        stub.CompleteWorkflowTask(report)
    cause = why(parent, "CHILD_OPEN")
    assert cause["name"] == f"{parent}-child"


def test_code_that_does_not_fit_its_history(cli, start, why, begin):
    old = begin("why-changed")
    name = start("changes", "why-changed")
    why(name, "SIGNAL")
    old.end(signal.SIGKILL)
    begin("why-changed", "new")
    cli("workflow", "signal", name, "approval")
    cause = why(name, "NOT_DETERMINISTIC")
    assert "event 2 is WorkflowAwaitingSignal 1 (approval)" in cause["text"]
    assert cause["failure"]["type"] == "DeterminismError"


def test_a_delayed_start(start, why):
    cause = why(start("checkout", FAR, "--start-delay", "1h"), "START_DELAYED")
    assert cause["until"]


def test_a_cancellation_that_the_code_has_not_followed(cli, start, why, queue):
    name = start("refuses", queue)
    why(name, "SIGNAL")
    cli("workflow", "cancel", name, "--reason", "enough")

    def heard():
        return "has heard of it" in why(name, "CANCEL_REQUESTED")["text"]

    assert eventually(heard)
    assert why(name, "CANCEL_REQUESTED")["reason"] == "enough"


def test_a_run_that_is_paused(cli, start, why):
    name = start("checkout", FAR)
    cli("workflow", "pause", name, "--reason", "audit", "--identity", "ann")
    cause = why(name, "PAUSED")
    assert (cause["reason"], cause["identity"], bool(cause["since"])) == ("audit", "ann", True)


def test_an_activity_that_is_paused(cli, start, why, queue):
    name = start("elsewhere", queue)
    why(name, "NO_WORKER")
    cli("workflow", "pause-activity", name, "1", "--reason", "audit", "--identity", "ann")
    cause = why(name, "ACTIVITY_PAUSED")
    assert (cause["name"], cause["seq"], cause["reason"]) == ("hang", 1, "audit")
    assert "activity 'hang' (1) was paused by 'ann' at " in cause["text"]


def test_a_closed_run(cli, start, why):
    name = start("checkout", FAR)
    cli("workflow", "terminate", name)
    assert "TERMINATED since" in why(name, "CLOSED")["text"]


def test_nobody(server):
    ended = perdure("workflow", "why", "nobody", "--address", server.address)
    assert (ended.returncode, "WORKFLOW_NOT_FOUND" in ended.stderr) == (1, True)
