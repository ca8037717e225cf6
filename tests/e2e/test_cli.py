"""`perdure workflow …` against a server: what it prints and how it exits."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import uuid
from dataclasses import dataclass

import pytest

from perdure import __version__, workflow
from perdure._cli.commands import run
from perdure._replay.replayer import replay
from perdure.v1.command_pb2 import Command
from tests.e2e.processes import (
    PATIENCE_SECONDS,
    PERDURE,
    answer_workflow,
    complete_workflow,
    perdure,
)


@dataclass
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture
def cli(server, monkeypatch, capsys):
    """Runs a command within this process, against the server."""
    monkeypatch.setenv("PERDURE_ADDRESS", server.address)
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["perdure", *arguments])
        code = run()
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    return call


@pytest.fixture
def name():
    """A workflow id and task queue of this test's own."""
    return f"w-{uuid.uuid4()}"


@pytest.fixture
def started(cli, name):
    ended = cli("workflow", "start", "checkout", "--id", name, "--task-queue", name)
    assert ended.code == 0
    return name


def test_version(cli):
    assert cli("version") == Ended(0, f"{__version__}\n", "")


def test_help_lists_the_commands():
    ended = perdure("--help")
    assert ended.returncode == 0
    for command in ("server", "dev", "version", "workflow"):
        assert command in ended.stdout


class TestStart:
    def test_prints_the_ids(self, cli, name):
        ended = cli("workflow", "start", "checkout", "--id", name)
        assert ended.code == 0
        assert name in ended.out

    def test_prints_json(self, cli, name):
        answer = cli("workflow", "start", "checkout", "--id", name, "--output", "json").json
        assert answer["workflow_id"] == name
        assert answer["status"] == "PENDING"
        assert answer["started"] is True

    def test_sends_the_input_as_given(self, cli, name, tmp_path):
        path = tmp_path / "input.json"
        path.write_text('{"z": 12345678901234567890, "a": 1.0}')
        cli("workflow", "start", "checkout", "--id", name, "--input", f"@{path}")
        described = cli("workflow", "describe", name, "--output", "json").json
        assert described["workflow"]["input"] == {"z": 12345678901234567890, "a": 1.0}

    def test_a_refusal_is_one_line_with_its_reason(self, cli, started):
        ended = cli("workflow", "start", "checkout", "--id", started)
        assert (ended.code, ended.out) == (1, "")
        assert ended.err.startswith("perdure: ")
        assert ended.err.endswith("(WORKFLOW_ALREADY_EXISTS)\n")
        assert ended.err.count("\n") == 1

    def test_policies(self, cli, started):
        again = ("workflow", "start", "checkout", "--id", started, "--output", "json")
        assert cli(*again, "--conflict", "use_existing").json["started"] is False
        assert cli(*again, "--conflict", "terminate_existing").json["started"]
        assert cli("workflow", "terminate", started).code == 0
        assert cli(*again, "--reuse", "allow_duplicate").json["started"]

    @pytest.mark.parametrize(
        "arguments",
        [
            (),
            ("checkout", "--input", "{"),
            ("checkout", "--input", "@/no/such/file"),
            ("checkout", "--run-timeout", "soon"),
            ("checkout", "--conflict", "nonsense"),
            ("checkout", "--nonsense"),
        ],
    )
    def test_wrong_usage_exits_64(self, cli, arguments):
        assert cli("workflow", "start", *arguments).code == 64


class TestStartBatch:
    LINES = (
        '{"workflow_id": "%s-0", "input": {"cents": 5}, "search_attributes": {"team": "a"}}',
        "",
        '{"workflow_id": "%s-1", "workflow_type": "refund", "priority": 1, "summary": "one"}',
    )

    @pytest.fixture
    def file(self, tmp_path, name):
        path = tmp_path / "starts.jsonl"
        path.write_text("\n".join(self.LINES).replace("%s", name))
        return path

    def test_starts_each_line(self, cli, name, file):
        arguments = ("workflow", "start-batch", f"{file}", "--type", "checkout")
        ended = cli(*arguments)
        assert ended.code == 0
        assert [line.split()[:2] for line in ended.out.splitlines()[1:]] == [
            [f"{name}-0", "PENDING"],
            [f"{name}-1", "PENDING"],
        ]
        described = cli("workflow", "describe", f"{name}-0", "--output", "json").json["workflow"]
        assert described["workflow_type"] == "checkout"
        assert described["input"] == {"cents": 5}
        assert described["search_attributes"] == {"team": "a"}
        described = cli("workflow", "describe", f"{name}-1", "--output", "json").json["workflow"]
        assert (described["workflow_type"], described["summary"]) == ("refund", "one")

    def test_refusals_stand_in_their_places(self, cli, name, file):
        cli("workflow", "start", "checkout", "--id", f"{name}-1")
        arguments = ("workflow", "start-batch", f"{file}", "--type", "checkout")
        ended = cli(*arguments)
        assert (ended.code, ended.err) == (1, "perdure: 1 of 2 were refused\n")
        assert "refused: " in ended.out.splitlines()[2]
        started, refused = cli(*arguments, "--conflict", "use_existing", "--output", "json").json
        assert (started["started"]["started"], refused["started"]["started"]) == (False, False)
        again = cli(*arguments, "--output", "json")
        assert [each["error"]["reason"] for each in again.json] == ["WORKFLOW_ALREADY_EXISTS"] * 2

    @pytest.mark.parametrize(
        ("line", "said"),
        [
            ("{", "line 1: "),
            ("[]", "not a JSON object"),
            ('{"nonsense": 1}', "'nonsense' is not one of"),
            ('{"priority": "1"}', "'priority' cannot be"),
            ('{"workflow_id": 1}', "'workflow_id' cannot be"),
            ('{"search_attributes": 1}', "'search_attributes' is an object"),
            ('{"priority": 99999999999}', "line 1: "),
        ],
    )
    def test_a_bad_line_starts_nothing(self, cli, tmp_path, line, said):
        path = tmp_path / "starts.jsonl"
        path.write_text(line)
        ended = cli("workflow", "start-batch", f"{path}")
        assert ended.code == 64
        assert said in " ".join(ended.err.split())

    def test_a_file_that_is_not_there(self, cli):
        assert cli("workflow", "start-batch", "/no/such/file").code == 64


class TestLooking:
    def test_list(self, cli, started):
        table = cli("workflow", "list", "--type", "checkout")
        assert table.code == 0
        assert table.out.startswith("WORKFLOW")
        assert any(line.startswith(started) for line in table.out.splitlines())

    def test_list_filters_and_pages(self, cli, name):
        for index in range(3):
            cli("workflow", "start", name, "--id", f"{name}-{index}")
        arguments = ("workflow", "list", "--type", name, "--output", "json")
        listed = cli(*arguments).json
        assert [run["workflow_id"] for run in listed] == [f"{name}-{i}" for i in (2, 1, 0)]
        assert len(cli(*arguments, "--limit", "2").json) == 2
        assert cli(*arguments, "--status", "completed").json == []
        assert cli(*arguments, "--namespace", "other").json == []

    def test_list_and_count_by_attributes(self, cli, name):
        for number, team in enumerate("aab", 1):
            ended = cli(
                *("workflow", "start", "checkout", "--id", f"{name}-{number}"),
                *("--search-attribute", f"team={team}", "--search-attribute", f"no={number}"),
                *("--search-attribute", f"of={name}", "--memo", '{"by":1}'),
                *("--search-attribute", "note:text=A late parcel", "--summary", "An order"),
            )
            assert ended.code == 0, ended.err
        mine = f"of = '{name}' AND note = 'late'"
        answer = cli(
            "workflow", "list", "--filter", f"{mine} AND no > 1", "--order-by", "no", "-o", "json"
        )
        assert [run["workflow_id"] for run in answer.json] == [f"{name}-2", f"{name}-3"]
        assert answer.json[0]["search_attributes"] == {
            "no": 2,
            "note": "A late parcel",
            "of": name,
            "team": "a",
        }
        told = cli("workflow", "describe", f"{name}-1").out
        assert "An order" in told
        assert '"team": "a"' in told
        assert cli("workflow", "count", "--filter", mine).out == "3\n"
        counts = cli("workflow", "count", "--filter", mine, "--group-by", "team").out.splitlines()
        assert [line.split() for line in counts] == [["TEAM", "RUNS"], ["a", "2"], ["b", "1"]]
        for command in ("list", "count"):
            told = "perdure: filter: column 4: expected a value, found the end (INVALID_FILTER)\n"
            assert cli("workflow", command, "--filter", "a =") == Ended(1, "", told)
            not_text = cli("workflow", command, "--filter", "a = '\udcff'")
            assert not_text == Ended(1, "", "perdure: what was given is not UTF-8\n")

    @pytest.mark.parametrize("text", ["team", "=x", "a:fish=x", "a:int=x", "a:datetime=x"])
    def test_an_attribute_that_cannot_be_read_exits_64(self, cli, text):
        assert cli("workflow", "start", "t", "--search-attribute", text).code == 64

    def test_describe(self, cli, started):
        text = cli("workflow", "describe", started).out
        assert "PENDING" in text
        assert "no worker" in text

    def test_describe_of_an_unknown_workflow(self, cli, name):
        ended = cli("workflow", "describe", name)
        assert ended.code == 1
        assert "WORKFLOW_NOT_FOUND" in ended.err

    def test_children(self, cli, server, started):
        starts = [
            {"seq": n, "workflow_id": f"{started}-{n}", "workflow_type": "pack", "task_queue": "q"}
            for n in (1, 2)
        ]
        commands = [Command(start_child_workflow=start) for start in starts]
        answer_workflow(server.address, started, *commands)
        table = cli("workflow", "children", started).out.splitlines()
        assert [line.split()[0] for line in table[1:]] == [f"{started}-1", f"{started}-2"]
        listed = cli("workflow", "children", started, "--output", "json", "--limit", "1").json
        assert [child["parent_workflow_id"] for child in listed] == [started]

    def test_history(self, cli, started):
        cli("workflow", "signal", started, "go", "--input", "[1]")
        events = cli("workflow", "history", started, "--output", "json").json
        assert [event["seq"] for event in events] == [1, 2]
        assert events[1]["signal_received"] == {"signal_name": "go", "payload": [1]}
        assert "signal_received" in cli("workflow", "history", started).out

    def test_history_can_be_replayed(self, cli, started):
        @workflow
        async def checkout() -> None:
            """Has nothing to do."""

        export = cli("workflow", "history", started, "--export").out
        (command,) = replay(export, [checkout])
        assert command.HasField("complete_workflow")


class TestResult:
    def test_prints_the_result(self, cli, server, started):
        complete_workflow(server.address, started, b'{"paid": true}')
        assert cli("workflow", "result", started) == Ended(0, '{"paid": true}\n', "")
        answer = cli("workflow", "result", started, "--output", "json").json
        assert (answer["status"], answer["result"]) == ("COMPLETED", {"paid": True})

    def test_of_a_workflow_that_did_not_complete_exits_1(self, cli, started):
        cli("workflow", "terminate", started, "--reason", "wrong order")
        ended = cli("workflow", "result", started)
        assert (ended.code, ended.out) == (1, "")
        assert "TERMINATED: wrong order" in ended.err

    def test_exits_2_when_time_runs_out(self, cli, started):
        ended = cli("workflow", "result", started, "--timeout", "0")
        assert (ended.code, ended.out) == (2, "")
        assert "still PENDING" in ended.err

    def test_shows_what_happens_on_a_terminal(self, cli, server, started):
        controller, terminal = pty.openpty()
        process = subprocess.Popen(
            [PERDURE, "workflow", "result", started],
            stdout=subprocess.PIPE,
            stderr=terminal,
            env=os.environ | {"TERM": "xterm"},
        )
        os.close(terminal)
        shown = b""
        while b"workflow started" not in shown:
            shown += os.read(controller, 4096)
        complete_workflow(server.address, started, b"42")
        out, _ = process.communicate(timeout=PATIENCE_SECONDS)
        os.close(controller)
        assert (process.returncode, out) == (0, b"42\n")


class TestTalking:
    def test_signal(self, cli, started):
        ended = cli("workflow", "signal", started, "go", "--output", "json")
        assert ended.json == {"event_seq": 2}

    def test_cancel(self, cli, started):
        assert "CANCELLED" in cli("workflow", "cancel", started, "--reason", "late").out

    def test_an_update_that_is_not_answered_stands(self, cli, started):
        ended = cli("workflow", "update", started, "add", "--input", "1", "--timeout", "100ms")
        assert ended.code == 2
        assert "has not answered in time; the update stands, as event 2" in ended.err
        again = cli("workflow", "update", "nobody", "add")
        assert "WORKFLOW_NOT_FOUND" in again.err

    def test_an_update_with_a_start_is_answered(self, cli, server, name):
        joint = ("workflow", "update-with-start", "cart", "add", "--id", name)
        arguments = (*joint, "--task-queue", name, "--request-id", "r", "--value", "[1]")
        assert cli(*arguments, "--timeout", "100ms").code == 2
        answer = Command(complete_update={"requested_seq": 2, "result": {"data": b"7"}})
        answer_workflow(server.address, name, answer)
        assert cli(*arguments).out == "7\n"
        assert cli(*arguments, "--output", "json").json["started"] is True

    def test_a_signal_with_a_start(self, cli, name):
        arguments = ("workflow", "signal-with-start", "cart", "go", "--id", name)
        assert cli(*arguments, "--output", "json").json["started"] is True
        assert "recorded as event 3" in cli(*arguments, "--value", "[1]").out

    def test_state(self, cli, started):
        ended = cli("workflow", "state", started)
        assert ended.code == 1
        assert "SNAPSHOT_NOT_FOUND" in ended.err
        assert "SNAPSHOT_NOT_FOUND" in cli("workflow", "state", started, "total").err

    def test_pause_and_unpause(self, cli, started):
        assert cli("workflow", "pause", started, "--reason", "look").out == "the run is PAUSED\n"
        assert cli("workflow", "unpause", started).out == "the run is PENDING\n"

    def test_continue_as_new(self, cli, started):
        assert "goes on as run" in cli("workflow", "continue-as-new", started, "--input", "2").out

    def test_activities_of_a_workflow(self, cli, started):
        for command in ("pause", "unpause", "reset", "update"):
            ended = cli("workflow", f"{command}-activity", started, "1")
            assert ended.code == 1
            assert "ACTIVITY_NOT_FOUND" in ended.err

    def test_an_activity_from_outside(self, cli, started):
        given = ("--input", '{"by":"ann"}', "--heartbeat", "10", "--max-attempts", "2")
        ended = cli("workflow", "schedule-activity", started, "7", "audit", *given)
        assert ended.code == 0
        name = ended.out.removeprefix("activity ").strip()
        shown = cli("activity", "show", name, "--output", "json").json
        assert (shown["name"], shown["input"]) == ("audit", {"by": "ann"})
        again = cli("workflow", "schedule-activity", started, "7", "audit", *given, "-o", "json")
        assert again.json["activity"]["activity_id"] == name
        operate = (started, "7", "--external")
        assert cli("workflow", "pause-activity", *operate, "--reason", "audit").out == "paused\n"
        assert "activity 'audit' (7, external) was paused" in cli("workflow", "why", started).out
        assert cli("workflow", "update-activity", *operate, "--priority", "1").out == "changed\n"
        assert cli("workflow", "reset-activity", *operate).out == "attempt 1\n"
        assert cli("workflow", "unpause-activity", *operate).out == "goes on\n"

    def test_reset_and_retry(self, cli, started):
        ended = cli("workflow", "reset", started, "1", "--reason", "bug", "--identity", "ann")
        assert "goes on as run" in ended.out
        ended = cli("workflow", "retry", started, "--requested-by", "ann", "--reason", "mended")
        assert ended.code == 1
        assert "WORKFLOW_NOT_FAILED" in ended.err

    def test_terminate(self, cli, started):
        assert cli("workflow", "terminate", started) == Ended(0, "terminated\n", "")
        ended = cli("workflow", "terminate", started)
        assert ended.code == 1
        assert "WORKFLOW_NOT_FOUND" in ended.err


class TestWatch:
    def test_prints_the_events_of_a_workflow_until_it_closes(self, cli, started):
        cli("workflow", "terminate", started)
        lines = cli("workflow", "watch", started).out.splitlines()
        assert [line.split("  ")[2] for line in lines] == [
            "workflow_started",
            "workflow_terminated",
        ]
        events = cli("workflow", "watch", started, "--output", "json").out.splitlines()
        assert [json.loads(line)["event"]["seq"] for line in events] == [1, 2]

    def test_prints_the_events_of_all_as_they_are_committed(self, cli, server, name):
        process = subprocess.Popen(
            [PERDURE, "workflow", "watch", "--type", name, "--output", "json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert json.loads(process.stdout.readline())["cursor"]
        cli("workflow", "start", name, "--id", name)
        event = json.loads(process.stdout.readline())
        assert (event["kind"], event["workflow_id"]) == ("workflow_started", name)
        process.terminate()
        process.communicate()

    def test_a_bad_cursor_is_told(self, cli):
        ended = cli("workflow", "watch", "--after", "nonsense")
        assert ended.code == 1
        assert "INVALID_CURSOR" in ended.err


def test_a_server_that_is_not_there_is_told_in_one_line(cli):
    ended = cli("workflow", "list", "--address", "127.0.0.1:1")
    assert (ended.code, ended.out) == (1, "")
    assert "does a server run there?" in ended.err
    assert ended.err.count("\n") == 1


class TestSchedules:
    """`perdure schedule …`."""

    def test_a_schedule_from_its_creation_to_its_end(self, cli, name):
        made = ("create", name, "report", "--cron", "30 2 * * *", "--timezone", "Europe/Berlin")
        labels = (
            "--search-attribute",
            "team=a",
            "--memo",
            "[2]",
            "--summary",
            "s",
            "--details",
            "d",
        )
        options = ("--overlap", "allow_all", "--note", "hi", "--input", "[1]", *labels)
        ended = cli("schedule", *made, *options)
        assert ended.code == 0, ended.err
        assert "30 2 * * * Europe/Berlin" in ended.out
        shown = cli("schedule", "show", name, "-o", "json").json
        assert (shown["name"], shown["note"], shown["spec"]["input"]) == (name, "hi", [1])
        spec = shown["spec"]
        assert (spec["search_attributes"], spec["memo"]) == ({"team": "a"}, [2])
        assert (spec["summary"], spec["details"]) == ("s", "d")
        assert name in cli("schedule", "list").out
        assert name in [each["name"] for each in cli("schedule", "list", "-o", "json").json]
        changed = cli("schedule", "update", name, "--every", "2h", "--offset", "90", "-o", "json")
        assert changed.json["spec"]["interval"] == 7200
        assert changed.json["spec"]["cron_expr"] is None
        assert cli("schedule", "pause", name, "--note", "holidays").out == f"paused {name}\n"
        assert "holidays" in cli("schedule", "show", name).out
        assert cli("schedule", "resume", name).out.startswith(f"resumed {name}; next at 20")
        assert cli("schedule", "trigger", name).out.startswith(f"started {name}-")
        assert cli("schedule", "delete", name).out == f"deleted {name}\n"
        gone = cli("schedule", "show", name)
        assert (gone.code, gone.out) == (1, "")
        assert "SCHEDULE_NOT_FOUND" in gone.err

    def test_instants(self, cli, name):
        cli("schedule", "create", name, "report", "--cron", "@daily", "--paused")
        after = ("--after", "2026-01-01T12:00", "--count", "2")
        assert cli("schedule", "preview", name, *after).out.split("\n") == [
            "2026-01-02 00:00:00.000Z",
            "2026-01-03 00:00:00.000Z",
            "",
        ]
        assert cli("schedule", "preview", name, *after, "-o", "json").json == [
            "2026-01-02T00:00:00Z",
            "2026-01-03T00:00:00Z",
        ]
        span = ("2026-01-01T00:00Z", "2026-01-02T01:00+01:00")
        first = cli("schedule", "backfill", name, *span, "-o", "json").json
        assert [run["workflow_id"] for run in first] == [
            f"{name}-2026-01-01T00:00:00Z",
            f"{name}-2026-01-02T00:00:00Z",
        ]
        assert cli("schedule", "backfill", name, *span).out.count("ran before") == 2

    def test_what_cannot_be_read_is_wrong_usage_or_refused(self, cli, name):
        assert cli("schedule", "backfill", name, "yesterday", "today").code == 64
        refused = cli("schedule", "create", name, "report", "--cron", "whenever")
        assert (refused.code, refused.out) == (1, "")
        assert "INVALID_SCHEDULE" in refused.err
