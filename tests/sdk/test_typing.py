"""The types that a user's editor shows."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

SAMPLE = Path(__file__).with_name("typing_sample.py")
ROOT = SAMPLE.parents[2]


async def test_a_users_file_is_read_by_mypy_strict(tmp_path):
    mypy = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mypy", "--strict", "--config-file=", "--follow-imports=silent"),
        *(f"--cache-dir={tmp_path}", str(SAMPLE)),
        cwd=tmp_path,
        env={"MYPYPATH": str(ROOT / "clients/python")},
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await mypy.communicate()
    assert mypy.returncode == 0, output.decode()
