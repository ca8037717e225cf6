"""Owns the tree of commands, and errors as one line on standard error and an exit code."""

from __future__ import annotations

import sys

import typer

from perdure import __version__
from perdure._cli import api_key, operators, schedule, workflow
from perdure._cli.options import ADDRESS_VARIABLE, Ended
from perdure.errors import RpcError, UnavailableError

EXIT_ERROR = 1
EXIT_USAGE = 64
_EXIT_USAGE_OF_TYPER = 2

app = typer.Typer(
    name="perdure",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Perdure: code that survives crashes.",
)
app.add_typer(workflow.app, name="workflow")
app.add_typer(schedule.app, name="schedule")
app.add_typer(api_key.app, name="api-key")
app.add_typer(operators.namespaces, name="namespace")
app.add_typer(operators.queues, name="queue")
app.add_typer(operators.workers, name="worker")
app.add_typer(operators.activities, name="activity")


def run() -> int:
    """Runs the command line and returns the exit code."""
    try:
        app()
    except Ended as ended:
        return ended.exit_code
    except UnavailableError as error:
        print(f"perdure: {_unavailable_text(error)}", file=sys.stderr)
    except RpcError as error:
        print(f"perdure: {error} ({error.reason or error.code})", file=sys.stderr)
    except UnicodeEncodeError:
        # Bytes that are no text come in as halves of pairs, which no message takes.
        print("perdure: what was given is not UTF-8", file=sys.stderr)
    except KeyboardInterrupt:
        return 130
    except SystemExit as stop:
        return EXIT_USAGE if stop.code == _EXIT_USAGE_OF_TYPER else int(stop.code or 0)
    else:
        return 0
    return EXIT_ERROR


def _unavailable_text(error: UnavailableError) -> str:
    if error.reason:
        return f"{error} ({error.reason})"
    # No server said this, so the text is gRPC's own.
    return f"no answer; does a server run there? see --address, {ADDRESS_VARIABLE} ({error})"


@app.command()
def version() -> None:
    """Prints the version."""
    print(__version__)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def server() -> None:
    """Runs a server. `perdure server --help` tells its options."""


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def dev() -> None:
    """Runs a server for development. `perdure dev --help` tells its options."""


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def envoy_config() -> None:
    """Prints the configuration of an Envoy beside a server, which adds REST."""


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def db() -> None:
    """Checks and migrates the schema of a database. `perdure db --help` tells its commands."""


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def store() -> None:
    """Copies a database, also from one backend to the other. `perdure store --help` tells more."""
