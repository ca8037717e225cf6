"""The command line has a command for every RPC, but for those that say here why not."""

from __future__ import annotations

from pathlib import Path

from tests.api.calls import METHODS

COMMANDS = Path(__file__).parents[2] / "clients" / "python" / "perdure" / "_cli"
OF_WORKERS = "what a worker says and asks; people run one"
WITHOUT = {
    "WorkflowService/ExecuteWorkflow": "`workflow start` and `workflow result` do it",
    "WorkflowService/Session": "a stream of the calls that have commands",
    "AdminService/GetOpenApi": "a document for programs, served over REST",
    "AdminService/GetHealth": "for probes, over REST",
    "AdminService/GetVersion": "for programs; `perdure version` tells that of the command itself",
    **{
        f"WorkerService/{name}": OF_WORKERS
        for name in (
            "Work",
            "StreamTasks",
            "Report",
            "Register",
            "Heartbeat",
            "PollWorkflowTask",
            "PollActivityTask",
            "CompleteWorkflowTask",
            "FailWorkflowTask",
            "GetWorkflowTaskHistory",
            "CompleteActivity",
            "FailActivity",
            "HeartbeatActivity",
        )
    },
}


def test_every_rpc_has_a_command():
    texts = [path.read_text(encoding="utf-8") for path in COMMANDS.glob("*.py")]
    missing = {name for name in METHODS if not any(_is_called(name, text) for text in texts)}
    assert missing == WITHOUT.keys()


def _is_called(name: str, text: str) -> bool:
    return f'"{name}"' in text or f'"{name.partition("/")[2]}", request' in text
