"""Owns the server's command line: arguments to a configuration, errors to one sentence."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from perdure_server import app
from perdure_server.config import DEFAULT_LOG_LEVEL, Config, ConfigError, read_config
from perdure_server.core.errors import SchemaTooNew, StoreInUse, StoreUnavailable
from perdure_server.logs import STANDARD_ERROR, logging_to

_EXIT_USAGE = 64
_EXIT_USAGE_OF_TYPER = 2

cli = typer.Typer(
    name="perdure",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Runs a Perdure server.",
)

Data = Annotated[Path | None, typer.Option(help="Folder that holds everything. [.perdure]")]
Grpc = Annotated[
    str | None, typer.Option(metavar="HOST:PORT", help="Where to listen. [127.0.0.1:7766]")
]
Insecure = Annotated[
    bool, typer.Option("--insecure", help="Allow an address that other machines can reach.")
]
LogLevel = Annotated[
    str | None, typer.Option(metavar="LEVEL", help="One of debug, info, warning, error.")
]
GraceSeconds = Annotated[
    float | None, typer.Option(help="How long calls may go on after a stop. [5]")
]


def main() -> None:
    """Runs the command line; exit code 1 and one sentence when the server cannot start."""
    try:
        cli(prog_name="perdure")
    except SystemExit as stop:
        sys.exit(_EXIT_USAGE if stop.code == _EXIT_USAGE_OF_TYPER else stop.code)
    except (ConfigError, app.StartError, StoreInUse, SchemaTooNew, StoreUnavailable) as error:
        sys.exit(f"perdure: {error}")


def _add_command(name: str, *, log_level_default: str, description: str) -> None:
    """Adds a command that serves; the two differ only in what they log."""

    @cli.command(name, help=description)
    def serve(
        *,
        data: Data = None,
        grpc: Grpc = None,
        insecure: Insecure = False,
        log_level: LogLevel = None,
        grace_seconds: GraceSeconds = None,
    ) -> None:
        _serve(
            read_config(
                os.environ,
                data=data,
                grpc=grpc,
                insecure=insecure,
                log_level=log_level,
                grace_seconds=grace_seconds,
                default_log_level=log_level_default,
            )
        )


_add_command(
    "server",
    log_level_default=DEFAULT_LOG_LEVEL,
    description="Serves until it is told to stop; logs every call as JSON.",
)
_add_command(
    "dev",
    log_level_default="warning",
    description="Serves for development: everything in one folder, and only trouble is logged.",
)


def _serve(config: Config) -> None:
    def announce(address: str) -> None:
        print(f"Perdure serves gRPC on {address}, data in {config.data}", flush=True)

    with logging_to(STANDARD_ERROR, config.log_level):
        app.run(config, announce)


if __name__ == "__main__":
    main()
