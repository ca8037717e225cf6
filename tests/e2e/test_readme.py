"""The example of the README runs as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).resolve().parents[2] / "README.md"
ADDRESS = re.compile(r"gRPC on (127\.0\.0\.1:\d+),")
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
