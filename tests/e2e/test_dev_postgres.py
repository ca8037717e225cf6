"""`perdure dev --store postgres`: a PostgreSQL of its own, in its folder."""

from __future__ import annotations

import psutil
import pytest

from tests.e2e.processes import ANY, eventually, has_ended

OWN = ("--store", "postgres")


def postgres_of(dev):
    (found,) = (child for child in psutil.Process(dev.pid).children() if child.name() == "postgres")
    return found


def workflows(dev):
    return dev.get("/api/v1/workflows")[1]


@pytest.mark.skipif(not psutil.LINUX, reason="only Linux ends a child with its parent")
def test_it_keeps_everything_in_its_folder_and_leaves_no_process(start_dev, tmp_path):
    dev = start_dev(*OWN)
    assert dev.greeting.endswith(f"data in {tmp_path / 'data'}\n")
    assert not (tmp_path / "data" / "perdure.db").exists()
    assert dev.send("POST", "/api/v1/workflows", b'{"workflow_type":"t"}')[0] == 201
    postgres = postgres_of(dev)
    assert postgres.username() != "root"
    dev.kill()

    # The next may begin while the one before it still ends.
    dev = start_dev(*OWN)
    assert len(workflows(dev)) == 1
    assert has_ended(postgres)
    postgres = postgres_of(dev)
    assert dev.stop()[0] == 0
    eventually(lambda: has_ended(postgres))
    assert {path.name for path in (tmp_path / "data").iterdir()} == {"postgres", "postgres.log"}


def test_several_processes_share_it(start_dev):
    dev = start_dev(*OWN, "--processes", "2")
    assert dev.greeting.count("127.0.0.1:") == 3
    assert dev.send("POST", "/api/v1/workflows", b'{"workflow_type":"t"}')[0] == 201
    assert len(workflows(dev)) == 1
    postgres = postgres_of(dev)
    dev.tell()
    assert dev.wait()[0] == 0
    assert has_ended(postgres)


def test_only_dev_runs_one(command):
    for refused in (command("server", *OWN), command("db", "check", *OWN)):
        assert refused.returncode == 1
        assert "the store is not one that is known" in refused.stderr


def test_without_the_package_it_says_what_to_install(command, monkeypatch, tmp_path):
    monkeypatch.setattr("perdure_server.own_postgres.find_spec", lambda name: None)
    refused = command("dev", "--data", str(tmp_path / "data"), *OWN, *ANY)
    assert refused.returncode == 1
    assert "perdure[postgres-dev]" in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_a_folder_that_cannot_be_made_is_told(command, tmp_path):
    (tmp_path / "file").touch()
    refused = command("dev", "--data", str(tmp_path / "file" / "data"), *OWN, *ANY)
    assert refused.returncode == 1
    assert refused.stderr.startswith("perdure: PostgreSQL cannot be started in ")
    assert refused.stderr.count("\n") == 1


def test_files_of_another_postgres_are_told(command, tmp_path):
    files = tmp_path / "postgres"
    files.mkdir(mode=0o700)
    (files / "PG_VERSION").write_text("12\n")
    refused = command("dev", "--data", str(tmp_path), *OWN, *ANY)
    assert refused.returncode == 1
    assert refused.stderr.startswith("perdure: PostgreSQL does not start: ")
    assert refused.stderr.count("\n") == 1
