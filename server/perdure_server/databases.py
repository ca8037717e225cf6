"""Owns the commands about databases beside their servers: `perdure db` and `perdure store`."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Annotated, Final

import typer

from perdure_server.config import (
    DATABASE_NAME,
    DEFAULT_SCHEMA,
    POSTGRES_SCHEMES,
    ConfigError,
    read_config,
    without_password,
)
from perdure_server.store import copy as copying
from perdure_server.store.migrate import SCHEMA_VERSION
from perdure_server.store.offline import Place
from perdure_server.store.postgres.offline import PostgresPlace
from perdure_server.store.sqlite.offline import SqlitePlace

SQLITE_SCHEME: Final = "sqlite:"

db = typer.Typer(no_args_is_help=True, help="Looks after the schema of a database.")
store = typer.Typer(no_args_is_help=True, help="Moves databases.")

Data = Annotated[Path | None, typer.Option(help="The data folder. [.perdure]")]
Store = Annotated[
    str | None,
    typer.Option(metavar="URL", help="A PostgreSQL instead: postgresql://USER@HOST/DATABASE."),
]
Schema = Annotated[str | None, typer.Option(help="The schema in that database. [perdure]")]


class NotServable(Exception):
    """This server may not serve a database as it is; the text says what to do."""


@db.command()
def migrate(*, data: Data = None, store: Store = None, schema: Schema = None) -> None:
    """Brings the schema to this version, which a server also does when it starts."""
    place, name = _configured(data, store, schema)

    async def act() -> int:
        before = (await place.look()).version
        await place.migrate()
        return before

    before = asyncio.run(act())
    done = "as it was" if before >= SCHEMA_VERSION else f"was {before or 'not there'}"
    print(f"{name}: schema version {max(before, SCHEMA_VERSION)}, {done}")


@db.command()
def check(*, data: Data = None, store: Store = None, schema: Schema = None) -> None:
    """Tells whether this server may serve a database; changes nothing. Exit code 1: it may not."""
    place, name = _configured(data, store, schema)
    found = asyncio.run(place.look())
    may_serve = not found.is_too_new and not found.needs_migration
    print(f"database        {name}")
    print(f"schema version  {found.version or 'none'}")
    print(f"this server     {SCHEMA_VERSION}")
    print(f"may serve       {'yes' if may_serve else 'no'}")
    found.check()
    if not may_serve:
        raise NotServable(
            "the database needs a migration: run `perdure db migrate`, or start a server, which"
            " migrates first"
        )


@store.command()
def copy(
    source: Annotated[
        str,
        typer.Argument(
            metavar="FROM", help="A data folder, sqlite:FILE, or postgresql://USER@HOST/DATABASE."
        ),
    ],
    target: Annotated[str, typer.Argument(metavar="TO", help="The same; it must be empty.")],
    *,
    schema: Annotated[
        str, typer.Option(help="The schema in a PostgreSQL database.")
    ] = DEFAULT_SCHEMA,
) -> None:
    """Copies a database that no server uses to an empty place, and reads the copy back.

    Ids, histories, tasks with their tokens, timers and keys are kept. Cursors of watches are not.
    """
    old, new = (_place(text, schema) for text in (source, target))
    copied = asyncio.run(copying.copy(old, new))
    for name, content in copied.tables.items():
        print(f"{name:<11}{content.rows:>10}  sha256 {content.digest}")
    print(
        f"Copied {old.name} to {new.name}, read it back and found it equal. Cursors of watches"
        f" from before are refused: epoch {copied.epoch} begins."
    )


def _configured(data: Path | None, url: str | None, schema: str | None) -> tuple[Place, str]:
    """Returns the database that options and environment name, and its name to show."""
    config = read_config(os.environ, data=data, store=url, schema=schema)
    if config.store is None:
        return SqlitePlace(config.database), str(config.database)
    return PostgresPlace(config.store, schema=config.schema), config.place


def _place(text: str, schema: str) -> Place:
    """Returns the place that an argument names; raises ConfigError."""
    if text.startswith(SQLITE_SCHEME):
        path = Path(text.removeprefix(SQLITE_SCHEME))
        return SqlitePlace(path)
    scheme, separator, _ = text.partition("://")
    if not separator:
        return SqlitePlace(Path(text) / DATABASE_NAME)
    if scheme not in POSTGRES_SCHEMES:
        raise ConfigError(
            f"{without_password(text)} is no database that is known: use a data folder,"
            " sqlite:FILE or postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
        )
    return PostgresPlace(text, schema=schema)
