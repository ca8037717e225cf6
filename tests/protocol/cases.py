"""Owns what the runners share: reading cases, and what it means that a message is like another."""

from __future__ import annotations

import json
from pathlib import Path

from google.protobuf import json_format

ANY = "$any"
HERE = Path(__file__).parent


def names(folder):
    """Returns the names of the cases of a folder."""
    return sorted(path.stem for path in (HERE / folder).glob("*.json"))


def case(folder, name):
    """Reads one case."""
    return json.loads((HERE / folder / f"{name}.json").read_text(encoding="utf-8"))


def as_json(message):
    """Returns a message in the form of the cases."""
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def unlike(found, wanted, place="it"):
    """Returns where something is not as wanted, or nothing.

    Fields that are not wanted may be anything; lists have as many items as are wanted.
    """
    if wanted == ANY:
        return "" if found else f"{place} is empty"
    if isinstance(wanted, dict):
        found = found or {}
        faults = (unlike(found.get(key), value, f"{place}.{key}") for key, value in wanted.items())
        return next(filter(None, faults), "")
    if isinstance(wanted, list):
        if len(found or []) != len(wanted):
            return f"{place} has {len(found or [])} items, not {len(wanted)}: {found}"
        faults = (
            unlike(*pair, f"{place}[{n}]") for n, pair in enumerate(zip(found, wanted, strict=True))
        )
        return next(filter(None, faults), "")
    is_default = not wanted and not found
    return "" if found == wanted or is_default else f"{place} is {found!r}, not {wanted!r}"
