"""Owns the wait for a writer that its reader holds back."""

from __future__ import annotations

import asyncio
from collections.abc import Sized

TURNS = 200


async def until_quiet(made: Sized) -> None:
    """Returns when nothing was added for many turns of the loop."""
    quiet, before = 0, -1
    while quiet < TURNS:
        quiet = quiet + 1 if len(made) == before else 0
        before = len(made)
        await asyncio.sleep(0)
