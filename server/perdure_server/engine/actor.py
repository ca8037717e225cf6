"""Owns what is known of one run in memory, and of a change of it that is under way."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from perdure_server.core.changeset import Changeset
from perdure_server.core.draft import Draft
from perdure_server.core.limits import SECOND_US
from perdure_server.core.model import Run, TaskKind, TimerKind
from perdure_server.core.rebuild import renew
from perdure_server.core.state import RunState
from perdure_server.engine.aftermath import Matches
from perdure_server.engine.stimuli import Stimulus, Visit, show
from perdure_server.store.contract import Store
from perdure_server.store.shared import SharedStore

_CONTENDED_US = SECOND_US
_LARGE = 100
"""Children and unseen events that are kept in memory to be read no second time."""


@dataclass(slots=True)
class Flight:
    """A changeset under way: the drafts it came from and what their decisions answered.

    `timers` and `tasks` are the keys of the rows of a run that this changeset closes.
    """

    drafts: list[Draft]
    answers: list[tuple[Stimulus, Any]]
    matches: Matches
    changeset: Changeset
    timers: list[tuple[TimerKind, int]] = field(default_factory=list)
    tasks: list[tuple[TaskKind, int]] = field(default_factory=list)


@dataclass(slots=True)
class Actor:
    """One run in memory."""

    run_id: str
    state: RunState | None = None
    base: RunState | None = None
    """The state as it was before others changed the run: of what they added the rest is read."""
    doubted: bool = False
    """Whether the base is of no use: the run has closed, or it is not known what was missed."""
    waiting: deque[Stimulus] = field(default_factory=deque)
    visits: deque[Visit] = field(default_factory=deque)
    busy: bool = False
    """Whether the run is being loaded or has a changeset under way."""
    begins: bool = False
    """Whether what is under way creates the run: others see it later, and the store refuses what
    they make out of date."""
    workflow: tuple[str, str] | None = None
    """Namespace and workflow id under which the run is known as the latest."""
    losses: int = 0
    """How often in a row another server won."""
    outdated: bool = False
    """Whether another server has changed the run since its state was read."""
    contended_until_us: int = 0
    """Until when, in monotonic time, servers take turns with the run."""
    known: dict[str, Run] = field(default_factory=dict)
    """The latest runs of workflow ids that children could not have."""
    turn: AsyncExitStack | None = None
    """This server's turn, while it has it."""

    @property
    def is_worth_keeping(self) -> bool:
        """Whether what was known before others changed the run saves a long reading."""
        base = None if self.doubted else self.base
        return base is not None and len(base.children) + len(base.tail) >= _LARGE

    def age(self) -> None:
        """Decides on the state no more, until it is read what others have added."""
        self.base, self.state = self.state or self.base, None

    def take_visits(self) -> list[Visit]:
        """Returns who waits to see the run, and lets them wait here no more."""
        visits = list(self.visits)
        self.visits.clear()
        return visits

    def expect(self) -> None:
        """Keeps in line what is heard of the run while it is created."""
        self.busy = self.begins = True

    def release(self) -> None:
        """Ends that."""
        self.busy = self.begins = False

    def contend(self, now_us: int) -> None:
        """Has servers take turns with the run for a while from `now_us`, in monotonic time."""
        self.contended_until_us = now_us + _CONTENDED_US

    def is_contended(self, now_us: int) -> bool:
        """Whether servers take turns with the run at `now_us`, in monotonic time."""
        return self.contended_until_us > now_us


def stale(actors: Mapping[str, Actor]) -> list[str]:
    """Returns the runs that other servers may have changed unheard."""
    return [run_id for run_id, actor in actors.items() if not actor.begins]


async def read(actor: Actor, store: Store) -> None:
    """Reads a run, as far as it is not known; visitors that came before see what was read."""
    actor.age()
    actor.outdated, came = False, len(actor.visits)
    for stimulus in actor.waiting:
        stimulus.fresh = True
    if actor.doubted:
        actor.base, actor.doubted = None, False
    base = actor.base
    known_seq = None if base is None else base.run.history_length
    found = await store.load_run(actor.run_id, known_seq=known_seq)
    actor.state = renew(base, found) if base and found else found
    actor.base = None
    if actor.state is not None:
        # They see it even if others have changed it since.
        for _ in range(came):
            show(actor.visits.popleft(), actor.state)


async def take_turn(actor: Actor, shared: SharedStore | None) -> None:
    """Waits for this server's turn at a run, which the actor then has."""
    assert shared is not None
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(shared.alone_with(actor.run_id))
        actor.turn = stack.pop_all()
