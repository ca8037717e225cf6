"""Mistakes that could be made in the engine, each as a patch and with the world that finds it.

Nobody made them, or the simulation did not find them. That a world fails with one shows that what
it breaks is looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from perdure.v1 import schedule_service_pb2 as pb
from perdure.v1.schedule_pb2 import WaitingStart
from perdure_server.core import closing, decide, reset, schedule
from perdure_server.core.changeset import Changeset, ScheduleChange
from perdure_server.core.draft import Draft
from perdure_server.core.model import EventRow, MessageKey, RequestRecord, Task
from perdure_server.core.opening import open_continuation
from perdure_server.core.rebuild import Pending
from perdure_server.core.schedule import Turn, record_of
from perdure_server.core.times import from_timestamp
from perdure_server.engine import asks
from perdure_server.engine.actor import Flight
from perdure_server.engine.cluster import Cluster
from perdure_server.engine.inbox import Inbox
from perdure_server.engine.requests import RequestKey, in_namespace, request_key
from perdure_server.engine.runs import Runs
from perdure_server.engine.scheduler import Latest, Scheduler
from perdure_server.engine.schedules import Schedules
from perdure_server.engine.stimuli import Stimulus, deliver

_flight = Runs._flight
_made = Inbox._made
_come = Turn._come
_commit_turn = Scheduler.commit_turn
_LATE_US: Final = 500_000


@dataclass(frozen=True)
class Mistake:
    """What is wrong, and a world in which it is found."""

    owner: Any
    attribute: str
    patch: Any
    seed: int = 0
    wide: bool = False
    shared: bool = False


def answer_at_once(
    self: Runs,
    draft: Draft,
    answers: list[tuple[Stimulus, Any]],
    records: list[RequestRecord],
    taken: Sequence[MessageKey] = (),
) -> Flight:
    flight = _flight(self, draft, answers, records, taken)
    deliver([each for each in answers if not isinstance(each[1], Exception)])
    return flight


def tell_outcomes_at_once(self: Runs, *args: Any) -> Flight:
    flight = _flight(self, *args)
    for change in flight.changeset.changes:
        self._aftermath._outcomes.told(change.run.run_id, change.put_updates)
    return flight


async def bury_nobody(_self: Cluster, _server_id: str) -> None:
    pass


async def sweep_nothing(_self: Cluster) -> None:
    pass


def hear_nothing(_self: Any, _run_ids: Any) -> None:
    pass


def believe_every_token(draft: Draft, kind: Any, seq: int, lease: int) -> Task | None:
    task: Task | None = draft.task(kind, seq)
    return task if task is not None and task.session_id is not None else None


def leave_in_the_store(self: Inbox, *args: Any) -> Stimulus:
    stimulus = _made(self, *args)
    stimulus.message = None
    return stimulus


async def take_up_nothing(_self: Inbox) -> None:
    pass


def update_anew(rpc: str, request: Any, **content: Any) -> RequestKey | None:
    return None if rpc == "UpdateWorkflow" else request_key(rpc, request, **content)


def carry_no_signals(draft: Draft, wanted: Any, **options: Any) -> None:
    open_continuation(draft, wanted, **options | {"signals": ()})


def leave_late_signals(
    _draft: Draft, _late: Sequence[EventRow], _pending: Pending, **_options: Any
) -> None:
    pass


def hold_nothing_back(_self: Draft, _task: Task) -> bool:
    return False


def leave_out_what_is_late(self: Turn) -> list[WaitingStart]:
    return [
        start for start in _come(self) if from_timestamp(start.due_at) > self._now_us - _LATE_US
    ]


async def start_and_then_count(
    self: Scheduler,
    turn: Turn,
    latest: Latest,
    drafts: Sequence[Draft],
    requests: Sequence[RequestRecord] = (),
) -> None:
    if drafts:
        await self._create(drafts, Changeset())
    await _commit_turn(self, turn, latest, (), requests)


async def create_anew(
    self: Schedules, request: pb.CreateScheduleRequest
) -> pb.CreateScheduleResponse:
    row = schedule.create_schedule(in_namespace(request), self._clock.now_us())
    await self._scheduler.commit_row(ScheduleChange(row, 0))
    return pb.CreateScheduleResponse(schedule=record_of(row))


MISTAKES: dict[str, Mistake] = {
    "a change is answered before it is on disk": Mistake(Runs, "_flight", answer_at_once),
    "an update is answered before it is on disk": Mistake(
        Runs, "_flight", tell_outcomes_at_once, seed=24, wide=True
    ),
    "servers do not hear of each other's changes": Mistake(
        Runs, "foreign", hear_nothing, seed=1, shared=True
    ),
    "nobody takes over what a dead server's workers hold": Mistake(
        Cluster, "_bury", bury_nobody, seed=19, shared=True
    ),
    "nobody does what a dead server had to do": Mistake(
        Cluster, "_sweep", sweep_nothing, seed=4, shared=True
    ),
    "a report counts under any lease": Mistake(decide, "_leased", believe_every_token, seed=8),
    "a message is taken twice": Mistake(Inbox, "_made", leave_in_the_store, seed=1, wide=True),
    "what was in the inbox is lost at a restart": Mistake(
        Inbox, "rebuild", take_up_nothing, seed=6, wide=True
    ),
    "an update that is asked for again is another one": Mistake(
        asks, "request_key", update_anew, seed=2, wide=True
    ),
    "a continuation has no signals": Mistake(
        closing, "open_continuation", carry_no_signals, seed=1, wide=True
    ),
    "a reset loses later signals": Mistake(reset, "_carry", leave_late_signals, seed=1, wide=True),
    "workers get what is paused": Mistake(
        Draft, "_holds_back", hold_nothing_back, seed=2, wide=True
    ),
    "what was due while no server ran is left out": Mistake(
        Turn, "_come", leave_out_what_is_late, seed=2, wide=True
    ),
    "a start and its schedule are two commits": Mistake(
        Scheduler, "commit_turn", start_and_then_count, seed=2, wide=True
    ),
    "a schedule is created again": Mistake(Schedules, "create", create_anew, wide=True),
}
