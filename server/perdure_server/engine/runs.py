"""Owns the runs in memory.

What stimulates a run waits in line here, is decided in order and leaves as one changeset.

A run is decided on only while none of its changesets is under way, so decisions never race within a
process; against other processes the store's version check decides, and the loser decides again on
what the winner left.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from google.protobuf.message import Message

from perdure_server.core import limits
from perdure_server.core.changeset import Changeset
from perdure_server.core.draft import Draft, NextRun
from perdure_server.core.errors import (
    DomainError,
    RequestRecorded,
    RunContended,
    StaleVersion,
    StoreBusy,
    WorkflowNotFound,
)
from perdure_server.core.model import RequestRecord, TaskKind, TimerKind
from perdure_server.core.state import RunState
from perdure_server.engine.aftermath import Aftermath, Matches
from perdure_server.engine.background import Background
from perdure_server.engine.committer import Committer, Outcome
from perdure_server.engine.ports import Clock, Ids
from perdure_server.engine.requests import RequestKey, first_answer
from perdure_server.store.contract import Committed, Store

_log = logging.getLogger(__name__)

Decide = Callable[[Draft, int], Any]
Visit = Callable[[RunState | None], None]

_LOAD_RETRY_US = limits.SECOND_US
_TURN_MAX = 1_000
"""Stimuli decided in one changeset: bounds how long a commit of one run may take."""


@dataclass(slots=True)
class Stimulus:
    """Something that happens to a run.

    `decide` turns it into a change, then one of the other two is called.
    """

    decide: Decide
    resolve: Callable[[Any], None]
    reject: Callable[[Exception], None]
    request: RequestKey | None = None
    """With a request, `decide` returns the response message.

    A repetition resolves with the encoded first answer.
    """
    once: RequestKey | None = None
    """A key that is taken besides, for what happens only once whoever asks.

    When it is taken already, the stimulus resolves with `b""`.
    """

    @property
    def keys(self) -> list[RequestKey]:
        """What the store must not know yet."""
        return [key for key in (self.request, self.once) if key is not None]


@dataclass(slots=True)
class _Flight:
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
class _Actor:
    """One run in memory."""

    run_id: str
    state: RunState | None = None
    waiting: deque[Stimulus] = field(default_factory=deque)
    visits: deque[Visit] = field(default_factory=deque)
    busy: bool = False
    """Whether the run is being loaded or has a changeset under way."""
    workflow: tuple[str, str] | None = None
    """Namespace and workflow id under which the run is known as the latest."""
    losses: int = 0
    """How often in a row another process won."""


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
    ) -> None:
        self._store = store
        self._committer = committer
        self._aftermath = aftermath
        self._clock = clock
        self._ids = ids
        self._background = background
        self._actors: OrderedDict[str, _Actor] = OrderedDict()
        self._latest: dict[tuple[str, str], str] = {}

    @property
    def hot(self) -> int:
        """How many runs are in memory."""
        return len(self._actors)

    def next_run(self) -> NextRun:
        """Returns ids for a run that a decision may create."""
        return NextRun(run_id=self._ids.run_id(), seed=self._ids.seed())

    def stimulate(self, run_id: str, stimulus: Stimulus) -> None:
        """Puts a stimulus in line; it is resolved after its commit, or rejected."""
        actor = self._actor(run_id)
        if len(actor.waiting) >= limits.STIMULI_PER_RUN_MAX:
            busy = StoreBusy(f"run {run_id} has too many requests in line; try again")
            _reject(stimulus, busy)
            return
        actor.waiting.append(stimulus)
        self._turn(actor)

    async def ask(
        self,
        run_id: str,
        decide: Decide,
        request: RequestKey | None = None,
        *,
        once: RequestKey | None = None,
    ) -> Any:
        """Stimulates a run and waits for the answer."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        stimulus = stimulus_of(future, decide, request)
        stimulus.once = once
        self.stimulate(run_id, stimulus)
        return await future

    def visit(self, run_id: str, visit: Visit) -> None:
        """Calls `visit` with the run's state while nothing is under way for it.

        With None, when there is no such run.
        """
        actor = self._actor(run_id)
        actor.visits.append(visit)
        self._turn(actor)

    def create(self, draft: Draft, stimulus: Stimulus) -> None:
        """Commits a new run.

        `stimulus.decide` is called after the draft is settled and gives the answer.
        """
        now_us = self._clock.now_us()
        draft.settle(now_us, self.next_run())
        answer = stimulus.decide(draft, now_us)
        records = [stimulus.request.record(answer, now_us)] if stimulus.request else []
        flight = self._flight(draft, [(stimulus, answer)], records)
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

    def forget_closed(self, namespace: str) -> None:
        """Forgets the closed runs of a namespace; they were deleted from the store."""
        for actor in list(self._actors.values()):
            if actor.state is not None and actor.state.run.namespace == namespace:
                self._retire(actor)

    def _actor(self, run_id: str) -> _Actor:
        actor = self._actors.get(run_id)
        if actor is None:
            # First, lest the new one, for which nothing waits yet, is the one that is forgotten.
            self._evict()
            actor = self._actors[run_id] = _Actor(run_id)
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

    def _forget(self, actor: _Actor) -> None:
        self._actors.pop(actor.run_id, None)
        if actor.workflow is not None and self._latest.get(actor.workflow) == actor.run_id:
            del self._latest[actor.workflow]

    def _turn(self, actor: _Actor) -> None:
        """Decides what waits, unless the run is busy."""
        if actor.busy or not (actor.waiting or actor.visits):
            return
        if actor.state is None:
            actor.busy = True
            self._background.spawn(self._load(actor), f"load {actor.run_id}")
            return
        # A visit may stimulate the run: from then on the rest waits for that commit.
        while actor.visits and not actor.busy:
            _call(actor.visits.popleft(), actor.state)
        if actor.waiting and not actor.busy:
            self._decide(actor, actor.state)

    async def _load(self, actor: _Actor) -> None:
        error: Exception | None = None
        try:
            actor.state = await self._store.load_run(actor.run_id)
        except Exception as failure:  # noqa: BLE001 - whoever waits for the run must hear of it
            error = failure
        actor.busy = False
        if actor.state is not None:
            self._turn(actor)
            return
        missing = error or WorkflowNotFound(f"there is no run {actor.run_id}")
        if error is not None and actor.visits:
            # None would tell the visitors that there is no such run.
            again_us = self._clock.now_us() + _LOAD_RETRY_US
            self._clock.call_at(again_us, lambda: self._turn(actor))
        else:
            self._forget(actor)
            while actor.visits:
                _call(actor.visits.popleft(), None)
        while actor.waiting:
            _reject(actor.waiting.popleft(), missing)

    def _decide(self, actor: _Actor, state: RunState) -> None:
        now_us = self._clock.now_us()
        batch = [actor.waiting.popleft() for _ in range(min(len(actor.waiting), _TURN_MAX))]
        draft, answers, records = self._decide_all(state, batch, now_us)
        draft.settle(now_us, self.next_run())
        if not draft.changed and not records:
            self._resolve(answers)
            self._turn(actor)
            return
        actor.busy = True
        flight = self._flight(draft, answers, records)
        if draft.run.status.is_closed:
            flight.timers, flight.tasks = list(state.timers), list(state.tasks)
        self._committer.submit(
            flight.changeset, lambda outcome: self._landed(actor, flight, outcome)
        )

    def _decide_all(
        self, state: RunState, batch: list[Stimulus], now_us: int
    ) -> tuple[Draft, list[tuple[Stimulus, Any]], list[RequestRecord]]:
        """Decides each on what the earlier ones left; one that raises fails alone."""
        draft = Draft(state)
        answers: list[tuple[Stimulus, Any]] = []
        records: dict[RequestKey, RequestRecord] = {}
        for stimulus in batch:
            # A lone decision needs no fork: when it fails, the whole draft is dropped.
            trial = draft if len(batch) == 1 else draft.fork()
            try:
                answer = _answer(stimulus, trial, records, now_us)
            except Exception as error:  # noqa: BLE001 - whatever one stimulus raises is its own
                _reject(stimulus, error)
                if trial is draft:
                    return Draft(state), [], []
                continue
            if trial is not draft:
                draft.absorb(trial)
            answers.append((stimulus, answer))
        return draft, answers, list(records.values())

    def _flight(
        self,
        draft: Draft,
        answers: list[tuple[Stimulus, Any]],
        records: list[RequestRecord],
    ) -> _Flight:
        drafts = [draft, *draft.next_runs] if draft.changed else []
        changes = [each.change() for each in drafts]
        matches = self._aftermath.prepare(changes)
        changeset = Changeset(changes=changes, requests=records)
        return _Flight(drafts, answers, matches, changeset)

    def _created(self, flight: _Flight, stimulus: Stimulus, outcome: Outcome) -> None:
        if isinstance(outcome, Committed):
            states = [draft.state() for draft in flight.drafts]
            self._adopt(states)
            self._succeed(flight, states, outcome)
            return
        self._aftermath.abandon(flight.matches)
        _reject(stimulus, outcome)

    def _landed(self, actor: _Actor, flight: _Flight, outcome: Outcome) -> None:
        actor.busy = False
        if isinstance(outcome, Committed):
            actor.losses = 0
            states = [draft.state() for draft in flight.drafts]
            self._adopt(states[1:])
            self._succeed(flight, states, outcome)
        else:
            self._aftermath.abandon(flight.matches)
            self._refused(actor, flight, outcome)
        self._turn(actor)
        self._retire(actor)

    def _adopt(self, states: list[RunState]) -> None:
        """Takes runs that were just created into memory, unless someone loaded them meanwhile."""
        for state in states:
            actor = self._actor(state.run.run_id)
            actor.workflow = (state.run.namespace, state.run.workflow_id)
            self._latest[actor.workflow] = state.run.run_id
            if actor.state is None and not actor.busy:
                actor.state = state

    def _succeed(self, flight: _Flight, states: list[RunState], outcome: Committed) -> None:
        if flight.timers or flight.tasks:
            self._aftermath.closing(states[0].run, flight.timers, flight.tasks)
        notices = [
            (draft.run.run_id, notice) for draft in flight.drafts for notice in draft.notices
        ]
        self._aftermath.apply(
            flight.changeset, states, flight.matches, notices=notices, outcome=outcome
        )
        self._resolve(flight.answers)

    def _refused(self, actor: _Actor, flight: _Flight, outcome: Exception) -> None:
        if isinstance(outcome, RequestRecorded):
            actor.busy = True
            self._background.spawn(self._answer_repeats(actor, flight), "answer repeats")
            return
        actor.state = None
        if not isinstance(outcome, StaleVersion):
            for stimulus, _ in flight.answers:
                _reject(stimulus, outcome)
            return
        actor.losses += 1
        if actor.losses >= limits.STALE_RETRIES_MAX:
            actor.losses = 0
            contended = RunContended(f"run {actor.run_id} changes too often now; try again")
            for stimulus, _ in flight.answers:
                _reject(stimulus, contended)
            return
        actor.waiting.extendleft(stimulus for stimulus, _ in reversed(flight.answers))

    async def _answer_repeats(self, actor: _Actor, flight: _Flight) -> None:
        """Answers the requests that were answered before; the others are decided again."""
        again: list[Stimulus] = []
        for stimulus, _ in flight.answers:
            try:
                answer = await first_answer(self._store, stimulus.keys)
            except Exception as error:  # noqa: BLE001 - the run must not stay busy for ever
                _reject(stimulus, error)
                continue
            if answer is None:
                again.append(stimulus)
            else:
                self._resolve([(stimulus, answer)])
        actor.waiting.extendleft(reversed(again))
        actor.busy = False
        self._turn(actor)

    def _retire(self, actor: _Actor) -> None:
        """Forgets a closed run: what still asks for it is rare and reads the store."""
        state = actor.state
        if state is None or not state.run.status.is_closed:
            return
        if not actor.busy and not actor.waiting and not actor.visits:
            self._forget(actor)

    @staticmethod
    def _resolve(answers: list[tuple[Stimulus, Any]]) -> None:
        for stimulus, answer in answers:
            try:
                stimulus.resolve(answer)
            except Exception:  # noqa: BLE001 - one lost answer must not take the others along
                _log.exception("an answer could not be delivered")


def stimulus_of(
    future: asyncio.Future[Any], decide: Decide, request: RequestKey | None = None
) -> Stimulus:
    """Returns a stimulus whose answer goes to a future."""

    def resolve(answer: Any) -> None:
        if not future.done():
            future.set_result(answer)

    def reject(error: Exception) -> None:
        if not future.done():
            future.set_exception(error)

    return Stimulus(decide, resolve, reject, request)


M = TypeVar("M", bound=Message)


def answer_as(kind: type[M], answer: M | bytes) -> M:
    """Returns an answer as a message, also when it is the encoded answer of an earlier request."""
    return kind.FromString(answer) if isinstance(answer, bytes) else answer


def _answer(
    stimulus: Stimulus, draft: Draft, records: dict[RequestKey, RequestRecord], now_us: int
) -> Any:
    """Decides one stimulus, unless an earlier one of the batch was the same request."""
    for key in stimulus.keys:
        if key in records:
            key.check(records[key])
            return records[key].response
    answer, request, once = stimulus.decide(draft, now_us), stimulus.request, stimulus.once
    if once is not None:
        records[once] = once.record(None, now_us)
    if request is None:
        return answer
    records[request] = request.record(answer, now_us)
    return records[request].response


def _reject(stimulus: Stimulus, error: Exception) -> None:
    if not isinstance(error, DomainError | RequestRecorded | StaleVersion):
        _log.error("a decision failed", exc_info=error)
    try:
        stimulus.reject(error)
    except Exception:  # noqa: BLE001 - one lost answer must not take the others along
        _log.exception("a refusal could not be delivered")


def _call(visit: Visit, state: RunState | None) -> None:
    try:
        visit(state)
    except Exception:  # noqa: BLE001 - one visitor must not take the others along
        _log.exception("a visit failed")
