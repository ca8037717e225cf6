"""What is written here holds for every reader, on every machine."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.tidy.sources import ROOT, tracked, where

MACHINE = re.compile(r"(?<![\w.:/{}-])/(?:home|mnt|opt|root|tmp|Users|work)/[\w.-]+")
TICKET = re.compile(r"\bissue\s+#?\d+", re.IGNORECASE)
LEFTOVER = re.compile(r"\b(?:TODO|FIXME|XXX|HACK)\b")
CONFLICT = re.compile(r"^(?:<{7} |>{7} |={7}$)", re.MULTILINE)

TEXTS = [
    path
    for path in tracked()
    if path.suffix not in {".binpb", ".db", ".pb", ".png"}
    and "third_party" not in path.parts
    and path != Path(__file__).resolve()
    and path.name not in {"LICENSE", "requirements.lock"}
]


@pytest.mark.parametrize("path", TEXTS, ids=where)
def test_words_hold_everywhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    found = [
        m[0] for pattern in (MACHINE, TICKET, LEFTOVER, CONFLICT) for m in pattern.finditer(text)
    ]
    assert found == []


def test_the_root_holds_what_it_should() -> None:
    visible = {path.relative_to(ROOT).parts[0] for path in tracked()}
    assert {name for name in visible if not name.startswith(".")} <= {
        "CHANGELOG.md",
        "LICENSE",
        "Makefile",
        "README.md",
        "clients",
        "envoy.yaml",
        "proto",
        "pyproject.toml",
        "requirements.lock",
        "server",
        "tests",
    }
