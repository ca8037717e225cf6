"""Defects that the simulation found, each as a patch that brings it back.

A world that fails with the defect and lives without it proves both: that it is mended, and that
the simulation would find it again.
"""

from __future__ import annotations

from typing import Any

from perdure._workflow_runner import WorkflowRunner
from perdure_server.core.changeset import Changeset
from perdure_server.core.model import Task
from perdure_server.engine.asks import Asked, Asks
from perdure_server.engine.cluster import Cluster
from perdure_server.engine.dispatch import Dispatcher
from perdure_server.engine.lanes import LaneState
from perdure_server.engine.session import Session
from perdure_server.store.contract import LaneDepth

Patch = tuple[type, str, Any]


def keep_what_cannot_be_sent(self: Dispatcher, session: Session, task: Task) -> None:
    self._release(session, task.kind)


def resend_twice(self: Dispatcher, session: Session, task: Task) -> None:
    self.unstick(session, task.run_id)
    session.used[task.kind] += 1
    self.finished((task.run_id, task.kind, task.seq), task.lease)
    self._background.spawn(self._push_history(session, task), "load history")


def forget_the_clock(self: Dispatcher) -> int:
    return self._clock.now_us()


async def count_once(self: Dispatcher, lane: LaneState) -> None:
    lane.unsure = False
    depths: list[LaneDepth] = await self._store.lane_depths()
    for depth in depths:
        if depth.lane == lane.lane and depth.first_ready_at_us > self._clock.now_us():
            lane.arrive_later(depth.first_ready_at_us)
            self._ripening.set(lane, lane.later[0])


async def refuse_what_was_answered(_self: Asks, asked: Asked, refusal: Exception) -> None:
    asked.reject(refusal)


def have_no_doubts(_self: Cluster, _changeset: Changeset) -> None:
    pass


def evict_runs_in_work(self: WorkflowRunner) -> None:
    excess = len(self._machines) - max(self._cached_runs_max, len(self._jobs))
    for run_id in list(self._machines)[: max(excess, 0)]:
        self.drop_runs((run_id,))
        self._link.evicted(run_id)
        for job in self._jobs.values():
            if job.task.run_id == run_id:
                self._machines[run_id] = job.machine


DEFECTS: dict[str, Patch] = {
    "a task that cannot be sent stays leased": (
        Dispatcher,
        "_give_back",
        keep_what_cannot_be_sent,
    ),
    "a cache miss reported twice takes two slots": (Dispatcher, "resend", resend_twice),
    "tasks counted before the clock was set back are lost": (
        Dispatcher,
        "_claim_us",
        forget_the_clock,
    ),
    "of tasks in back-off before a restart only the first is claimed": (
        Dispatcher,
        "_recount",
        count_once,
    ),
    "a request repeated after the end is refused": (
        Asks,
        "_refuse",
        refuse_what_was_answered,
    ),
    "a run is evicted while its history is fetched": (
        WorkflowRunner,
        "_evict",
        evict_runs_in_work,
    ),
    "an end is not told whose commit had no answer": (Cluster, "doubt", have_no_doubts),
}
