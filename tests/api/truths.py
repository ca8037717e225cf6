"""What holds for every run at any time, and what all disks have the same of."""

from __future__ import annotations

from dataclasses import fields

from perdure_server.core.draft import Draft
from perdure_server.core.frames import parse_frame
from perdure_server.core.model import Run, RunStatus, TimerKind
from perdure_server.core.rebuild import repeat
from perdure_server.store.contract import ListFilter
from tests.support.histories import CLOSINGS, a_run

ENDINGS = {
    "activity_completed": "activity",
    "activity_failed": "activity",
    "activity_timed_out": "activity",
    "activity_cancelled": "activity",
    "timer_fired": "timer",
    "child_workflow_completed": "child",
    "child_workflow_failed": "child",
    "update_completed": "requested",
    "update_rejected": "requested",
    "signal_workflow_delivered": "signal",
    "signal_workflow_failed": "signal",
    "cancel_workflow_delivered": "cancel",
    "cancel_workflow_failed": "cancel",
}
"""What ends once, by the events that end it."""
FOLDED = (
    "history_length",
    "history_bytes",
    "cancel_requested",
    "cancel_reason",
    "attributes",
    "pause",
    "closed_at_us",
)
CODE_RAN = {RunStatus.PENDING, RunStatus.RUNNING}
"""A history does not tell that code ran and asked for nothing."""
EVER_US = 2**60
MANY = 10_000


async def look_at(trio, run_id):
    """All disks have the same of a run."""
    state = await trio.read(lambda store: store.load_run(run_id))
    if state is None:
        return
    many = {"limit": MANY, "max_bytes": 10**9}
    await trio.read(lambda store: store.load_history(run_id, after_seq=0, **many))
    await trio.read(lambda store: store.find_snapshot(run_id))
    await trio.read(lambda store: store.summarize_run(run_id))
    for row in trio.model.store._contents.runs[run_id].updates.values():
        await trio.read(lambda store, seq=row.seq: store.find_update(run_id, seq))


async def look_around(trio):
    """All disks have the same of what belongs to no single run."""
    runs = trio.model.store._contents.runs.values()
    inbox = {"after": None, "before_us": EVER_US, "limit": MANY}
    await trio.read(lambda store: store.read_inbox(**inbox))
    await trio.read(lambda store: store.due_timers(after=None, limit=MANY))
    assert {run.run.namespace for run in runs} <= {"main", "side"}
    for namespace in ("main", "side"):
        await trio.read(lambda store, name=namespace: store.count_runs(name))
        where = ListFilter(namespace)
        counted = await trio.read(lambda store, where=where: store.count_matching(where))
        assert counted == sum(run.run.namespace == namespace for run in runs)
    for key in trio.model.store._contents.requests:
        await trio.read(lambda store, key=key: store.find_request(*key))


def hold(stored, before):
    """What is stored of a run is true, and follows from what was stored `before`."""
    rows, run = stored.history, stored.run
    assert [row.seq for row in rows] == list(range(1, run.history_length + 1))
    instants = [row.at_us for row in rows]
    assert instants == sorted(instants)
    closings = [row.seq for row in rows if row.kind in CLOSINGS]
    assert closings == ([run.history_length] if run.status.is_closed else [])
    if before is not None:
        assert before.history_length <= run.history_length
        assert not before.status.is_closed or before.history_length == run.history_length
        assert not before.status.is_closed or before.status is run.status
    ended = [ending_of(row) for row in rows if row.kind in ENDINGS]
    assert len(ended) == len(set(ended))
    if run.status.is_closed:
        assert [stored.activities, stored.tasks, stored.timers] == [{}, {}, {}]
    history_is_state(stored)


def ending_of(row):
    """Names what ended."""
    event, what = getattr(parse_frame(row.frame), row.kind), ENDINGS[row.kind]
    return what, getattr(event, f"{what}_seq")


def history_is_state(stored):
    """What the history makes of a run and its rows is what the decisions have made."""
    run = stored.run
    blank = a_run()
    blank.history_length, blank.status = 0, RunStatus.PENDING
    draft = Draft.new(blank)
    pending, folded = repeat(draft, stored.history), draft.run
    for field in fields(Run):
        if field.name.endswith("_seq_max") or field.name in FOLDED:
            told, kept = getattr(folded, field.name), getattr(run, field.name)
            assert told == kept, field.name
    assert folded.status is run.status or {folded.status, run.status} <= CODE_RAN
    if run.status.is_closed:
        return
    assert {seq: row.SerializeToString() for seq, row in pending.activities.items()} == {
        seq: row.scheduled for seq, row in stored.activities.items()
    }
    cancelling = {seq for seq, row in stored.activities.items() if row.cancel_requested}
    assert pending.cancelling & pending.activities.keys() == cancelling
    due = {key: row.due_at_us for key, row in stored.timers.items() if key[0] is TimerKind.USER}
    told = {key: row.due_at_us for key, row in pending.timers.items() if key[0] is TimerKind.USER}
    assert told == due
    asked = {seq for seq, update in stored.updates.items() if not update.outcome}
    assert pending.updates.keys() == asked
    assert {seq: (row.child_run_id, row.closed) for seq, row in pending.children.items()} == {
        seq: (row.child_run_id, row.closed) for seq, row in stored.children.items()
    }
