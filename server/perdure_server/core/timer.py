"""Owns the timers that workflow code schedules."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from perdure.v1.history_pb2 import TimerCancelled, TimerFired, TimerScheduled
from perdure_server.core import fields
from perdure_server.core.batch import is_new, require_known
from perdure_server.core.model import Timer, TimerKind
from perdure_server.core.times import from_duration, to_timestamp

if TYPE_CHECKING:
    from perdure.v1.command_pb2 import CancelTimer, ScheduleTimer
    from perdure_server.core.batch import CommandBatch
    from perdure_server.core.draft import Draft


class TimerPhase(StrEnum):
    """Where a timer stands."""

    WAITING = "WAITING"
    CLOSED = "CLOSED"


TIMER_TRANSITIONS: Final[dict[tuple[TimerPhase | None, str], TimerPhase]] = {
    (None, "timer_scheduled"): TimerPhase.WAITING,
    (TimerPhase.WAITING, "timer_fired"): TimerPhase.CLOSED,
    (TimerPhase.WAITING, "timer_cancelled"): TimerPhase.CLOSED,
    # Moot: the timer fired before the code could know.
    (TimerPhase.CLOSED, "timer_cancelled"): TimerPhase.CLOSED,
}
"""Where an event leads. There is no row for an event that must not be written."""


def timer_phase(draft: Draft, seq: int) -> TimerPhase | None:
    """Returns where a timer stands; None when it was never scheduled."""
    if seq > draft.run.timer_seq_max:
        return None
    waiting = draft.timer(TimerKind.USER, seq) is not None
    return TimerPhase.WAITING if waiting else TimerPhase.CLOSED


def schedule(batch: CommandBatch, command: ScheduleTimer) -> None:
    """Schedules a timer. A repetition writes nothing."""
    draft, run = batch.draft, batch.draft.run
    fields.check_duration("duration", command.duration)
    if not is_new(command.seq, run.timer_seq_max):
        return
    due_us = draft.instant(batch.now_us) + from_duration(command.duration)
    event = TimerScheduled(
        timer_seq=command.seq, fire_at=to_timestamp(due_us), duration=command.duration
    )
    _record(draft, command.seq, batch.now_us, timer_scheduled=event)
    run.timer_seq_max = command.seq
    draft.put_timer(Timer(run.run_id, TimerKind.USER, command.seq, due_us))


def cancel(batch: CommandBatch, command: CancelTimer) -> None:
    """Cancels a timer, also one that has fired: the command event is written all the same."""
    draft, seq = batch.draft, command.seq
    require_known(seq, draft.run.timer_seq_max)
    if not batch.cancels_again("timer", seq):
        _record(draft, seq, batch.now_us, timer_cancelled=TimerCancelled(timer_seq=seq))


def fire(draft: Draft, seq: int, now_us: int) -> None:
    """Delivers a waiting timer."""
    _record(draft, seq, now_us, timer_fired=TimerFired(timer_seq=seq))


def _record(
    draft: Draft, seq: int, now_us: int, **event: TimerScheduled | TimerCancelled | TimerFired
) -> None:
    """Appends an event as the table allows, and removes the row of a timer that closes."""
    before = timer_phase(draft, seq)
    after = TIMER_TRANSITIONS[before, next(iter(event))]
    draft.append(now_us, **event)
    if before is TimerPhase.WAITING and after is TimerPhase.CLOSED:
        draft.drop_timer(TimerKind.USER, seq)
