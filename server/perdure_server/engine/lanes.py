"""Owns what is known of the lanes.

Who serves each, and how many ready tasks wait in the store for a free slot.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

from perdure_server.core.model import Lane, Task, TaskKind
from perdure_server.engine.reasons import Service
from perdure_server.engine.session import Session

_LANES_MAX = 10_000
"""Lanes known before idle ones are looked for: types that come and go must not fill memory."""


@dataclass(slots=True, eq=False)
class LaneState:
    """One lane.

    `backlog` counts ready tasks in the store; `later` holds when those in back-off become ready.

    `unsure` says that the store may have tasks that are in neither: from before the start of this
    process, or because the clock was set back.
    """

    lane: Lane
    sessions: list[Session] = field(default_factory=list)
    turn: int = 0
    backlog: int = 0
    arrivals: int = 0
    later: list[int] = field(default_factory=list)
    claiming: bool = False
    unsure: bool = False

    def arrive(self, count: int = 1) -> None:
        """Notes ready tasks that no session took."""
        self.backlog += count
        self.arrivals += count

    def arrive_later(self, ready_at_us: int) -> None:
        """Notes a task that becomes ready later."""
        heapq.heappush(self.later, ready_at_us)

    def ripen(self, now_us: int) -> None:
        """Moves tasks whose instant has come to the backlog."""
        while self.later and self.later[0] <= now_us:
            heapq.heappop(self.later)
            self.arrive()

    def has_room(self, monotonic_us: int) -> bool:
        """Whether a session has a free slot."""
        return any(session.free(self.lane.kind, monotonic_us) > 0 for session in self.sessions)

    def in_turn(self) -> list[Session]:
        """Returns the sessions, and passes the turn on.

        So a task that comes back goes to another session than before.
        """
        first = self.turn % max(len(self.sessions), 1)
        self.turn = first + 1
        return self.sessions[first:] + self.sessions[:first]

    def pick(self, kind: TaskKind, monotonic_us: int) -> Session | None:
        """Returns the next session in turn with a free slot."""
        count = len(self.sessions)
        for step in range(count):
            session = self.sessions[(self.turn + step) % count]
            if session.free(kind, monotonic_us) > 0:
                self.turn = (self.turn + step + 1) % count
                return session
        return None


class Lanes:
    """All lanes that this process has seen."""

    def __init__(self) -> None:
        self._lanes: dict[Lane, LaneState] = {}
        self._queues: dict[tuple[str, str], list[Session]] = {}
        self._by_queue: dict[tuple[str, str], list[LaneState]] = {}

    def get(self, lane: Lane) -> LaneState:
        """Returns the state of a lane, made with the sessions that serve it."""
        state = self._lanes.get(lane)
        if state is None:
            if len(self._lanes) >= _LANES_MAX:
                self._drop_idle()
            queue = (lane.namespace, lane.queue)
            sessions = [s for s in self._queues.get(queue, []) if s.takes(lane)]
            state = self._lanes[lane] = LaneState(lane, sessions)
            self._by_queue.setdefault(queue, []).append(state)
        return state

    def add(self, session: Session) -> list[LaneState]:
        """Lets a session serve its lanes; returns them."""
        queue = (session.namespace, session.queue)
        self._queues.setdefault(queue, []).append(session)
        for lane in session.lanes():
            self.get(lane)
        served = self.of(session)
        for state in served:
            if session not in state.sessions:
                state.sessions.append(session)
        return served

    def _drop_idle(self) -> None:
        """Forgets the lanes that nobody serves and nothing waits in."""
        for lane, state in list(self._lanes.items()):
            if not (state.sessions or state.backlog or state.later or state.claiming):
                del self._lanes[lane]
                queue = (lane.namespace, lane.queue)
                self._by_queue[queue].remove(state)
                if not self._by_queue[queue]:
                    del self._by_queue[queue]

    def remove(self, session: Session) -> None:
        """Lets a session serve no lane."""
        queue = (session.namespace, session.queue)
        sessions = self._queues.get(queue, [])
        if session in sessions:
            sessions.remove(session)
            if not sessions:
                del self._queues[queue]
        for state in self._by_queue.get(queue, []):
            if session in state.sessions:
                state.sessions.remove(session)

    def of(self, session: Session) -> list[LaneState]:
        """Returns the known lanes that a session serves."""
        states = self._by_queue.get((session.namespace, session.queue), [])
        return [state for state in states if session.takes(state.lane)]

    def all(self) -> list[LaneState]:
        """Returns every known lane."""
        return list(self._lanes.values())

    def sessions(self, namespace: str, queue: str) -> list[Session]:
        """Returns the sessions on a queue."""
        return list(self._queues.get((namespace, queue), []))

    def service(self, task: Task) -> Service:
        """Says what the sessions on a task's queue are to it."""
        sessions = self.sessions(task.namespace, task.queue)
        if not sessions:
            return Service.NOBODY
        has_type = any(session.takes(task.lane) for session in sessions)
        return Service.BUSY if has_type else Service.OTHER_TYPES
