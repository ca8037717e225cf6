"""What the callers were told and what the histories say, held beside each other."""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime

from perdure.v1.history_pb2 import History
from tests.chaos.flows import SIGNALS, STEP_S_MAX, STEPS, result_of
from tests.crash.histories import CLOSING, ENDS, faults_of

LEASE_S = 10.0
STRANDED_S = LEASE_S + 1.0
"""For so long a task may lie with a server or a worker that is dead, no longer."""
_SOON_S = 1.0
"""What begins so soon after a fault may still suffer from it."""
_SLOWEST = 20
_STIMULI = ("workflow_started", "activity_completed", "timer_fired", "child_workflow_completed")


@dataclass(slots=True, frozen=True)
class Wait:
    """Something that somebody had to do from one instant on, and the instant when it was done.

    Instants are seconds of the wall clock. With `is_task` a worker or a timer had to do it, else
    it was for a caller to ask or to hear.
    """

    what: str
    since_s: float
    until_s: float
    is_task: bool

    def __str__(self):
        begun = datetime.fromtimestamp(self.since_s, UTC).strftime("%H:%M:%S.%f")[:-3]
        return f"waited {self.until_s - self.since_s:.3f} s for {self.what}, from {begun}"


@dataclass(slots=True)
class Verdict:
    """What is wrong, by workflow id, and how long things took, in seconds."""

    workflows: int
    lost: dict[str, str] = field(default_factory=dict)
    doubled: dict[str, str] = field(default_factory=dict)
    stranded: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    recoveries_s: list[float] = field(default_factory=list)
    longest_s: float = 0.0
    """The longest that a task was left lying with no further fault meanwhile."""
    slow: list[str] = field(default_factory=list)
    """What took longest, of tasks and of calls, in order."""

    @property
    def holds(self):
        return bool(self.workflows) and not (self.lost or self.doubled or self.stranded)

    @property
    def recovery_p50_s(self):
        return statistics.median(self.recoveries_s or [0.0])

    @property
    def recovery_max_s(self):
        return max(self.recoveries_s, default=0.0)


def judge(trips, histories, times, faults):
    """Compares what was acknowledged with what is recorded, and when it was committed."""
    acknowledged = [trip for trip in trips if trip.acknowledged_s]
    verdict = Verdict(len(acknowledged))
    waits = []
    for trip in trips:
        name = trip.workflow_id
        if trip.error or not trip.acknowledged_s:
            verdict.refused[name] = trip.error or "its start was not answered"
        if not trip.acknowledged_s:
            continue
        history = histories[name]
        if not isinstance(history, History):
            verdict.lost[name] = repr(history)
            continue
        if doubled := doubled_in(trip, history):
            verdict.doubled[name] = doubled
        its_waits = [*waits_of(history, times[name]), *waits_for(trip, times[name])]
        longest_s = max((left_s(wait, faults) for wait in its_waits), default=0.0)
        verdict.longest_s = max(verdict.longest_s, longest_s)
        if is_closed(history):
            if lost := lost_in(trip, history):
                verdict.lost[name] = lost
            if longest_s > STRANDED_S:
                verdict.stranded[name] = f"a task lay for {longest_s:.1f} s"
        elif not trip.error:
            # A caller that was refused may owe it a signal.
            verdict.stranded[name] = "it has not finished"
        waits += ((name, wait) for wait in its_waits)
    longest = sorted(waits, key=lambda pair: pair[1].since_s - pair[1].until_s)[:_SLOWEST]
    verdict.slow = [f"{name} {wait}" for name, wait in longest]
    verdict.recoveries_s = [recovery_s(fault, [wait for _, wait in waits]) for fault in faults]
    return verdict


def is_closed(history):
    return bool(history.events) and kind_of(history.events[-1]) in CLOSING


def lost_in(trip, history):
    """What a closed history lacks; nothing in one that is as it should be."""
    kinds = Counter(map(kind_of, history.events))
    wanted = {
        "workflow_completed": 1,
        "activity_completed": STEPS,
        "timer_fired": 1,
        "child_workflow_completed": 1,
        "signal_received": trip.told + 1,
    }
    lacking = [f"{kinds[kind]} {kind}" for kind, n in wanted.items() if kinds[kind] < n]
    if not trip.error and trip.result != result_of(trip.number):
        lacking.append(f"its caller heard {trip.result}")
    return "; ".join([*faults_of(history), *lacking])


def doubled_in(trip, history):
    """What counts twice in a history, closed or not."""
    ends = Counter()
    for event in history.events:
        kind = kind_of(event)
        for family, kinds in ENDS.items():
            if kind in kinds:
                ends[f"{family} {getattr(getattr(event, kind), f'{family}_seq')}"] += 1
    kinds = Counter(map(kind_of, history.events))
    ends["start"] = kinds["workflow_started"]
    ends["run"] = len(trip.run_ids)
    ends["child's end"] = kinds["child_workflow_completed"] + kinds["child_workflow_failed"]
    ends["end"] = sum(kinds[kind] for kind in CLOSING)
    found = [f"{name} {times} times" for name, times in ends.items() if times > 1]
    if kinds["signal_received"] > SIGNALS + 1:
        found.append(f"{kinds['signal_received']} signals")
    return "; ".join(found)


def waits_of(history, times):
    """For how long each step of a trip was left lying, as its history tells."""
    fire_at_s, scheduled_s, free_s, heard_s, last_s = {}, {}, 0.0, 0.0, 0.0
    is_awaiting = False
    for event in history.events:
        kind, at_s = kind_of(event), times[event.seq]
        body = getattr(event, kind)
        if kind == "timer_fired":
            yield Wait(kind, fire_at_s[body.timer_seq], at_s, is_task=True)
        elif kind == "activity_completed":
            yield Wait(kind, scheduled_s[body.activity_seq] + STEP_S_MAX, at_s, is_task=True)
        elif kind == "signal_received":
            yield Wait(kind, last_s, at_s, is_task=False)
            heard_s = heard_s or (at_s if is_awaiting else 0.0)
        elif kind not in _STIMULI:
            # A signal wakes a workflow that awaits it; others it only finds at work.
            yield Wait(kind, heard_s or free_s, at_s, is_task=True)
            free_s, heard_s, is_awaiting = at_s, 0.0, kind == "workflow_awaiting_signal"
        if kind == "timer_scheduled":
            fire_at_s[body.timer_seq] = seconds(body.fire_at)
        elif kind == "activity_scheduled":
            scheduled_s[body.activity_seq] = at_s
        if kind in _STIMULI:
            free_s = at_s
        last_s = at_s


def waits_for(trip, times):
    """For how long the caller of a trip waited to be heard, and then to hear."""
    yield Wait("called", trip.called_s, times[1], is_task=False)
    if trip.ended_s:
        yield Wait("told", max(times.values()), trip.ended_s, is_task=False)


def left_s(wait, faults):
    """For how long a task was left lying since the last fault before it was done."""
    if not wait.is_task:
        return 0.0
    counts_s = (fault.counts_s for fault in faults if fault.began_s <= wait.until_s)
    return wait.until_s - max(wait.since_s, *counts_s, 0.0)


def recovery_s(fault, waits):
    """How long after a fault the last of what it held up went on."""
    held_up = (
        w for w in waits if w.since_s <= fault.began_s + _SOON_S and w.until_s > fault.began_s
    )
    return max((wait.until_s - fault.began_s for wait in held_up), default=0.0)


def kind_of(event):
    return event.WhichOneof("event")


def seconds(timestamp):
    return timestamp.ToNanoseconds() / 1e9
