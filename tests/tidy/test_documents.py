"""The documents say what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.tidy.diagrams import README, with_fresh_diagrams
from tests.tidy.sources import ROOT, SDK, SERVER, modules, tracked, where

LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")
TARGET = re.compile(r"^([a-z-]+):.*## ", re.MULTILINE)
FILE = re.compile(r"[\w/.-]+\.(?:py|sql|proto|json|yaml|toml)\b")
MADE = re.compile(r"\bmake ([a-z][a-z-]*)")
DOCUMENTS = [path for path in tracked() if path.suffix == ".md"]


def test_the_diagrams_are_fresh() -> None:
    text = README.read_text(encoding="utf-8")
    assert with_fresh_diagrams(text) == text, "run 'make diagrams'"


@pytest.mark.parametrize("path", DOCUMENTS, ids=where)
def test_links_lead_somewhere(path: Path) -> None:
    links = LINK.findall(path.read_text(encoding="utf-8"))
    assert [link for link in links if not (path.parent / link).exists()] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=where)
def test_named_targets_can_be_made(path: Path) -> None:
    targets = set(TARGET.findall((ROOT / "Makefile").read_text(encoding="utf-8")))
    code = " ".join(re.findall(r"`[^`]+`", path.read_text(encoding="utf-8")))
    assert set(MADE.findall(code)) - targets == set()


@pytest.mark.parametrize("path", DOCUMENTS, ids=where)
def test_named_files_exist(path: Path) -> None:
    spans = re.findall(r"`([^`\n]+)`", path.read_text(encoding="utf-8"))
    named = {found[0] for span in spans if (found := FILE.match(span))}
    # Paths of the REST surface are no files.
    named = {name for name in named if not name.startswith("/api/")}
    known = [f"/{where(file)}" for file in tracked()]
    assert [name for name in named if not any(file.endswith(f"/{name}") for file in known)] == []


@pytest.mark.parametrize("package", [SERVER, SDK], ids=where)
def test_every_module_is_on_the_map(package: Path) -> None:
    text = (package.parent / "README.md").read_text(encoding="utf-8")
    named = {span.rpartition("/")[2] for span in re.findall(r"`([^`\n]+\.py)`", text)}
    paths = [path for path in modules(package) if "_cli" not in path.parts]
    assert [where(path) for path in paths if path.name not in named | {"__init__.py"}] == []
