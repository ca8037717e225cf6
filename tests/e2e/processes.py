"""Processes as users start them: the installed command, its output, its exit code."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import grpc

from perdure.v1 import worker_service_pb2 as worker
from perdure.v1.command_pb2 import Command
from perdure.v1.worker_service_pb2_grpc import WorkerServiceStub

PERDURE = str(Path(sys.executable).with_name("perdure"))
PATIENCE_SECONDS = 30


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


def complete_workflow(address, queue, result):
    """Takes a workflow task as a worker would and completes its workflow."""
    with grpc.insecure_channel(address) as channel:
        stub = WorkerServiceStub(channel)
        poll = worker.PollWorkflowTaskRequest(
            task_queue=queue, worker_id="test", wait={"seconds": PATIENCE_SECONDS}
        )
        task = stub.PollWorkflowTask(poll).task
        command = Command(complete_workflow={"result": {"data": result}})
        stub.CompleteWorkflowTask(
            worker.CompleteWorkflowTaskRequest(task_token=task.task_token, commands=[command])
        )
