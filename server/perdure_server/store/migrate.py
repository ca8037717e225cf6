"""Owns the numbered migrations that every backend has, and the check whether this server may use a schema.

A migration is a whole script: it opens its transaction, changes the schema, adds its row (version, min_server) to the
table `schema` and commits. `min_server` is the lowest schema version a server must know to use the result, so that a
compatible migration does not lock out the server before it. How a script is run is the backend's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from perdure_server.core.errors import SchemaTooNew

SCHEMA_VERSION: Final = 1
"""The newest schema that this server knows, on every backend."""


@dataclass(slots=True, frozen=True)
class Migration:
    """One step from schema version `number - 1` to `number`."""

    number: int
    script: str


def load_migrations(package: str) -> list[Migration]:
    """Returns the scripts of `package`'s `migrations` folder, named `NNNN_what.sql`, in the order of their numbers."""
    paths = [path for path in files(package).joinpath("migrations").iterdir() if path.name.endswith(".sql")]
    return sorted(
        (Migration(int(path.name[:4]), path.read_text(encoding="utf-8")) for path in paths),
        key=lambda migration: migration.number,
    )


def check_schema(*, version: int, min_server: int) -> None:
    """Raises SchemaTooNew when the schema found needs a server that knows a later version than this one does."""
    if min_server > SCHEMA_VERSION:
        message = (
            f"the database has schema version {version}, which needs a server that knows version {min_server}; "
            f"this server knows version {SCHEMA_VERSION}: start a newer server"
        )
        raise SchemaTooNew(message)
