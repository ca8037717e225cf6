"""Owns the loading of named queries: a line `-- name: x` in a `.sql` file starts the query `x`.

Comment lines above the first name of a file and between queries are for readers. Backends keep the
same names in files of the same names, so that two dialects can be read side by side.
"""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Final

_NAME: Final = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def load_queries(package: str) -> dict[str, str]:
    """Returns the queries of `package`'s `queries` folder by name.

    Raises ValueError when a name stands twice.
    """
    queries: dict[str, str] = {}
    for path in files(package).joinpath("queries").iterdir():
        _, *parts = _NAME.split(path.read_text(encoding="utf-8"))
        for name, text in zip(parts[::2], parts[1::2], strict=True):
            if name in queries:
                raise ValueError(f"{path.name}: the query {name} is defined twice")
            queries[name] = text.strip()
    return queries
