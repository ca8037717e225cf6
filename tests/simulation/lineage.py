"""What a run has from the run before it: signals handed over, or a part of its history."""

from __future__ import annotations

from collections.abc import Iterator

from perdure.v1.history_pb2 import HistoryEvent
from perdure_server.core.frames import parse_frame
from perdure_server.core.model import Run
from tests.support.model_contents import Contents, StoredRun

_LATE = frozenset(
    {
        "signal_received",
        "child_workflow_completed",
        "child_workflow_failed",
        "signal_workflow_delivered",
        "signal_workflow_failed",
        "cancel_workflow_delivered",
        "cancel_workflow_failed",
    }
)
"""What came to the other run later, and is repeated behind the part that was taken over."""
WITHOUT_SIGNALS = "without signals"
"""In the reason of a reset that leaves them out."""


def events_of(stored: StoredRun) -> list[HistoryEvent]:
    """Returns the history of a run."""
    return [parse_frame(row.frame) for row in stored.history]


def by_workflow(contents: Contents) -> dict[str, list[Run]]:
    """Returns the runs of each workflow, the first one first."""
    found: dict[str, list[Run]] = {}
    for stored in contents.runs.values():
        found.setdefault(stored.run.workflow_id, []).append(stored.run)
    for runs in found.values():
        runs.sort(key=lambda run: run.generation)
    return found


def own_events(stored: StoredRun, contents: Contents) -> Iterator[HistoryEvent]:
    """Yields the events of a run that are not repetitions of another run's."""
    events = events_of(stored)
    inherited = _inherited(stored, events, contents)
    return (event for event in events if event.seq == 1 or event.seq not in inherited)


def resets(events: list[HistoryEvent]) -> list[HistoryEvent]:
    """Returns where a history says that it goes on from that of another run."""
    return [event for event in events if event.HasField("workflow_reset")]


def check_lineage(contents: Contents) -> None:
    """A run has from the one before what it is to have, byte for byte, and in its order."""
    for runs in by_workflow(contents).values():
        assert [run.generation for run in runs] == list(range(1, len(runs) + 1)), runs
        for run in runs:
            stored = contents.runs[run.run_id]
            if run.next_run_id:
                check_follower(stored, contents.runs[run.next_run_id])
            if resets(events_of(stored)):
                check_reset(stored, contents)


def check_follower(stored: StoredRun, follower: StoredRun) -> None:
    """The run that goes on names this one, and has its signals."""
    run, closing = stored.run, events_of(stored)[-1]
    events = events_of(follower)
    assert follower.run.previous_run_id == run.run_id, run
    assert events[0].workflow_started.previous_run_id == run.run_id, run
    if closing.HasField("workflow_continued_as_new"):
        assert follower.run.attempt == 1, run
        history = events_of(stored)
        carried = closing.workflow_continued_as_new.carried_signals
        meant = [history[signal.event_seq - 1].signal_received for signal in carried]
        got = [event.signal_received for event in events[1 : 1 + len(meant)]]
        assert got == meant, (run, meant, got)
    elif resets(events):
        assert follower.run.attempt == run.attempt, run
    else:
        assert follower.run.attempt == run.attempt + 1, run


def check_reset(stored: StoredRun, contents: Contents) -> None:
    """A run that was reset has the other's first events as they are."""
    mark = resets(events_of(stored))[-1]
    source = contents.runs[mark.workflow_reset.from_run_id]
    taken = mark.workflow_reset.event_seq
    assert mark.seq == taken + 1, stored.run
    mine = [row.frame for row in stored.history[1:taken]]
    assert mine == [row.frame for row in source.history[1:taken]], stored.run
    if WITHOUT_SIGNALS not in mark.workflow_reset.reason:
        late, carried = _signals(events_of(source)[taken:]), _signals(events_of(stored)[taken:])
        assert carried[: len(late)] == late, (stored.run, late, carried)


def _signals(events: list[HistoryEvent]) -> list[bytes]:
    return [_content(event) for event in events if event.HasField("signal_received")]


def _inherited(stored: StoredRun, events: list[HistoryEvent], contents: Contents) -> set[int]:
    marks = resets(events)
    if marks:
        return _copied(marks[-1], events, contents)
    before = contents.runs.get(stored.run.previous_run_id)
    if before is None or before.run.next_run_id != stored.run.run_id:
        return set()
    closing = events_of(before)[-1].workflow_continued_as_new
    return set(range(2, 2 + len(closing.carried_signals)))


def _copied(mark: HistoryEvent, events: list[HistoryEvent], contents: Contents) -> set[int]:
    source = events_of(contents.runs[mark.workflow_reset.from_run_id])
    late = {
        _content(event)
        for event in source[mark.workflow_reset.event_seq :]
        if event.WhichOneof("event") in _LATE
    }
    copied = set(range(1, mark.seq + 1))
    for event in events[mark.seq :]:
        if event.WhichOneof("event") not in _LATE or _content(event) not in late:
            break
        copied.add(event.seq)
    return copied


def _content(event: HistoryEvent) -> bytes:
    content = HistoryEvent()
    content.CopyFrom(event)
    content.ClearField("seq")
    content.ClearField("timestamp")
    return content.SerializeToString()
