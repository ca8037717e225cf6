"""Owns dispatch: which worker session gets which task.

A task is matched when the changeset that creates it is about to be committed: if a session has a
free slot, the row is written already leased and the task is pushed after the commit. Otherwise the
row is ready, and claimed in batches when slots come free. The store is the truth; what is kept here
is rebuilt from it at start.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from perdure_server.core import limits
from perdure_server.core.changeset import RunChange
from perdure_server.core.errors import DomainError
from perdure_server.core.model import EventRow, Lane, Task, TaskKind
from perdure_server.core.state import RunState
from perdure_server.engine.alarms import Alarms
from perdure_server.engine.background import Background
from perdure_server.engine.encode import activity_task, workflow_task
from perdure_server.engine.holders import Holders, is_over
from perdure_server.engine.lanes import Lanes, LaneState
from perdure_server.engine.ports import Clock
from perdure_server.engine.session import Held, Session, TaskKey
from perdure_server.store.contract import ClaimRequest, Store

_log = logging.getLogger(__name__)

_CLAIM_MAX = 256
"""Tasks claimed for one session at once: one batch costs little more than one task."""
_CLAIM_RETRY_US = limits.SECOND_US
_STICKY_MAX = 100_000

Visit = Callable[[RunState | None], None]


class VisitRun(Protocol):
    """Lets a visitor see a run between two of its changes; `fresh`, as the store has it now."""

    def __call__(self, run_id: str, visit: Visit, *, fresh: bool = False) -> None:
        """Calls `visit` once, with None when there is no such run."""


@dataclass(slots=True, frozen=True)
class Match:
    """A task that is being committed as leased to a session."""

    session: Session
    task: Task


class Dispatcher:
    """Gives tasks to sessions.

    `visit` lets it see a run between two of its changes, `lose` takes a lease back.
    """

    def __init__(
        self,
        store: Store,
        lanes: Lanes,
        *,
        clock: Clock,
        background: Background,
        leases: Alarms[TaskKey],
        visit: VisitRun,
        lose: Callable[[Held], None],
    ) -> None:
        self._store = store
        self._lanes = lanes
        self._leases = leases
        self._clock = clock
        self._background = background
        self._visit = visit
        self._lose = lose
        self._backlogged: dict[LaneState, None] = {}
        self._latest_us = 0
        self._sticky: dict[str, Session] = {}
        self._holders = Holders()
        self._ripening = Alarms[LaneState](clock, lambda lane, _: self._ripen(lane))
        self._claiming = Alarms[LaneState](clock, lambda lane, _: self._offer(lane))

    async def rebuild(self) -> None:
        """Learns from the store which lanes have tasks."""
        for depth in await self._store.lane_depths():
            lane = self._lanes.get(depth.lane)
            lane.unsure = True
            lane.arrive(depth.ready)
            self._offer(lane)

    def close(self) -> None:
        """Dispatches nothing more by itself."""
        self._ripening.close()
        self._claiming.close()

    def next_us(self) -> int | None:
        """Returns the earliest instant at which a task in back-off becomes ready."""
        instants = (self._ripening.next_us(), self._claiming.next_us())
        return min((instant for instant in instants if instant is not None), default=None)

    def match(self, changes: Sequence[RunChange]) -> list[Match]:
        """Leases ready tasks, about to be committed, to sessions with free slots."""
        matches: list[Match] = []
        now_us = self._clock.now_us()
        for change in changes:
            if change.closes:
                continue
            for key, task in change.put_tasks.items():
                match = self._match(task, now_us)
                if match is not None:
                    change.put_tasks[key] = match.task
                    matches.append(match)
        return matches

    def abandon(self, matches: Sequence[Match]) -> None:
        """Gives the slots of matches back whose changeset was refused."""
        for match in matches:
            self._release(match.session, match.task.kind)

    def committed(self, changes: Sequence[RunChange]) -> None:
        """Notes the tasks that were committed without a session."""
        now_us = self._clock.now_us()
        for change in changes:
            if change.closes:
                self.unstick_all(change.run.run_id)
                continue
            for task in change.put_tasks.values():
                if task.session_id is None:
                    self._wait(task, now_us)

    def push(self, session: Session, state: RunState, task: Task) -> None:
        """Sends a task, leased to the session in the store, whose slot is reserved."""
        if task.kind is TaskKind.WORKFLOW:
            self._push_workflow_task(session, state, task)
            return
        activity = state.activities.get(task.seq)
        if activity is None:
            self._release(session, task.kind)
            return
        token, data = activity_task(state.run, activity, task)
        self._send(session, task, token, data)

    def holder(self, key: TaskKey) -> Session | None:
        """Returns the session that holds a task."""
        return self._holders.get(key)

    def reported(self, key: TaskKey, lease: int) -> None:
        """Frees the slot of a task whose worker has reported, though nothing is committed yet."""
        session = self._holders.get(key)
        held = session.held.get(key) if session is not None else None
        if session is not None and held is not None and held.lease == lease and held.counted:
            held.counted = False
            self._release(session, key[1])

    def finished(self, key: TaskKey, lease: int) -> None:
        """Notes that nobody holds this lease of a task any more; its slot is free."""
        session = self._holders.get(key)
        held = session.held.get(key) if session is not None else None
        if session is None or held is None or held.lease != lease:
            return
        self.reported(key, lease)
        self._holders.let_go(session, key)

    def resend(self, session: Session, task: Task) -> None:
        """Sends a workflow task again, with the whole history.

        The worker does not cache the run. Does nothing when it is being sent again already.
        """
        key = (task.run_id, task.kind, task.seq)
        held = session.held.get(key)
        if held is None or held.lease != task.lease:
            return
        self.unstick(session, task.run_id)
        session.used[task.kind] += 1
        self.finished(key, task.lease)
        self._background.spawn(self._push_history(session, task), "load history")

    def hold(self, session: Session, held: Held) -> None:
        """Notes that a session holds a task whose slot is counted already."""
        before = self._holders.get(held.key)
        if before is not None:
            # Another server ended that lease.
            self.finished(held.key, before.held[held.key].lease)
        self._holders.hold(session, held)

    def held_keys(self, run_ids: Iterable[str] | None) -> list[TaskKey]:
        """Returns the tasks of runs, of all runs with None, that sessions hold."""
        return self._holders.keys(run_ids)

    def arrived(self, lanes: Iterable[Lane]) -> None:
        """Claims for lanes in which the store may have tasks that were not made here."""
        for lane in lanes:
            sessions = self._lanes.sessions(lane.namespace, lane.queue)
            if any(session.takes(lane) for session in sessions):
                state = self._lanes.get(lane)
                # How many is not known: claims go on until one finds less than it asks for.
                state.arrive(max(_CLAIM_MAX - state.backlog, 1))
                self._offer(state)

    def stick(self, session: Session, run_id: str, seen_seq: int) -> None:
        """Notes that a session's worker caches a run, standing at `seen_seq`."""
        if not session.sticky:
            return
        if self._sticky.get(run_id) is not session:
            self.unstick_all(run_id)
        if len(self._sticky) >= _STICKY_MAX:
            self.unstick_all(next(iter(self._sticky)))
        self._sticky[run_id] = session
        session.cached[run_id] = seen_seq

    def unstick(self, session: Session, run_id: str) -> None:
        """Notes that a session's worker does not cache a run."""
        session.cached.pop(run_id, None)
        if self._sticky.get(run_id) is session:
            del self._sticky[run_id]

    def unstick_all(self, run_id: str) -> None:
        """Notes that no worker caches a run, or that its cache means nothing any more."""
        session = self._sticky.pop(run_id, None)
        if session is not None:
            session.cached.pop(run_id, None)

    def remind(self, session: Session) -> None:
        """Tells a worker that came back which of its activities were asked to stop meanwhile."""
        for held in session.held.values():
            run_id, kind, _ = held.key
            if kind is TaskKind.ACTIVITY:
                self._visit(run_id, partial(_remind, session, held))

    def has_backlog(self, session: Session) -> bool:
        """Whether ready tasks wait in the store for the lanes of a session."""
        return any(
            lane.backlog and session.slots[lane.lane.kind] for lane in self._lanes.of(session)
        )

    def serve(self, session: Session) -> None:
        """Lets a session take tasks from its lanes."""
        for lane in self._lanes.add(session):
            self._offer(lane)

    def withdraw(self, session: Session) -> None:
        """Lets a session take no more tasks."""
        self._lanes.remove(session)

    def forget(self, session: Session) -> None:
        """Drops everything that is known of a session's cache."""
        for run_id in list(session.cached):
            self.unstick(session, run_id)

    def refill(self, session: Session) -> None:
        """Claims for a session whose slots came free by other means than a finished task."""
        if self._backlogged:
            for lane in self._lanes.of(session):
                self._offer(lane)

    def _match(self, task: Task, now_us: int) -> Match | None:
        if task.session_id is not None or task.ready_at_us > now_us:
            return None
        lane = self._lanes.get(task.lane)
        if lane.backlog or not lane.sessions:
            return None
        session = self._choose(lane, task)
        if session is None:
            return None
        session.used[task.kind] += 1
        leased = task.leased_to(
            session.session_id,
            session.identity,
            now_us=now_us,
            poll_lease_us=session.poll_lease_us,
        )
        return Match(session, leased)

    def _choose(self, lane: LaneState, task: Task) -> Session | None:
        monotonic_us = self._clock.monotonic_us()
        if task.kind is TaskKind.WORKFLOW:
            sticky = self._sticky.get(task.run_id)
            if (
                sticky is not None
                and sticky.free(task.kind, monotonic_us) > 0
                and sticky.takes(lane.lane)
            ):
                return sticky
        return lane.pick(task.kind, monotonic_us)

    def _wait(self, task: Task, now_us: int) -> None:
        self._latest_us = max(self._latest_us, now_us)
        lane = self._lanes.get(task.lane)
        if task.ready_at_us <= now_us:
            lane.arrive()
            self._offer(lane)
            return
        lane.arrive_later(task.ready_at_us)
        self._ripening.set(lane, lane.later[0])

    def _ripen(self, lane: LaneState) -> None:
        self._latest_us = max(self._latest_us, self._clock.now_us())
        lane.ripen(self._latest_us)
        if lane.later:
            self._ripening.set(lane, lane.later[0])
        self._offer(lane)

    def _offer(self, lane: LaneState) -> None:
        """Claims for a lane if it has a backlog and somebody has a free slot."""
        if not lane.backlog or not lane.sessions:
            return
        self._backlogged[lane] = None
        if lane.claiming or not lane.has_room(self._clock.monotonic_us()):
            return
        lane.claiming = True
        self._background.spawn(self._claim_all(lane), f"claim {lane.lane.type}")

    async def _claim_all(self, lane: LaneState) -> None:
        try:
            while lane.backlog and await self._claim(lane):
                pass
        except DomainError as error:
            _log.warning("tasks could not be claimed, trying again: %s", error)
            self._claiming.set(lane, self._clock.now_us() + _CLAIM_RETRY_US)
        finally:
            lane.claiming = False
            if not lane.backlog:
                self._backlogged.pop(lane, None)

    async def _claim(self, lane: LaneState) -> bool:
        """Claims once for every session that has free slots; False when there is none."""
        reserved = self._reserve(lane)
        if not reserved:
            return False
        arrivals, wanted = lane.arrivals, sum(claim.limit for _, claim in reserved)
        taken = 0
        try:
            answers = await self._store.claim_tasks(
                [claim for _, claim in reserved], self._claim_us()
            )
            for (session, claim), tasks in zip(reserved, answers, strict=True):
                taken += len(tasks)
                self._release(session, lane.lane.kind, claim.limit - len(tasks))
                for task in tasks:
                    self._deliver(session, task)
        except DomainError:
            # The slots go back without an offer: the other lanes would fail as well, in a circle.
            for session, claim in reserved:
                session.used[lane.lane.kind] -= claim.limit
            raise
        if taken >= wanted:
            lane.backlog = max(lane.backlog - taken, 0)
        else:
            lane.backlog = lane.arrivals - arrivals
        if lane.unsure and not lane.backlog:
            await self._recount(lane)
        return True

    def _reserve(self, lane: LaneState) -> list[tuple[Session, ClaimRequest]]:
        reserved: list[tuple[Session, ClaimRequest]] = []
        missing = lane.backlog
        kind, monotonic_us = lane.lane.kind, self._clock.monotonic_us()
        for session in lane.in_turn():
            limit = min(session.free(kind, monotonic_us), _CLAIM_MAX, missing)
            if limit <= 0:
                continue
            missing -= limit
            session.used[kind] += limit
            claim = ClaimRequest(
                lane=lane.lane,
                limit=limit,
                session_id=session.session_id,
                worker_identity=session.identity,
                poll_lease_us=session.poll_lease_us,
            )
            reserved.append((session, claim))
        return reserved

    def _claim_us(self) -> int:
        """Returns the instant of a claim.

        When the clock was set back, what was counted as ready may be ready later in the store.
        """
        now_us = self._clock.now_us()
        if now_us < self._latest_us:
            for lane in self._lanes.all():
                lane.unsure = True
        self._latest_us = now_us
        return now_us

    async def _recount(self, lane: LaneState) -> None:
        """Finds the next task of a lane whose count may be wrong."""
        lane.unsure = False
        try:
            depths = await self._store.lane_depths()
        except DomainError:
            # The claim that is tried again finds nothing, and counts again.
            lane.unsure = True
            lane.arrive()
            raise
        now_us = self._clock.now_us()
        for depth in depths:
            if depth.lane == lane.lane:
                self._expect(lane, depth.first_ready_at_us, now_us)

    def _expect(self, lane: LaneState, ready_at_us: int, now_us: int) -> None:
        """Notes that the store has a task for a lane, and may have more."""
        lane.unsure = True
        if ready_at_us <= now_us:
            lane.arrive()
        else:
            lane.arrive_later(ready_at_us)
            self._ripening.set(lane, lane.later[0])

    def _deliver(self, session: Session, task: Task, *, fresh: bool = False) -> None:
        """Lets the run know that its task was leased in the store, then sends the task."""

        def visit(state: RunState | None) -> None:
            row = state.tasks.get((task.kind, task.seq)) if state is not None else None
            if state is None or row is None or is_over(task, row):
                if fresh:
                    self._release(session, task.kind)
                else:
                    self._deliver(session, task, fresh=True)
                return
            state.tasks[task.kind, task.seq] = task
            if task.lease_until_us is not None:
                self._leases.set((task.run_id, task.kind, task.seq), task.lease_until_us)
            self.push(session, state, task)

        self._visit(task.run_id, visit, fresh=fresh)

    def _release(self, session: Session, kind: TaskKind, count: int = 1) -> None:
        session.used[kind] -= count
        if self._backlogged and count:
            for lane in list(self._backlogged):
                if lane.lane.kind is kind and session in lane.sessions:
                    self._offer(lane)

    def _push_workflow_task(self, session: Session, state: RunState, task: Task) -> None:
        seen_seq = state.run.seen_seq
        if seen_seq == 0 or session.cached.get(task.run_id) == seen_seq:
            token, data = workflow_task(
                state.run, task, state.tail, previous_seq=seen_seq, whole=not session.sticky
            )
            self._send(session, task, token, data)
            return
        self.unstick(session, task.run_id)
        self._background.spawn(self._push_history(session, task), "load history")

    async def _push_history(self, session: Session, task: Task) -> None:
        try:
            events = await self._store.load_history(
                task.run_id,
                after_seq=0,
                limit=limits.HISTORY_EVENTS_MAX + 1,
                max_bytes=2 * limits.HISTORY_BYTES_MAX,
            )
        except DomainError as error:
            _log.warning("a history could not be read, its task goes back: %s", error)
            self._give_back(session, task)
            return
        self._visit(task.run_id, partial(self._send_history, session, task, events))

    def _send_history(
        self, session: Session, task: Task, events: Sequence[EventRow], state: RunState | None
    ) -> None:
        """Sends a task with its whole history, unless the lease ended while that was read."""
        row = state.tasks.get((task.kind, task.seq)) if state is not None else None
        if state is None or row is None or row.lease != task.lease or row.session_id is None:
            self._release(session, task.kind)
            return
        token, data = workflow_task(
            state.run, task, events, previous_seq=0, whole=not session.sticky
        )
        self._send(session, task, token, data)

    def _send(self, session: Session, task: Task, token: str, data: bytes) -> None:
        if session.sink is None:
            self._give_back(session, task)
            return
        held = Held(key=(task.run_id, task.kind, task.seq), lease=task.lease, token=token)
        self.hold(session, held)
        session.sink.push(task.kind, data, held)

    def _give_back(self, session: Session, task: Task) -> None:
        """Makes a task ready again that is leased to a session and cannot be sent to it."""
        self._release(session, task.kind)
        self._lose(Held(key=(task.run_id, task.kind, task.seq), lease=task.lease, token=""))


def _remind(session: Session, held: Held, state: RunState | None) -> None:
    activity = state.activities.get(held.key[2]) if state is not None else None
    if activity is None or not activity.cancel_requested:
        return
    if session.sink is not None and session.held.get(held.key) is held:
        session.sink.cancel(held.token, "CANCEL_REQUESTED")
