"""Owns `RunState`: a run with everything that a decision about it may need."""

from __future__ import annotations

from dataclasses import dataclass, field

from perdure_server.core.model import (
    Activity,
    Child,
    EventRow,
    Run,
    Task,
    TaskKind,
    Timer,
    TimerKind,
    Update,
)


@dataclass(slots=True)
class RunState:
    """A run as the store returned it, or as a commit left it.

    Decisions read it and never change it.

    `started` is the frame of event 1. `tail` holds the events after `run.seen_seq`, ascending.
    `updates` are those that the code has not answered.
    """

    run: Run
    started: bytes
    activities: dict[int, Activity] = field(default_factory=dict)
    tasks: dict[tuple[TaskKind, int], Task] = field(default_factory=dict)
    timers: dict[tuple[TimerKind, int], Timer] = field(default_factory=dict)
    tail: list[EventRow] = field(default_factory=list)
    children: dict[int, Child] = field(default_factory=dict)
    updates: dict[int, Update] = field(default_factory=dict)
