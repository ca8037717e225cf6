"""What must hold for every history that closed, whatever was killed meanwhile."""

from __future__ import annotations

from collections import Counter

ENDS = {
    "activity": (
        "activity_completed",
        "activity_failed",
        "activity_timed_out",
        "activity_cancelled",
    ),
    "timer": ("timer_fired", "timer_cancelled"),
}
CLOSING = (
    "workflow_completed",
    "workflow_failed",
    "workflow_cancelled",
    "workflow_terminated",
    "workflow_timed_out",
)


def faults_of(history):
    """Returns what is wrong with a closed history: gaps, duplicates, steps without one end."""
    kinds = [event.WhichOneof("event") for event in history.events]
    times = [event.timestamp.ToNanoseconds() for event in history.events]
    checks = {
        "its numbers have a gap or a duplicate": (
            [event.seq for event in history.events] == list(range(1, len(kinds) + 1))
        ),
        "its time goes backwards": times == sorted(times),
        "it does not begin with one start": [
            i for i, k in enumerate(kinds) if k == "workflow_started"
        ]
        == [0],
        "it does not end with one end": (
            [i for i, k in enumerate(kinds) if k in CLOSING] == [len(kinds) - 1]
        ),
    }
    for family, ends in ENDS.items():
        begun = numbers(history, family, [f"{family}_scheduled"])
        ended = numbers(history, family, ends)
        checks[f"its {family} numbers have a gap or a duplicate"] = begun == list(
            range(1, len(begun) + 1)
        )
        checks[f"an {family} has not exactly one end"] = sorted(ended) == begun
    return [fault for fault, holds in checks.items() if not holds]


def numbers(history, family, kinds):
    """Returns the numbers of the events of some kinds, in order."""
    found = []
    for event in history.events:
        kind = event.WhichOneof("event")
        if kind in kinds:
            found.append(getattr(getattr(event, kind), f"{family}_seq"))
    return found


def count(history, kind):
    """Returns how many events of a kind there are."""
    return Counter(event.WhichOneof("event") for event in history.events)[kind]


def attempts(history):
    """Returns on which attempt each activity completed, in order of completion."""
    return [
        event.activity_completed.attempt
        for event in history.events
        if event.HasField("activity_completed")
    ]
