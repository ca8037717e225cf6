from __future__ import annotations

from dataclasses import replace

import pytest

from perdure.v1.history_pb2 import SignalReceived, WorkflowStarted
from perdure_server.core import closing
from perdure_server.core.draft import CancelNotice, Draft
from perdure_server.core.frames import event_frame, parse_frame
from perdure_server.core.layers import Layer, Rows
from perdure_server.core.model import (
    DETACHED,
    Child,
    MessageKind,
    RunStatus,
    Snapshot,
    TaskKind,
    TimerKind,
    Update,
)
from perdure_server.core.state import RunState
from tests.core.life import NEXT, Life, await_signal, complete, timer
from tests.support.histories import START_US, a_run, a_task, a_timer, an_activity

WORKFLOW, ACTIVITY = TaskKind.WORKFLOW, TaskKind.ACTIVITY


def a_state(**columns: object) -> RunState:
    run = a_run(status=RunStatus.RUNNING, history_length=3, stimulus_seq=3, seen_seq=3, **columns)
    state = RunState(run, b"")
    state.activities[1] = an_activity(run)
    state.tasks[ACTIVITY, 1] = a_task(run, 1, kind=ACTIVITY)
    state.timers[TimerKind.USER, 1] = a_timer(run)
    return state


def a_signal(name: str = "go") -> SignalReceived:
    return SignalReceived(signal_name=name)


def test_reads_fall_through_and_writes_stay() -> None:
    state = a_state()
    draft = Draft(state)
    fork = draft.fork()
    assert fork.activity(1) is state.activities[1]
    assert fork.task(ACTIVITY, 1) is state.tasks[ACTIVITY, 1]
    assert fork.timer(TimerKind.USER, 1) is state.timers[TimerKind.USER, 1]
    fork.drop_activity(1)
    fork.drop_task(ACTIVITY, 1)
    fork.drop_timer(TimerKind.USER, 1)
    fork.run.priority = 5
    fork.append(START_US, signal_received=a_signal())
    assert fork.activity(1) is None
    assert fork.task(ACTIVITY, 1) is None
    assert fork.timer(TimerKind.USER, 1) is None
    assert draft.activity(1) is state.activities[1]
    assert draft.run == state.run == a_state().run
    assert not draft.changed


def test_what_a_fork_changed_is_absorbed() -> None:
    draft = Draft(a_state())
    fork = draft.fork()
    fork.drop_task(ACTIVITY, 1)
    fork.put_timer(a_timer(fork.run, 2))
    fork.fence(WORKFLOW, 0, 4)
    fork.notices.append(CancelNotice(ACTIVITY, 1, 1, 1, "s", "LEASE_LOST"))
    fork.append(START_US, signal_received=a_signal())
    draft.absorb(fork)
    assert draft.run.history_length == 4
    assert (len(draft.events), len(draft.notices), len(draft.fences)) == (1, 1, 1)
    assert draft.task(ACTIVITY, 1) is None
    assert draft.timer(TimerKind.USER, 2) is not None


def test_tasks_are_those_of_all_layers() -> None:
    draft = Draft(a_state())
    draft.put_task(a_task(draft.run))
    fork = draft.fork()
    assert [task.kind for task in fork.tasks()] == [ACTIVITY, WORKFLOW]
    fork.drop_task(ACTIVITY, 1)
    assert [task.kind for task in fork.tasks()] == [WORKFLOW]


def test_a_change_names_the_tasks_that_stood_before() -> None:
    state = a_state()
    state.tasks[ACTIVITY, 2] = a_task(state.run, 2, kind=ACTIVITY)
    draft = Draft(state)
    draft.drop_task(ACTIVITY, 1)
    draft.put_task(a_task(draft.run, 2, kind=ACTIVITY, lease=3))
    draft.put_task(a_task(draft.run, 3, kind=ACTIVITY))
    draft.drop_task(ACTIVITY, 4)
    assert draft.change().changed_tasks == {(ACTIVITY, 1), (ACTIVITY, 2)}


def test_a_change_holds_only_what_changed() -> None:
    draft = Draft(a_state())
    draft.put_activity(an_activity(draft.run, 2))
    draft.drop_activity(1)
    draft.put_task(a_task(draft.run, 2, kind=ACTIVITY))
    draft.drop_task(ACTIVITY, 1)
    draft.put_timer(a_timer(draft.run, 2))
    draft.drop_timer(TimerKind.USER, 1)
    draft.settle(START_US, NEXT)
    change = draft.change()
    assert change.expected_version == 1
    assert change.run.version == 2
    assert (list(change.put_activities), change.del_activities) == ([2], {1})
    assert (list(change.put_tasks), change.del_tasks) == ([(ACTIVITY, 2)], {(ACTIVITY, 1)})
    assert (list(change.put_timers), change.del_timers) == (
        [(TimerKind.USER, 2)],
        {(TimerKind.USER, 1)},
    )
    assert draft.change() is change


def test_the_state_takes_over_what_the_dispatcher_leased() -> None:
    draft = Draft(a_state())
    draft.put_task(a_task(draft.run))
    leased = a_task(draft.run, lease=1, session_id="s-1")
    draft.change().put_tasks[WORKFLOW, 0] = leased
    assert draft.state().tasks[WORKFLOW, 0] is leased


def test_the_state_is_the_base_changed_in_place() -> None:
    state = a_state()
    draft = Draft(state)
    draft.drop_activity(1)
    draft.drop_activity(9)
    draft.append(START_US, signal_received=a_signal())
    draft.settle(START_US, NEXT)
    assert draft.state() is state
    assert state.run is draft.run
    assert state.activities == {}
    assert [row.seq for row in state.tail] == [4]


def test_the_tail_loses_what_was_seen() -> None:
    life = Life()
    life.signal("a")
    token = life.lease(WORKFLOW)
    life.signal("b")
    life.signal("c")
    assert [row.seq for row in life.state.tail] == [1, 2, 3, 4]
    life.report(token, await_signal(1))
    assert [row.seq for row in life.state.tail] == [3, 4, 5]


def test_a_fork_is_not_committed() -> None:
    with pytest.raises(TypeError, match="a fork is absorbed"):
        Draft(a_state()).fork().state()


def test_nothing_changed_means_no_version() -> None:
    draft = Draft(a_state())
    draft.settle(START_US, NEXT)
    assert not draft.changed
    assert draft.run.version == 1


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({}, True),
        ({"status": RunStatus.PAUSED}, False),
        ({"seen_seq": 4}, False),
    ],
)
def test_a_task_is_made_when_there_is_news(columns: dict[str, object], expected: bool) -> None:
    draft = Draft(a_state())
    draft.append(START_US, signal_received=a_signal())
    for name, value in columns.items():
        setattr(draft.run, name, value)
    draft.run.task_lease = 7
    draft.settle(START_US + 5, NEXT)
    task = draft.task(WORKFLOW, 0)
    assert (task is not None) is expected
    if task is not None:
        assert (task.lease, task.ready_at_us, task.attempt) == (7, START_US + 5, 1)


def test_a_task_that_stands_is_left_alone() -> None:
    state = a_state()
    state.tasks[WORKFLOW, 0] = task = a_task(state.run, lease=3, session_id="s-1")
    draft = Draft(state)
    draft.append(START_US, signal_received=a_signal())
    draft.settle(START_US, NEXT)
    assert draft.task(WORKFLOW, 0) is task
    assert not draft.change().put_tasks


def test_a_fence_guards_stored_rows_only() -> None:
    draft = Draft(a_state())
    draft.put_task(a_task(draft.run, 2, kind=ACTIVITY))
    fork = draft.fork()
    fork.fence(ACTIVITY, 1, 0)
    fork.fence(ACTIVITY, 2, 0)
    assert list(fork.fences) == [(ACTIVITY, 1)]


def test_event_one_is_read_once() -> None:
    life = Life()
    draft = Draft(life.state)
    fork = draft.fork()
    started = fork.started()
    assert started == WorkflowStarted.FromString(life.last.SerializeToString())
    assert fork.started() is started
    assert draft.started() is started


def test_instants_of_events_never_decrease() -> None:
    draft = Draft(a_state())
    draft.append(START_US + 9, signal_received=a_signal())
    draft.append(START_US + 4, signal_received=a_signal())
    assert [row.at_us for row in draft.events] == [START_US + 9, START_US + 9]
    stamps = [parse_frame(row.frame).timestamp.ToMicroseconds() for row in draft.events]
    assert stamps == [START_US + 9, START_US + 9]


def test_an_event_is_framed_once() -> None:
    draft = Draft(a_state())
    seq = draft.append(START_US, signal_received=a_signal())
    (row,) = draft.events
    assert (row.seq, row.kind) == (seq, "signal_received")
    assert event_frame(parse_frame(row.frame)) == row.frame
    assert draft.run.history_bytes == len(row.frame)


def test_unseen_signals_span_the_layers() -> None:
    draft = Draft(a_state())
    draft.append(START_US, signal_received=a_signal("a"))
    fork = draft.fork()
    fork.append(START_US, signal_received=a_signal("b"))
    assert fork.unseen_signals() == [(4, "a"), (5, "b")]
    fork.run.seen_seq = 4
    assert fork.unseen_signals() == [(5, "b")]


@pytest.mark.parametrize("session_id", [None, DETACHED])
def test_nobody_is_told_when_no_session_holds_the_task(session_id: str | None) -> None:
    draft = Draft(a_state())
    draft.notify(a_task(draft.run, session_id=session_id), "LEASE_LOST")
    assert draft.notices == []


def test_what_closed_in_a_fork_is_gone_everywhere() -> None:
    life = Life()
    life.work(timer())
    life.signal()
    life.work(complete())
    assert not Draft(life.state).tasks()
    assert life.draft.timer(TimerKind.USER, 1) is None


def test_layers_tell_what_they_changed() -> None:
    below: Layer[int, str] = Layer({1: "a", 2: "b"})
    above = Layer(below)
    assert not above.touched(1)
    below.own[1] = None
    above.own[3] = "c"
    assert [above.touched(key) for key in (1, 2, 3)] == [True, False, True]
    assert dict(above.items()) == {2: "b", 3: "c"}
    assert above.split() == ({3: "c"}, set())
    assert below.split() == ({}, {1})


def test_rows_are_true_when_they_change_something() -> None:
    for name in ("activities", "tasks", "timers"):
        rows = Rows(a_state())
        assert not rows
        getattr(rows, name).own["key"] = None
        assert rows


def test_children_and_updates_span_the_layers() -> None:
    draft = Draft(Life().draft.state())
    run = draft.run
    child = Child(run.run_id, 1, "c", "refund", "run-9", "TERMINATE")
    open_, answered = (Update(run.run_id, seq, "add", f"u-{seq}") for seq in (2, 3))
    draft.put_child(child)
    draft.put_update(open_)
    fork = draft.fork()
    fork.put_child(replace(child, seq=2))
    fork.put_update(replace(answered, outcome=b"done"))
    assert [each.seq for each in fork.children()] == [1, 2]
    assert fork.update(2) == open_
    assert fork.update(3) is None
    draft.absorb(fork)
    assert [each.seq for each in draft.children()] == [1, 2]
    state = draft.state()
    assert state.updates == {2: open_}
    assert sorted(state.children) == [1, 2]


def test_what_a_run_sends_is_numbered() -> None:
    draft = Draft(Life().draft.state())
    draft.send(MessageKind.CANCEL, "other", "", b"")
    fork = draft.fork()
    fork.send(MessageKind.SIGNAL, "other", "run-7", b"body")
    draft.absorb(fork)
    sent = draft.change().messages
    assert [message.key for message in sent] == [
        (draft.run.run_id, 1),
        (draft.run.run_id, 2),
    ]
    assert [message.run_id for message in sent] == ["", "run-7"]
    assert draft.run.sent_max == 2


def test_an_update_that_is_answered_at_the_end_is_written() -> None:
    draft = Draft(Life().draft.state())
    draft.put_update(Update(draft.run.run_id, 2, "add", "u-2"))
    fork = draft.fork()
    fork.put_update(Update(draft.run.run_id, 2, "add", "u-2", b"done"))
    closing.terminate(fork, "enough", 1)
    draft.absorb(fork)
    assert draft.change().put_updates[2].outcome == b"done"


def test_a_snapshot_alone_is_a_change() -> None:
    draft = Draft(Life().draft.state())
    assert not draft.changed
    fork = draft.fork()
    fork.snapshot = Snapshot(draft.run.run_id, b"state", 1, 1)
    draft.absorb(fork)
    assert draft.changed
    assert draft.change().snapshot == fork.snapshot


def test_a_touched_draft_changes_the_version_alone() -> None:
    draft = Draft(a_state(version=4))
    draft.touch()
    draft.settle(START_US, NEXT)
    change = draft.change()
    assert (change.expected_version, change.run.version) == (4, 5)
    assert (change.events, change.put_tasks, change.put_timers) == ([], {}, {})


def test_a_closed_run_is_not_touched() -> None:
    draft = Draft(RunState(a_run(status=RunStatus.COMPLETED), b""))
    draft.touch()
    assert not draft.changed
