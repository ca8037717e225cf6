"""Servers as processes of their own."""

from __future__ import annotations

import subprocess
import sys

import pytest

from perdure_server import __main__ as command_line
from tests.e2e.processes import Dev, ServerProcess

QUIET = ("server", "--log-level", "warning")


@pytest.fixture
def start_server(tmp_path):
    """Starts `perdure server` on a folder; whatever still runs at the end is killed."""
    servers = []

    def start(*arguments, data=tmp_path / "data", grpc="127.0.0.1:0"):
        server = ServerProcess(*QUIET, "--data", str(data), "--grpc", grpc, *arguments)
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.kill()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One server for all tests of a module."""
    data = str(tmp_path_factory.mktemp("data"))
    server = ServerProcess(*QUIET, "--data", data, "--grpc", "127.0.0.1:0")
    yield server
    server.kill()


@pytest.fixture
def start_dev(tmp_path):
    """Starts `perdure dev` on a folder; whatever still runs at the end is killed."""
    devs = []

    def start(*arguments, data=tmp_path / "data"):
        devs.append(Dev(data, *arguments))
        return devs[-1]

    yield start
    for dev in devs:
        dev.kill()


@pytest.fixture
def command(monkeypatch, capsys):
    """Runs a command of the server's program to its end within the test: no process to wait for."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["perdure", *arguments])
        with pytest.raises(SystemExit) as stopped:
            command_line.main()
        said = capsys.readouterr()
        code, complaint = stopped.value.code, ""
        if isinstance(code, str):
            # The interpreter would print it.
            code, complaint = 1, f"{code}\n"
        return subprocess.CompletedProcess(
            arguments, code or 0, stdout=said.out, stderr=said.err + complaint
        )

    return run
