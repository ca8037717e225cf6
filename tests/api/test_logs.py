"""The log: JSON lines, written by a thread, dropped rather than waited for."""

from __future__ import annotations

import json
import logging
import os
from contextlib import contextmanager

import pytest

from perdure_server import logs


@pytest.fixture
def pipe():
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)
    os.close(writer)


def read_lines(reader):
    return [json.loads(line) for line in os.read(reader, 100_000).decode().splitlines()]


def test_a_line_is_json_with_the_fields_of_its_record(pipe):
    reader, writer = pipe
    with logs.logging_to(writer, "info"):
        logging.getLogger("perdure_server.x").info("said %s", "this", extra={"fields": {"ms": 1.5}})
        logging.getLogger("perdure_server.x").debug("not this")
    (line,) = read_lines(reader)
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "info",
        "logger": "perdure_server.x",
        "message": "said this",
        "ms": 1.5,
    }


def test_an_exception_stays_on_one_line(pipe):
    reader, writer = pipe
    with logs.logging_to(writer, "info"):
        logging.getLogger("x").error("failed", exc_info=ZeroDivisionError("why"))
    (line,) = read_lines(reader)
    assert "ZeroDivisionError: why" in line["exception"]


def test_lines_beyond_the_bound_are_dropped_and_counted(pipe, monkeypatch):
    reader, writer = pipe
    monkeypatch.setattr(logs, "LINES_WAITING_MAX", 0)
    log = logging.getLogger("x")
    with logs.logging_to(writer, "info"):
        log.info("dropped")
        log.info("dropped too")
        monkeypatch.setattr(logs, "LINES_WAITING_MAX", 1_000)
        log.info("kept")
        log.info("kept too")
    first, second = read_lines(reader)
    assert (first["message"], first["lines_dropped_before"]) == ("kept", 2)
    assert "lines_dropped_before" not in second


def test_the_root_logger_is_left_as_it_was(pipe):
    root = logging.getLogger()
    before = (root.level, list(root.handlers))
    with logs.logging_to(pipe[1], "debug"):
        assert (root.level, list(root.handlers)) != before
    assert (root.level, list(root.handlers)) == before


@contextmanager
def closed_pipe():
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


def test_a_reader_that_has_gone_harms_nothing():
    with closed_pipe() as writer, logs.logging_to(writer, "info"):
        logging.getLogger("x").info("to nobody")
