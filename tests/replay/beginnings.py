"""Histories that begin or end as others say: schedules, parents, callers, attempts, operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from perdure import activity, signal, workflow
from tests.replay.rig import CONVERTER, START_US, Rig

calls = signal("calls", str)


@activity
async def charge(order: str) -> str:
    return f"charged {order}"


@workflow
async def told_who_it_is(order: str) -> dict[str, Any]:
    """What a run knows of itself is the same in every replay."""
    info = workflow.info()
    charged = await charge(f"{order} by {workflow.random().randrange(1000)}")
    return {
        "charged": charged,
        "attempt": info.attempt,
        "previous": info.previous_run_id,
        "first": info.first_run_id,
        "tags": sorted(workflow.search_attributes()),
        "began": (workflow.now() - info.started_at).total_seconds(),
    }


@workflow
async def patient(order: str) -> str:
    """It waits for longer than it is let."""
    return await calls.wait()


def _seconds(seconds: int) -> Duration:
    return Duration(seconds=seconds)


def _ended(rig: Rig) -> Rig:
    rig.run()
    rig.after(1).complete(1, "charged").run()
    return rig


def started_by_a_schedule() -> Rig:
    due_at = Timestamp()
    due_at.FromMicroseconds(START_US)
    begun = {"schedule_name": "nightly", "schedule_due_at": due_at}
    return _ended(Rig(told_who_it_is, "o-1", begun=begun))


def started_by_a_parent() -> Rig:
    parent = {"workflow_id": "parent", "run_id": "r-0", "child_seq": 3}
    return _ended(Rig(told_who_it_is, "o-1", begun={"parent": parent}))


def started_with_all_that_a_caller_may_say() -> Rig:
    begun = {
        "headers": [{"name": "trace", "value": CONVERTER.encode("t-1")}],
        "memo": CONVERTER.encode({"why": "test"}),
        "search_attributes": {"values": {"team": {"keyword": "a"}}},
        "summary": "an order",
        "details": "of somebody",
        "priority": 2,
        "start_delay": _seconds(5),
        "execution_timeout": _seconds(600),
        "run_timeout": _seconds(60),
        "execution_started_at": {"seconds": START_US // 1_000_000},
    }
    return _ended(Rig(told_who_it_is, "o-1", begun=begun).after(5))


def tried_again() -> Rig:
    begun = {
        "attempt": 2,
        "previous_run_id": "r-1",
        "retry_policy": {"max_attempts": 3, "initial_interval": _seconds(1)},
    }
    return _ended(Rig(told_who_it_is, "o-1", begun=begun))


def begun_with_signals_of_the_run_before() -> Rig:
    """They stand behind the first event, before the code runs."""
    rig = Rig(patient, "o-1", begun={"previous_run_id": "r-0", "first_run_id": "r-0"})
    rig.signal("calls", "kept").run()
    return rig


def terminated() -> Rig:
    """With a signal that the code was never shown."""
    rig = Rig(patient, "o-1")
    rig.run()
    rig.after(1).signal("others", "unseen")
    unseen = {"event_seq": len(rig.events), "signal_name": "others"}
    rig.add(workflow_terminated={"reason": "enough", "unhandled_signals": [unseen]})
    return rig


def timed_out() -> Rig:
    rig = Rig(patient, "o-1", begun={"run_timeout": _seconds(60)})
    rig.run()
    rig.after(60).add(workflow_timed_out={"timeout_type": 2})
    return rig


BEGINNINGS = [told_who_it_is, patient]
BEGINNING_RACES: tuple[Callable[[], Rig], ...] = (
    started_by_a_schedule,
    started_by_a_parent,
    started_with_all_that_a_caller_may_say,
    tried_again,
    begun_with_signals_of_the_run_before,
    terminated,
    timed_out,
)
