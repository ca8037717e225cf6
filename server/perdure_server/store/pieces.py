"""Owns the putting together of statements from named pieces.

A piece is a query of a `.sql` file in which `{…}` stands for other pieces. Parameters are numbered,
`?1` or `$1`, in each piece from 1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_PARAMETER: Final = re.compile(r"([?$])(\d+)")


@dataclass(slots=True, frozen=True)
class Sql:
    """A statement, or a piece of one, with its parameters."""

    text: str
    parameters: tuple[object, ...] = ()


class Pieces:
    """Puts statements together from the named queries of a backend."""

    def __init__(self, queries: Mapping[str, str]) -> None:
        self._queries = queries

    def make(self, name: str, *parameters: object, **parts: Sql) -> Sql:
        """Returns a named piece with its own parameters and with other pieces in their places."""
        text = self._queries[name].rstrip().removesuffix(";")
        given = list(parameters)
        texts: dict[str, str] = {}
        for key, part in parts.items():
            texts[key] = _shifted(part.text, len(given))
            given += part.parameters
        return Sql(text.format_map(texts), tuple(given))


def _shifted(text: str, by: int) -> str:
    return _PARAMETER.sub(lambda match: f"{match[1]}{int(match[2]) + by}", text)
