"""Owns the runs in memory.

What stimulates a run waits in line here, is decided in order and leaves as one changeset.

A run is decided on only while none of its changesets is under way, so decisions never race within a
process; against other servers the store's version check decides, and the loser decides again on
what the winner left. Where servers meet at one run again and again, they take turns.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Container, Iterable, Sequence
from functools import partial
from typing import Any

from perdure_server.core import limits
from perdure_server.core.changeset import Changeset
from perdure_server.core.draft import Draft, NextRun
from perdure_server.core.errors import (
    DomainError,
    MessageTaken,
    RequestRecorded,
    RunContended,
    StaleVersion,
    StoreBusy,
    WorkflowAlreadyExists,
    WorkflowNotFound,
)
from perdure_server.core.model import MessageKey, RequestRecord
from perdure_server.core.state import RunState
from perdure_server.engine.actor import Actor, Flight, read, stale, take_turn
from perdure_server.engine.aftermath import Aftermath
from perdure_server.engine.background import Background
from perdure_server.engine.committer import Committer, Outcome
from perdure_server.engine.ports import Clock, Ids
from perdure_server.engine.refusals import answer_repeats, learn_taken
from perdure_server.engine.requests import RequestKey
from perdure_server.engine.stimuli import (
    Decide,
    Stimulus,
    Visit,
    decide_one,
    deliver,
    refuse,
    refuse_all,
    show,
    stimulus_of,
)
from perdure_server.store.contract import Committed, Store
from perdure_server.store.shared import SharedStore

_LOAD_RETRY_US = limits.SECOND_US
_LOSSES_BEFORE_TURNS = 2
_TURN_MAX = 1_000
"""Stimuli decided in one changeset: bounds how long a commit of one run may take."""


class Runs:
    """The runs that this process has in memory, and the only way to change one."""

    def __init__(
        self,
        store: Store,
        committer: Committer,
        aftermath: Aftermath,
        *,
        clock: Clock,
        ids: Ids,
        background: Background,
        shared: SharedStore | None = None,
    ) -> None:
        self._store = store
        self._shared = shared
        self._committer = committer
        self._aftermath = aftermath
        self._clock = clock
        self._ids = ids
        self._background = background
        self._actors: OrderedDict[str, Actor] = OrderedDict()
        self._latest: dict[tuple[str, str], str] = {}

    @property
    def hot(self) -> int:
        """How many runs are in memory."""
        return len(self._actors)

    def next_run(self, above: str = "") -> NextRun:
        """Returns ids for a run that a decision may create, the run's `above` a given one."""
        return NextRun(run_id=self._ids.run_id(above), seed=self._ids.seed())

    def stimulate(self, run_id: str, *stimuli: Stimulus) -> None:
        """Puts stimuli in line; each is resolved after its commit, or rejected."""
        actor = self._actor(run_id)
        for stimulus in stimuli:
            if len(actor.waiting) < limits.STIMULI_PER_RUN_MAX:
                actor.waiting.append(stimulus)
            else:
                busy = StoreBusy(f"run {run_id} has too many requests in line; try again")
                refuse(stimulus, busy)
        self._turn(actor)

    async def ask(
        self,
        run_id: str,
        decide: Decide,
        request: RequestKey | None = None,
        *,
        once: Sequence[RequestKey] = (),
    ) -> Any:
        """Stimulates a run and waits for the answer."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        stimulus = stimulus_of(future, decide, request)
        stimulus.once = once
        self.stimulate(run_id, stimulus)
        return await future

    def visit(self, run_id: str, visit: Visit, *, fresh: bool = False) -> None:
        """Calls `visit` with the run's state while nothing is under way for it.

        With None, when there is no such run. `fresh`: the state is read again before.
        """
        actor = self._actor(run_id)
        actor.visits.append(visit)
        actor.outdated |= fresh
        self._turn(actor)

    @property
    def are_shared(self) -> bool:
        """Whether other servers change runs too, so that what is in memory may be out of date."""
        return self._shared is not None

    def look(self, run_id: str, visit: Visit) -> None:
        """Like `visit`, with the state as it is now, also where other servers change runs."""
        self.visit(run_id, visit, fresh=self.are_shared)

    def foreign(self, run_ids: Iterable[str] | None, closed: Container[str] = ()) -> None:
        """Notes that other servers have changed runs, or with None, may have changed any.

        Those that they have `closed` are not worth being known.
        """
        for run_id in stale(self._actors) if run_ids is None else run_ids:
            if (actor := self._actors.get(run_id)) is not None:
                actor.outdated = True
                actor.doubted |= run_ids is None or run_id in closed
                self._turn(actor)

    def under_way(self, run_ids: Iterable[str] | None) -> list[str]:
        """Returns those runs, of all with None, for which something is under way."""
        known = list(self._actors) if run_ids is None else run_ids
        return [key for key in known if key in self._actors and self._actors[key].busy]

    def contend(self, run_ids: Iterable[str]) -> None:
        """Takes turns with other servers at runs that they have asked to be alone with."""
        for run_id in run_ids:
            if (actor := self._actors.get(run_id)) is not None:
                actor.contend(self._clock.monotonic_us())

    def create(self, draft: Draft, stimulus: Stimulus, also: Changeset | None = None) -> None:
        """Commits a new run and what `also` holds; the answer is that of the settled draft."""
        now_us = self._clock.now_us()
        draft.settle(now_us, self.next_run())
        answer = stimulus.decide(draft, now_us)
        records = [stimulus.request.record(answer, now_us)] if stimulus.request else []
        flight = self._flight(draft, [(stimulus, answer)], records)
        if also is not None:
            flight.changeset.absorb(also)
        self._expect(flight.drafts)
        self._committer.submit(
            flight.changeset, lambda outcome: self._created(flight, stimulus, outcome)
        )

    async def create_and_wait(
        self, draft: Draft, decide: Decide, request: RequestKey | None
    ) -> Any:
        """Commits a new run and waits for the answer."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.create(draft, stimulus_of(future, decide, request))
        return await future

    def latest(self, namespace: str, workflow_id: str) -> str | None:
        """Returns the newest run of a workflow among those in memory.

        A guess that the store may correct.
        """
        return self._latest.get((namespace, workflow_id))

    def is_open(self, run_id: str, namespace: str, workflow_id: str) -> bool:
        """Whether a run of this workflow is in memory and open.

        With nothing under way that may close it.
        """
        actor = self._actors.get(run_id)
        if actor is None or actor.state is None:
            return False
        run = actor.state.run
        return (run.namespace, run.workflow_id) == (namespace, workflow_id) and (
            not run.status.is_closed
        )

    def is_closed(self, run_id: str) -> bool:
        """Whether a run is in memory and closed."""
        actor = self._actors.get(run_id)
        return actor is not None and actor.state is not None and actor.state.run.status.is_closed

    def changed_us(self, run_id: str) -> int:
        """Returns when a run in memory changed last, as far as it is known here, or 0."""
        actor = self._actors.get(run_id)
        return 0 if actor is None or actor.state is None else actor.state.run.updated_at_us

    def forget_closed(self, namespace: str) -> None:
        """Forgets the closed runs of a namespace; they were deleted from the store."""
        for actor in list(self._actors.values()):
            if actor.state is not None and actor.state.run.namespace == namespace:
                self._retire(actor)

    def _actor(self, run_id: str) -> Actor:
        actor = self._actors.get(run_id)
        if actor is None:
            # First, lest the new one, for which nothing waits yet, is the one that is forgotten.
            self._evict()
            actor = self._actors[run_id] = Actor(run_id)
        else:
            self._actors.move_to_end(run_id)
        return actor

    def _evict(self) -> None:
        """Forgets the least recently used idle run.

        A few busy ones at the cold end are passed over.
        """
        if len(self._actors) < limits.HOT_RUNS_MAX:
            return
        for run_id in [run_id for run_id, _ in zip(self._actors, range(16), strict=False)]:
            actor = self._actors[run_id]
            if not actor.busy and not actor.waiting and not actor.visits:
                self._forget(actor)
                return

    def _forget(self, actor: Actor) -> None:
        self._actors.pop(actor.run_id, None)
        if actor.workflow is not None and self._latest.get(actor.workflow) == actor.run_id:
            del self._latest[actor.workflow]

    def _turn(self, actor: Actor) -> None:
        """Decides what waits, unless the run is busy."""
        if actor.busy:
            return
        if actor.outdated:
            actor.outdated = False
            actor.age()
        if not (actor.waiting or actor.visits):
            if actor.state is None and not actor.is_worth_keeping:
                self._forget(actor)
            return
        alone = (
            bool(actor.waiting)
            and actor.turn is None
            and actor.is_contended(self._clock.monotonic_us())
        )
        if actor.state is None or alone:
            actor.busy = True
            self._background.spawn(self._load(actor, alone=alone), f"load {actor.run_id}")
            return
        # A visit may stimulate the run: from then on the rest waits for that commit.
        while actor.visits and not actor.busy:
            show(actor.visits.popleft(), actor.state)
        if actor.waiting and not actor.busy:
            self._decide(actor, actor.state)

    async def _load(self, actor: Actor, *, alone: bool) -> None:
        error: Exception | None = None
        try:
            if alone:
                await take_turn(actor, self._shared)
            await read(actor, self._store)
        except Exception as failure:  # noqa: BLE001 - whoever waits for the run must hear of it
            error = failure
        # A hint that came meanwhile does not stop the decision: the store refuses it if it must.
        # If it did, a run that others change all the time would never be decided on here.
        outdated, actor.outdated, actor.busy = actor.outdated, False, False
        if actor.state is not None and error is None:
            # Visitors that came meanwhile are shown nothing that may be older than they are.
            late = actor.take_visits() if outdated else []
            self._turn(actor)
            self._pass_turn(actor)
            actor.visits.extendleft(reversed(late))
            actor.outdated |= outdated
            if late:
                self._turn(actor)
            return
        # It may be known still, as it was before a turn that was waited for in vain.
        actor.age()
        self._pass_turn(actor)
        missing = error or WorkflowNotFound(f"there is no run {actor.run_id}")
        if error is not None and actor.visits:
            # None would tell the visitors that there is no such run.
            again_us = self._clock.now_us() + _LOAD_RETRY_US
            self._clock.call_at(again_us, lambda: self._turn(actor))
        else:
            self._forget(actor)
            while actor.visits:
                show(actor.visits.popleft(), None)
        while actor.waiting:
            refuse(actor.waiting.popleft(), missing)

    def _pass_turn(self, actor: Actor) -> None:
        """Lets the other servers have their turn, unless something is under way in this one."""
        if actor.turn is None or actor.busy:
            return
        turn, actor.turn = actor.turn, None
        self._background.spawn(turn.aclose(), f"pass the turn at {actor.run_id}")

    def _decide(self, actor: Actor, state: RunState) -> None:
        now_us = self._clock.now_us()
        waiting = actor.waiting
        batch = [waiting.popleft() for _ in range(min(len(waiting), _TURN_MAX))]
        draft, answers, records, taken = self._decide_all(actor, state, batch, now_us=now_us)
        if (records or taken) and self._shared is not None:
            draft.touch()
        draft.settle(now_us, self.next_run())
        if not (draft.changed or records or taken):
            self._answer_or_doubt(actor, answers)
            self._turn(actor)
            return
        actor.busy = True
        flight = self._flight(draft, answers, records, taken)
        if draft.changed and draft.run.status.is_closed:
            flight.timers, flight.tasks = list(state.timers), list(state.tasks)
        self._expect(flight.drafts[1:])
        self._committer.submit(flight.changeset, partial(self._landed, actor, flight))

    def _decide_all(
        self, actor: Actor, state: RunState, batch: list[Stimulus], *, now_us: int
    ) -> tuple[Draft, list[tuple[Stimulus, Any]], list[RequestRecord], set[MessageKey]]:
        """Decides each on what the earlier ones left; one that raises fails alone."""
        draft = Draft(state)
        draft.known = actor.known
        answers: list[tuple[Stimulus, Any]] = []
        records: dict[RequestKey, RequestRecord] = {}
        taken: set[MessageKey] = set()
        for stimulus in batch:
            # A lone decision needs no fork: when it fails, the whole draft is dropped.
            trial = draft if len(batch) == 1 else draft.fork()
            try:
                answer = decide_one(stimulus, trial, records, taken, now_us=now_us)
            except Exception as error:  # noqa: BLE001 - whatever one stimulus raises is its own
                if self._is_doubtful(stimulus, error):
                    actor.waiting.append(stimulus)
                    actor.outdated = True
                elif draft.changed and trial is not draft:
                    # What speaks against it is not on disk yet, and may never be.
                    answers.append((stimulus, error))
                else:
                    refuse(stimulus, error)
                if trial is draft:
                    return Draft(state), [], [], set()
                continue
            if trial is not draft:
                draft.absorb(trial)
            answers.append((stimulus, answer))
        return draft, answers, list(records.values()), taken

    def _is_doubtful(self, stimulus: Stimulus, error: Exception) -> bool:
        """Whether another server may have changed what speaks against a stimulus."""
        return self._shared is not None and not stimulus.fresh and isinstance(error, DomainError)

    def _answer_or_doubt(self, actor: Actor, answers: list[tuple[Stimulus, Any]]) -> None:
        """Answers what changes nothing, so that no store would check what was in memory."""
        for stimulus, answer in answers:
            if self._shared is None or stimulus.fresh or stimulus.may_lag:
                deliver([(stimulus, answer)])
            else:
                actor.waiting.append(stimulus)
                actor.outdated = True

    def _flight(
        self,
        draft: Draft,
        answers: list[tuple[Stimulus, Any]],
        records: list[RequestRecord],
        taken: Iterable[MessageKey] = (),
    ) -> Flight:
        drafts = [draft, *draft.next_runs] if draft.changed else []
        changes = [each.change() for each in drafts]
        matches = self._aftermath.prepare(changes)
        changeset = Changeset(changes, records, sorted(taken) if taken else [])
        return Flight(drafts, answers, matches, changeset)

    def _created(self, flight: Flight, stimulus: Stimulus, outcome: Outcome) -> None:
        if isinstance(outcome, Committed):
            states = [draft.state() for draft in flight.drafts]
            self._adopt(states)
            self._succeed(flight, states, outcome)
        else:
            self._aftermath.abandon(flight.matches)
            refuse(stimulus, outcome)
        self._release(flight.drafts)

    def _landed(self, actor: Actor, flight: Flight, outcome: Outcome) -> None:
        actor.busy = False
        if isinstance(outcome, Committed):
            actor.losses = 0
            actor.known.clear()
            states = [draft.state() for draft in flight.drafts]
            self._adopt(states[1:])
            self._succeed(flight, states, outcome)
        else:
            self._aftermath.abandon(flight.matches)
            self._refused(actor, flight, outcome)
        self._release(flight.drafts[1:])
        self._pass_turn(actor)
        self._turn(actor)
        self._retire(actor)

    def _expect(self, drafts: list[Draft]) -> None:
        """Keeps in line what is heard of runs before their creation is known to have succeeded."""
        if self._shared is not None:
            for draft in drafts:
                self._actor(draft.run.run_id).expect()

    def _release(self, drafts: list[Draft]) -> None:
        """Does what was kept in line while runs were created."""
        if self._shared is not None:
            for draft in drafts:
                actor = self._actor(draft.run.run_id)
                actor.release()
                self._turn(actor)

    def _adopt(self, states: list[RunState]) -> None:
        """Takes runs that were just created into memory, unless someone loaded them meanwhile."""
        for state in states:
            actor = self._actor(state.run.run_id)
            actor.workflow = (state.run.namespace, state.run.workflow_id)
            self._latest[actor.workflow] = state.run.run_id
            if actor.state is None and (self._shared is not None or not actor.busy):
                actor.state = state

    def _succeed(self, flight: Flight, states: list[RunState], outcome: Committed) -> None:
        if flight.timers or flight.tasks:
            self._aftermath.closing(states[0].run, flight.timers, flight.tasks)
        notices = [
            (draft.run.run_id, notice) for draft in flight.drafts for notice in draft.notices
        ]
        self._aftermath.apply(
            flight.changeset, states, flight.matches, notices=notices, outcome=outcome
        )
        deliver(flight.answers)

    def _refused(self, actor: Actor, flight: Flight, outcome: Exception) -> None:
        if isinstance(outcome, RequestRecorded | MessageTaken):
            actor.busy = True
            self._background.spawn(self._answer_repeats(actor, flight), "answer repeats")
            return
        actor.age()
        if isinstance(outcome, WorkflowAlreadyExists) and len(flight.drafts) > 1:
            actor.busy = True
            self._background.spawn(self._learn(actor, flight), "look for taken ids")
        elif not isinstance(outcome, StaleVersion | WorkflowAlreadyExists):
            refuse_all(flight.answers, outcome)
        else:
            self._again(actor, flight)

    def _again(self, actor: Actor, flight: Flight) -> None:
        """Has a flight that lost decided again, a bounded number of times."""
        actor.losses += 1
        if self._shared is not None and actor.losses >= _LOSSES_BEFORE_TURNS:
            actor.contend(self._clock.monotonic_us())
        if actor.losses >= limits.STALE_RETRIES_MAX:
            actor.losses = 0
            contended = RunContended(f"run {actor.run_id} changes too often now; try again")
            refuse_all(flight.answers, contended)
            return
        actor.waiting.extendleft(stimulus for stimulus, _ in reversed(flight.answers))

    async def _answer_repeats(self, actor: Actor, flight: Flight) -> None:
        """Answers the requests that were answered before; the others are decided again."""
        again = await answer_repeats(self._store, flight)
        actor.waiting.extendleft(reversed(again))
        self._resume(actor)

    async def _learn(self, actor: Actor, flight: Flight) -> None:
        """Reads which workflow ids of new children are taken; then all is decided again."""
        if await learn_taken(self._store, actor, flight):
            self._again(actor, flight)
        self._resume(actor)

    def _resume(self, actor: Actor) -> None:
        actor.busy = False
        self._pass_turn(actor)
        self._turn(actor)

    def _retire(self, actor: Actor) -> None:
        """Forgets a closed run: what still asks for it is rare and reads the store."""
        state = actor.state
        if state is None or not state.run.status.is_closed:
            return
        if not actor.busy and not actor.waiting and not actor.visits:
            self._forget(actor)
