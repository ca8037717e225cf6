from __future__ import annotations

import runpy

import pytest

from perdure_server.core import diagrams


def test_a_table_becomes_a_diagram() -> None:
    table = {
        (None, "opened"): "OPEN",
        ("OPEN", "knocked"): "OPEN",
        ("OPEN", "shut"): "CLOSED",
        ("OPEN", "slammed"): "CLOSED",
        ("CLOSED", "knocked"): "CLOSED",
    }
    assert diagrams.diagram(table).splitlines() == [
        "stateDiagram-v2",
        "    [*] --> OPEN: opened",
        "    OPEN --> OPEN: knocked",
        "    OPEN --> CLOSED: shut<br/>slammed",
        "    CLOSED --> CLOSED: knocked",
        "    CLOSED --> [*]",
    ]


def test_a_table_without_a_beginning_begins_with_its_first_state() -> None:
    assert diagrams.diagram({("A", "go"): "B"}).splitlines()[1] == "    [*] --> A"


def test_every_table_is_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(diagrams.__file__, run_name="__main__")
    printed = capsys.readouterr().out
    assert printed == diagrams.draw()
    assert printed.count("```mermaid") == 7
