"""The example of the README and its lines of curl run as they stand there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).resolve().parents[2] / "README.md"
ADDRESS = re.compile(r"gRPC on (127\.0\.0\.1:\d+),")
REST = re.compile(r"over REST, on (127\.0\.0\.1:\d+)")
ORDERS = README.parent / "clients/python/examples/orders"
RUN_SECONDS = 30


def test_the_example_runs(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    perdure = Path(sys.executable).with_name("perdure")
    command = [perdure, "dev", "--data", tmp_path / "data", "--grpc", "127.0.0.1:0"]
    command += ["--http", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            (address,) = ADDRESS.findall(server.stdout.readline())
            program = tmp_path / "example.py"
            program.write_text(example.replace("localhost:7766", address), encoding="utf-8")
            done = subprocess.run(
                [sys.executable, "-W", "error", program],
                capture_output=True,
                text=True,
                timeout=RUN_SECONDS,
                check=False,
            )
        finally:
            server.terminate()
    assert done.stdout == "charged 4200 cents for o-1, approved by ada\n", done.stderr
    assert server.returncode == 0


def test_the_lines_of_curl_do_what_they_say(tmp_path: Path) -> None:
    lines = re.findall(r"^    (curl .*)$", README.read_text(encoding="utf-8"), re.MULTILINE)
    command = [sys.executable, ORDERS / "run.py", "--data", tmp_path / "data"]
    command += ["--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as orders:
        try:
            rest = next(found for line in orders.stdout if (found := REST.search(line)))[1]
            answers = [_typed(line.replace("localhost:8080", rest)) for line in lines]
        finally:
            orders.terminate()
    started, signalled, result, events = answers
    assert '"workflow_id":"order-1"' in started
    assert '"event_seq"' in signalled
    assert '"status":"COMPLETED"' in result
    assert events.count("event: workflow_started\n") == 1
    assert events.split("\n\n")[-2].split("\n")[1] == "event: workflow_completed"


def _typed(line: str) -> str:
    """Returns what a line says in a shell; again while it says that something runs."""
    while (said := _said(line)).endswith('"closed":false}'):
        pass
    return said


def _said(line: str) -> str:
    return subprocess.run(
        ["bash", "-c", line],
        cwd=README.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
