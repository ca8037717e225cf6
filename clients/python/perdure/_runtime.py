"""Owns the way from an author's word to the run whose code is saying it."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from perdure._replay.loop import WorkflowLoop
from perdure._replay.run import Run


def running_run() -> Run | None:
    """The run whose code is running on this thread; None outside of workflows."""
    loop: object = asyncio._get_running_loop()  # noqa: SLF001 -- the public one raises outside of loops
    return loop.run if isinstance(loop, WorkflowLoop) else None


def current_run(refusal: str) -> Run:
    """The run whose code is running on this thread.

    RuntimeError with `refusal` outside of workflows.
    """
    run = running_run()
    if run is None:
        raise RuntimeError(refusal)
    return run


def micros(span: timedelta | float) -> int:
    """Microseconds of a span; a number is seconds. TypeError for anything else."""
    if isinstance(span, bool) or not isinstance(span, timedelta | int | float):
        raise TypeError(f"a span is a timedelta or a number of seconds, got {span!r}")
    return round((span.total_seconds() if isinstance(span, timedelta) else span) * 1e6)
