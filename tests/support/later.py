"""Owns a schema of the future: what a later version may do to the tables of this one.

Every table gets a column with a default, views are made anew over them, and there is one more
table. A server of this version is to work with that.
"""

from __future__ import annotations

import re
from typing import Final

from perdure_server.store.migrate import SCHEMA_VERSION, load_migrations

LATER_VERSION: Final = SCHEMA_VERSION + 1
_BEGIN: Final = {"sqlite": "BEGIN IMMEDIATE;", "postgres": "BEGIN;"}
_COLUMN: Final = {
    "sqlite": "later INTEGER NOT NULL DEFAULT 7",
    "postgres": "later bigint NOT NULL DEFAULT 7",
}
_TABLE: Final = re.compile(r"^CREATE TABLE (\w+) \(", re.MULTILINE)
_VIEW: Final = re.compile(r"^CREATE VIEW (\w+) AS\n.*?;$", re.MULTILINE | re.DOTALL)


def later_script(backend: str, *, min_server: int = SCHEMA_VERSION) -> str:
    """Returns the migration after the last one of a backend."""
    known = "\n".join(each.script for each in load_migrations(f"perdure_server.store.{backend}"))
    views = {found[1]: found[0] for found in _VIEW.finditer(known)}
    return "\n".join(
        [
            _BEGIN[backend],
            *(f"ALTER TABLE {table} ADD COLUMN {_COLUMN[backend]};" for table in tables(known)),
            *(f"DROP VIEW {name};\n{text}" for name, text in views.items()),
            f"CREATE TABLE laters ({_COLUMN[backend]});",
            f"INSERT INTO schema (version, min_server) VALUES ({LATER_VERSION}, {min_server});",
            "COMMIT;",
            "",
        ]
    )


def tables(script: str) -> list[str]:
    """Returns the tables that a script makes."""
    return [name for name in _TABLE.findall(script) if name != "schema"]
