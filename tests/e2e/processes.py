"""Processes as users start them: the installed command, its output, its exit code."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import grpc
import psutil

from perdure.v1 import worker_service_pb2 as worker
from perdure.v1.command_pb2 import Command
from perdure.v1.worker_service_pb2_grpc import WorkerServiceStub

PERDURE = str(Path(sys.executable).with_name("perdure"))
PATIENCE_SECONDS = 30
ANY = ("--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0")


def perdure(*arguments, **options):
    """Runs a command to its end."""
    return subprocess.run(
        [PERDURE, *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
        **options,
    )


class ServerProcess:
    """A server in the foreground of a process of its own."""

    def __init__(self, *arguments):
        self._process = subprocess.Popen(
            [PERDURE, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.greeting = self._process.stdout.readline()

    @property
    def address(self):
        return self.greeting.split(" on ")[1].split(",")[0]

    def tell(self, number=signal.SIGTERM):
        self._process.send_signal(number)

    def wait(self):
        """Returns exit code and standard error."""
        _, errors = self._process.communicate(timeout=PATIENCE_SECONDS)
        return self._process.returncode, errors

    def stop(self):
        self.tell()
        return self.wait()

    def kill(self):
        self._process.kill()
        self._process.communicate()


class Dev(ServerProcess):
    """A `perdure dev`: a server and the Envoy beside it, on free ports unless told otherwise."""

    def __init__(self, data, *arguments):
        super().__init__("dev", "--data", str(data), *ANY, *arguments)  # the last of two counts
        assert self.greeting, self.wait()
        self.http = self.greeting.split(" on ")[2].split(",")[0]

    @property
    def pid(self):
        return self._process.pid

    @property
    def envoy(self):
        """The process of Envoy, None while there is none."""
        return next(iter(psutil.Process(self.pid).children()), None)

    def get(self, path):
        """Returns status and JSON of an answer."""
        return self.send("GET", path)

    def send(self, verb, path, body=None):
        connection = http.client.HTTPConnection(self.http, timeout=PATIENCE_SECONDS)
        try:
            connection.request(verb, path, body=body)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"null")
        finally:
            connection.close()


def has_ended(process):
    """Whether a process is over; who should have taken note of that may still owe it."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def eventually(condition):
    """Waits for what another process does; returns what it was waiting for."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := condition()):
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.02)
    return found


def complete_workflow(address, queue, result):
    """Takes a workflow task as a worker would and completes its workflow."""
    answer_workflow(address, queue, Command(complete_workflow={"result": {"data": result}}))


def answer_workflow(address, queue, *commands):
    """Takes a workflow task as a worker would and answers it."""
    with grpc.insecure_channel(address) as channel:
        stub = WorkerServiceStub(channel)
        poll = worker.PollWorkflowTaskRequest(
            task_queue=queue, worker_id="test", wait={"seconds": PATIENCE_SECONDS}
        )
        task = stub.PollWorkflowTask(poll).task
        stub.CompleteWorkflowTask(
            worker.CompleteWorkflowTaskRequest(task_token=task.task_token, commands=commands)
        )
