"""Owns the command `perdure`: what serves or needs a database is the server's, the rest are calls.

Exit codes: 0 done, 1 refused or the workflow did not complete, 2 the wait ran out, 64 wrong usage.
"""

from __future__ import annotations

import os
import sys
from typing import Final, NoReturn

__all__ = ["main"]

_OF_THE_SERVER: Final = frozenset({"server", "dev", "envoy-config", "db", "store"})


def main() -> NoReturn:
    """Runs the command line."""
    if _OF_THE_SERVER.intersection(sys.argv[1:2]):
        # The server is a program of its own: nothing of the SDK is loaded, signals reach it.
        os.execv(sys.executable, [sys.executable, "-m", "perdure_server", *sys.argv[1:]])  # noqa: S606
    from perdure._cli.commands import run  # noqa: PLC0415 - only when a call is to be made

    sys.exit(run())
