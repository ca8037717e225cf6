"""Keeps the state diagrams of server/README.md equal to the transition tables; run it to draw."""

from __future__ import annotations

from pathlib import Path

from perdure_server.core import diagrams
from tests.tidy.sources import ROOT

README = ROOT / "server" / "README.md"
BEGIN = "<!-- diagrams: begin -->\n"
END = "<!-- diagrams: end -->\n"


def with_fresh_diagrams(text: str) -> str:
    """Returns the document with the diagrams between its markers drawn anew."""
    before, _, rest = text.partition(BEGIN)
    _, marker, after = rest.partition(END)
    if not marker:
        raise ValueError(f"{README.name} has no markers for the diagrams")
    return f"{before}{BEGIN}{diagrams.draw().strip()}\n{END}{after}"


def write(path: Path = README) -> None:
    """Draws the diagrams of a document anew."""
    text = path.read_text(encoding="utf-8")
    path.write_text(with_fresh_diagrams(text), encoding="utf-8")


if __name__ == "__main__":
    write()
