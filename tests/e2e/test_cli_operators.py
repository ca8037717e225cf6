"""`perdure namespace | queue | worker …`: what operators look at and change."""

from __future__ import annotations

import json
import sys
import uuid

import pytest

from perdure._cli.commands import run


@pytest.fixture
def cli(server, monkeypatch, capsys):
    """Runs a command within this process, against the server."""
    monkeypatch.setenv("PERDURE_ADDRESS", server.address)

    def call(*arguments, code=0):
        monkeypatch.setattr(sys, "argv", ["perdure", *arguments])
        assert run() == code
        return capsys.readouterr().out

    return call


@pytest.fixture
def name():
    return f"n-{uuid.uuid4()}"


def test_a_namespace_from_its_beginning_to_its_end(cli, name):
    assert cli("namespace", "create", name, "--retention", "30d") == f"created {name}\n"
    listed = json.loads(cli("namespace", "list", "--output", "json"))
    assert {each["name"]: each["retention"] for each in listed}[name] == 30 * 86_400
    assert "for 30 days" in cli("namespace", "list")
    assert cli("namespace", "update", name).endswith("for ever\n")
    cli("workflow", "start", "checkout", "--namespace", name)
    assert json.loads(cli("namespace", "show", name, "--output", "json"))["pending"] == 1
    assert "total workflows" in cli("namespace", "show", name)
    cli("namespace", "delete", name, code=1)
    assert cli("namespace", "delete", name, "--force") == f"deleted {name}\n"


def test_queues_and_workers(cli, name):
    cli("workflow", "start", "checkout", "--namespace", name, "--task-queue", "shop")
    (queue,) = json.loads(cli("queue", "list", "--namespace", name, "--output", "json"))
    assert (queue["queue"], queue["pending_workflow_tasks"]) == ("shop", 1)
    assert "shop" in cli("queue", "list", "--namespace", name)
    assert json.loads(cli("worker", "list", "--namespace", name, "--output", "json")) == []
    assert "IDENTITY" in cli("worker", "list", "--namespace", name)


def test_the_shell_can_complete_commands(cli):
    assert "_PERDURE_COMPLETE" in cli("--show-completion", "bash")


CODE = """
from perdure import workflow

@workflow
async def checkout():
    {body}
"""


def test_an_exported_history_is_replayed_with_code(cli, name, tmp_path):
    cli("workflow", "start", "checkout", "--id", name)
    history, good, bad = (tmp_path / each for each in ("h.json", "good.py", "bad.py"))
    cli("workflow", "export", name, "--to", str(history))
    assert json.loads(cli("workflow", "export", name)) == json.loads(history.read_text())
    good.write_text(CODE.format(body="await workflow.sleep(60)"))
    bad.write_text(CODE.format(body="pass").replace("checkout", "other"))
    assert cli("workflow", "replay", str(history), str(good)) == "h.json fits\n"
    cli("workflow", "replay", str(history), str(bad), code=1)
    folder = tmp_path / "histories"
    folder.mkdir()
    cli("workflow", "replay", str(folder), str(good), code=1)
    for number in (1, 2):
        (folder / f"{number}.json").write_bytes(history.read_bytes())
    assert cli("workflow", "replay", str(folder), str(good)) == "all fit: 2\n"
    cli("workflow", "replay", str(folder), str(bad), code=1)
    (tmp_path / "nap.py").write_text("SECONDS = 60\n")
    good.write_text("from nap import SECONDS" + CODE.format(body="await workflow.sleep(SECONDS)"))
    assert cli("workflow", "replay", str(history), str(good)) == "h.json fits\n"
    cli("workflow", "replay", str(tmp_path / "none.json"), str(good), code=64)
    cli("workflow", "replay", str(history), str(tmp_path / "none.py"), code=64)
