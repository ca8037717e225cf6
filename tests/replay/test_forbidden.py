"""Calls that cannot be replayed are reported with file and line."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import os
import random
import secrets
import socket
import subprocess
import sys
import time
import uuid
from datetime import datetime
from pathlib import Path
from random import randint
from time import time as clock

from perdure import activity, workflow
from perdure._replay.forbidden import _audit, _outside_line, forbidden_calls, watch_outside_calls
from tests.replay.rig import Rig

# The interpreter does not trace audit hooks, and so nor does coverage, unless they say so.
_audit.__cantrace__ = True


def lines(found):
    return [int(line.split(":")[1]) for line in found]


def helper():
    return time.monotonic()


@activity
async def step() -> float:
    return time.time()


async def guilty():
    clock()
    time.time()
    time.perf_counter()
    datetime.now()  # noqa: DTZ005
    dt.datetime.utcnow()  # noqa: DTZ003
    dt.date.today()  # noqa: DTZ011
    random.random()
    randint(1, 2)
    secrets.token_hex()
    uuid.uuid4()
    os.urandom(1)

    def inner():
        return random.choice([1])

    helper()
    helper()
    return inner


async def innocent():
    await step()
    await asyncio.sleep(0)
    rng = random.Random(1)
    uuid.UUID(int=1)
    datetime.fromtimestamp(0, dt.UTC)
    dt.timedelta(1)
    undefined_yet = [].append
    undefined_yet(rng)
    return [str(one) for one in ()]


def test_clocks_and_chance_are_found_in_code_and_in_its_helpers():
    found = forbidden_calls(guilty)
    first = guilty.__code__.co_firstlineno
    named = [line.split(": ")[1].split(" ")[0] for line in found]
    assert named[:11] == [
        "time()",
        "time()",
        "perf_counter()",
        "now()",
        "utcnow()",
        "today()",
        "random()",
        "randint()",
        "token_hex()",
        "uuid4()",
        "urandom()",
    ]
    assert lines(found)[:11] == list(range(first + 1, first + 12))
    assert set(named[11:]) == {"monotonic()", "choice()"}
    assert all(line.startswith(__file__) for line in found)
    assert "workflow.now()" in found[0]


def test_what_can_be_replayed_is_not_reported():
    assert forbidden_calls(innocent) == []


def test_a_worker_warns_of_its_workflows(caplog):
    async def late() -> None:
        time.time()

    definition = workflow(late)
    assert len(definition.warn_of_forbidden_calls()) == 1
    assert "test_forbidden.py" in caplog.text
    assert "(workflow late)" in caplog.text


def test_files_sockets_and_processes_are_reported_once_per_line(caplog, tmp_path):
    watch_outside_calls()
    watch_outside_calls()
    path = tmp_path / "file"
    path.write_text("x")

    @workflow
    async def outside() -> None:
        for _ in range(2):
            open(path, encoding="utf-8").close()  # noqa: ASYNC230, PTH123
        path.read_text()
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
        subprocess.run([sys.executable, "-V"], check=True, capture_output=True)  # noqa: ASYNC221

    caplog.set_level(logging.WARNING)
    assert Rig(outside).run() == ["complete_workflow null"]
    events = [record.message.split(": ")[1].split(" ")[0] for record in caplog.records]
    first = outside.fn.__code__.co_firstlineno
    where = lines(record.message for record in caplog.records)
    assert ("open", first + 3) in zip(events, where, strict=True)
    assert ("open", first + 4) in zip(events, where, strict=True)
    assert ("socket.bind", first + 6) in zip(events, where, strict=True)
    assert ("subprocess.Popen", first + 7) in zip(events, where, strict=True)
    assert len(set(zip(events, where, strict=True))) == len(events)


def test_imports_logs_and_our_own_reading_are_not_reported(caplog, tmp_path):
    watch_outside_calls()
    handler = logging.FileHandler(tmp_path / "log", delay=True)
    log = logging.getLogger("of-the-author")
    log.addHandler(handler)

    @workflow
    async def quiet() -> None:
        import this_module_does_not_exist  # noqa: F401

    @workflow
    async def logging_workflow() -> None:
        log.warning("hello")

    assert "ModuleNotFoundError" in Rig(quiet).run()[0]
    assert Rig(logging_workflow).run() == ["complete_workflow null"]
    handler.close()
    log.removeHandler(handler)
    assert [record.name for record in caplog.records] == ["of-the-author"]
    assert Path(__file__).read_text()
    assert _outside_line(None) == ""
