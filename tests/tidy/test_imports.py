"""The SDK's package stays light, and says truthfully what it exports."""

from __future__ import annotations

import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import perdure
from tests.tidy.sources import ROOT, SDK, where


def modules_after(statement: str) -> set[str]:
    """Returns the modules of Perdure that a fresh interpreter holds after a statement."""
    program = (
        f"{statement}\nimport sys\nprint(*(m for m in sys.modules if m.startswith('perdure')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_the_stubs_come_without_the_sdk() -> None:
    loaded = modules_after("from perdure.v1 import workflow_service_pb2, worker_service_pb2_grpc")
    assert {name for name in loaded if not name.startswith("perdure.v1")} == {"perdure"}


def test_the_sdk_comes_without_the_server() -> None:
    loaded = modules_after("from perdure import Client, Worker, workflow, activity, signal")
    assert {name for name in loaded if name.startswith("perdure_server")} == set()


def test_the_server_comes_without_the_sdk() -> None:
    loaded = {name for name in modules_after("import perdure_server.app") if "_server" not in name}
    assert {name for name in loaded if not name.startswith("perdure.v1")} == {"perdure"}


def test_every_exported_name_exists() -> None:
    assert [name for name in perdure.__all__ if getattr(perdure, name, None) is None] == []
    assert sorted(set(perdure.__all__)) == sorted(perdure.__all__)


@pytest.mark.parametrize("path", sorted(SDK.glob("[!_]*.py")), ids=where)
def test_public_modules_export_what_exists(path: Path) -> None:
    module = importlib.import_module(f"perdure.{path.stem}")
    assert [
        export for export in getattr(module, "__all__", ()) if not hasattr(module, export)
    ] == []


def test_one_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert perdure.__version__ == project["version"]
