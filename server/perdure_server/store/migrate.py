"""Owns the numbered migrations, and the check whether this server may use a schema.

A migration is a whole script: it opens its transaction, changes the schema, adds its row (version,
min_server) to the table `schema` and commits. `min_server` is the lowest schema version a server
must know to use the result. Unless it says otherwise, a server works with the schema after its own,
so that servers are replaced one by one; server/README.md says what that asks of a migration. How a
script is run is the backend's business.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from perdure_server.core.errors import SchemaTooNew

SCHEMA_VERSION: Final = 9
"""The newest schema that this server knows, on every backend."""

_ROW: Final = re.compile(
    r"^INSERT INTO schema \(version, min_server\) VALUES \(\d+, (\d+)\);$", re.MULTILINE
)


@dataclass(slots=True, frozen=True)
class Migration:
    """One step from schema version `number - 1` to `number`."""

    number: int
    script: str

    @property
    def min_server(self) -> int:
        """The lowest schema version that a server must know to use the result."""
        found = _ROW.search(self.script)
        return int(found[1]) if found else self.number


def load_migrations(package: str) -> list[Migration]:
    """Returns the scripts `migrations/NNNN_what.sql` of `package` in the order of their numbers."""
    paths = files(package).joinpath("migrations").iterdir()
    scripts = sorted(
        (path for path in paths if path.name.endswith(".sql")), key=lambda path: path.name
    )
    return [Migration(int(path.name[:4]), path.read_text(encoding="utf-8")) for path in scripts]


def ends_older_servers(pending: Iterable[Migration], *, version: int) -> bool:
    """Whether servers that know the schema found may not go on once `pending` have run."""
    return bool(version) and any(migration.min_server > version for migration in pending)


def check_schema(*, version: int, min_server: int) -> None:
    """Raises SchemaTooNew when the schema found needs a server that knows a later version."""
    if min_server > SCHEMA_VERSION:
        raise SchemaTooNew(
            f"the database has schema version {version} and needs a server that knows version "
            f"{min_server}; this one knows {SCHEMA_VERSION}: start a newer server, or restore "
            "a backup from before the migration"
        )
