"""Owns the loading of named queries: a line `-- name: x` in a `.sql` file starts the query `x`.

A line `-- part: x` starts a text that stands wherever a query of the same backend says `{{x}}`: the
columns of a table, of which no query asks for "all". Comment lines above the first name of a file
and between queries are for readers. Backends keep the same names in files of the same names, so
that two dialects can be read side by side.
"""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Final

_HEAD: Final = re.compile(r"^-- (name|part): (\w+)$", re.MULTILINE)
_USE: Final = re.compile(r"\{\{(\w+)\}\}")


def load_queries(package: str) -> dict[str, str]:
    """Returns the queries of `package`'s `queries` folder by name.

    Raises ValueError when a name stands twice, and KeyError when a part does not stand at all.
    """
    found: dict[str, dict[str, str]] = {"name": {}, "part": {}}
    for path in files(package).joinpath("queries").iterdir():
        _, *pieces = _HEAD.split(path.read_text(encoding="utf-8"))
        for kind, name, text in zip(pieces[::3], pieces[1::3], pieces[2::3], strict=True):
            if name in found[kind]:
                raise ValueError(f"{path.name}: the query {name} is defined twice")
            found[kind][name] = text.strip()
    parts = found["part"]
    return {name: _USE.sub(lambda use: parts[use[1]], text) for name, text in found["name"].items()}
