"""Every RPC has a REST form or says why not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.tidy.sources import PROTO

RPC = re.compile(
    r"""(?P<comment>(?:^\ *//.*\n)+)
        \ *rpc\ (?P<name>\w+)\([^)]*\)\ returns\ \([^)]*\)
        (?P<rest>;|\ {\n.*)""",
    re.MULTILINE | re.VERBOSE,
)


def rpcs() -> list[tuple[str, str, bool]]:
    """Returns name, comment and whether a REST form is declared, for every RPC."""
    return [
        (match["name"], match["comment"], "google.api.http" in match["rest"])
        for path in sorted(PROTO.glob("*_service.proto"))
        for match in RPC.finditer(path.read_text(encoding="utf-8"))
    ]


@pytest.mark.parametrize("path", sorted(PROTO.glob("*_service.proto")), ids=lambda path: path.name)
def test_every_rpc_is_found(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    declared = len(re.findall(r"^ *rpc ", text, re.MULTILINE))
    assert declared == len(list(RPC.finditer(text))) > 0


@pytest.mark.parametrize(("name", "comment", "annotated"), rpcs())
def test_every_rpc_has_a_rest_form_or_says_why_not(
    name: str, comment: str, annotated: bool
) -> None:
    assert annotated != ("gRPC only:" in comment), name
