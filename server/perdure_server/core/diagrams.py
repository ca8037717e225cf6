"""Owns the state diagrams of `server/README.md`, drawn from the tables that the code executes.

`python -m perdure_server.core.diagrams` prints them.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Final

from perdure_server.core.activity import ACTIVITY_TRANSITIONS
from perdure_server.core.cancellation import CANCELLATION_TRANSITIONS
from perdure_server.core.child import CHILD_TRANSITIONS
from perdure_server.core.run import RUN_TRANSITIONS
from perdure_server.core.signal import WAIT_TRANSITIONS
from perdure_server.core.timer import TIMER_TRANSITIONS
from perdure_server.core.update import UPDATE_TRANSITIONS

Transitions = Mapping[tuple[Any, str], str]

_TABLES: Final[dict[str, Transitions]] = {
    "Run": RUN_TRANSITIONS,
    "Activity": ACTIVITY_TRANSITIONS,
    "Timer": TIMER_TRANSITIONS,
    "Child": CHILD_TRANSITIONS,
    "Update": UPDATE_TRANSITIONS,
    "Wait for a signal": WAIT_TRANSITIONS,
    "Cancellation of a run": CANCELLATION_TRANSITIONS,
}
_EDGE: Final = "[*]"
"""How mermaid writes the beginning and the end."""


def draw() -> str:
    """Returns every diagram as Markdown, ending with a line break."""
    return "\n".join(
        f"### {title}\n\n```mermaid\n{diagram(table)}```\n" for title, table in _TABLES.items()
    )


def diagram(table: Transitions) -> str:
    """Returns a table as a mermaid state diagram; events between two states share an arrow."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for (before, kind), after in table.items():
        arrows.setdefault((before or _EDGE, after), []).append(kind)
    lines = ["stateDiagram-v2"]
    if not any(before == _EDGE for before, _ in arrows):
        lines.append(f"{_EDGE} --> {next(iter(arrows))[0]}")
    lines += [f"{before} --> {after}: {'<br/>'.join(k)}" for (before, after), k in arrows.items()]
    lines += [f"{state} --> {_EDGE}" for state in _ends(table)]
    return "\n    ".join(lines) + "\n"


def _ends(table: Transitions) -> list[str]:
    """Returns the states that nothing leaves, in the order of their first row."""
    left = {before for (before, _), after in table.items() if before != after}
    return [state for state in dict.fromkeys(table.values()) if state not in left]


if __name__ == "__main__":
    sys.stdout.write(draw())
