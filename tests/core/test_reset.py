from __future__ import annotations

from dataclasses import fields

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.v1.search_attributes_pb2 import SearchAttribute, SearchAttributes
from perdure.v1.workflow_service_pb2 import ResetWorkflowRequest, RetryFailedActivityRequest
from perdure_server.core.draft import Draft, NextRun
from perdure_server.core.errors import (
    CannotReset,
    InvalidRequest,
    StaleVersion,
    WorkflowClosed,
    WorkflowNotFailed,
)
from perdure_server.core.frames import parse_frame
from perdure_server.core.limits import SECOND_US
from perdure_server.core.model import Run, RunStatus, TaskKind, TimerKind
from perdure_server.core.rebuild import repeat
from perdure_server.core.reset import Reset, reset_of, reset_open, retry_of
from tests.core.life import (
    Life,
    attempts,
    await_signal,
    begun_again,
    cancel_activity,
    cancel_timer,
    child_of,
    complete,
    complete_update,
    fail,
    options,
    reject_update,
    schedule,
    seconds,
    send_cancel,
    send_signal,
    start_child,
    timer,
    upsert,
)
from tests.core.test_properties import Chance
from tests.support.histories import a_run

WORKFLOW, ACTIVITY = TaskKind.WORKFLOW, TaskKind.ACTIVITY
ONCE = options(retry=attempts(1))


def attribute(value: str) -> SearchAttributes:
    return SearchAttributes(values={"team": SearchAttribute(keyword=value)})


def charged(life: Life) -> Life:
    """1 started, 2 scheduled, 3 a signal, 4 the result."""
    life.work(schedule(options=ONCE))
    token = life.lease(ACTIVITY, 1)
    life.signal("early")
    life.complete(token)
    return life


def failed() -> Life:
    """1 started, 2 3 scheduled, 4 5 failed, 6 a signal, 7 the run failed."""
    life = Life()
    life.work(schedule(1, options=ONCE), schedule(2, options=ONCE))
    for seq in (1, 2):
        life.fail(life.lease(ACTIVITY, seq))
    life.signal("late")
    life.work(fail())
    return life


def test_a_closed_run_stays_and_another_repeats_its_history() -> None:
    life = Life(start_delay=seconds(3), run_timeout=seconds(60))
    life.wait(3)
    charged(life)
    life.work(complete())
    life.wait(100)
    before = list(life.rows)
    again = begun_again(life, 4)
    assert life.rows == before
    assert life.run.next_run_id == ""
    assert [row.frame for row in again.rows[1:4]] == [row.frame for row in life.rows[1:4]]
    assert again.kinds[4:] == ["workflow_reset"]
    reset = again.last
    assert (reset.reason, reset.identity, reset.from_run_id) == ("bug", "ann", "run-1")
    assert (reset.event_seq, reset.activity_seq) == (4, 0)
    run = again.run
    assert (run.run_id, run.generation, run.previous_run_id) == ("run-9", 7, "run-1")
    assert run.status is RunStatus.RUNNING
    assert (run.created_at_us, run.updated_at_us, run.started_at_us) == (life.now_us,) * 3
    assert (run.seen_seq, run.stimulus_seq, run.activity_seq_max) == (1, 5, 1)
    assert again.task().ready_at_us == life.now_us
    assert again.state.activities == {}
    assert again.state.timers[TimerKind.RUN_TIMEOUT, 0].due_at_us == life.now_us + 60 * SECOND_US


def test_the_first_event_keeps_its_seed_and_links_the_runs() -> None:
    life = charged(Life(execution_timeout=seconds(9)))
    life.wait(100)
    again = begun_again(life, 1)
    first, started = life.events[0].workflow_started, again.events[0].workflow_started
    assert (started.seed, started.attempt, started.first_run_id) == (11, 1, "run-1")
    assert (started.previous_run_id, first.previous_run_id) == ("run-1", "")
    assert again.events[0].timestamp == life.events[0].timestamp
    timer = again.state.timers[TimerKind.EXECUTION_TIMEOUT, 0]
    assert timer.due_at_us == life.now_us + 9 * SECOND_US


def test_an_open_run_ends_in_the_same_commit() -> None:
    life = charged(Life())
    life.wait(5)
    again = begun_again(life, 2)
    assert life.run.status is RunStatus.TERMINATED
    assert life.run.next_run_id == again.run.run_id == "run-9"
    assert (life.last.reason, list(life.last.unhandled_signals)) == ("reset to event 2: bug", [])
    assert again.run.generation == 2
    assert again.kinds[2:] == ["workflow_reset", "signal_received"]
    again.complete(again.lease(ACTIVITY, 1))
    again.work(complete())
    assert again.run.status is RunStatus.COMPLETED


def test_later_signals_may_be_left_out() -> None:
    life = charged(Life())
    life.signal("unseen")
    again = begun_again(life, 2, drop_signals=True, reason="")
    assert again.kinds[2:] == ["workflow_reset"]
    assert life.last.reason == "reset to event 2"
    assert [signal.signal_name for signal in life.last.unhandled_signals] == ["early", "unseen"]


def test_a_run_whose_code_never_ran_begins_as_if_it_were_new() -> None:
    life = Life()
    life.signal()
    again = begun_again(life, 1)
    assert again.run.status is RunStatus.PENDING
    assert again.run.started_at_us is None
    assert again.run.seen_seq == 0
    again.cancel()
    assert again.run.status is RunStatus.CANCELLED


@pytest.mark.parametrize("event_seq", [0, 5, 6])
def test_there_must_be_such_an_event_and_it_must_not_close_the_run(event_seq: int) -> None:
    life = charged(Life())
    if event_seq == 5:
        life.work(complete())
    with pytest.raises(InvalidRequest, match="the events 1 to 4") as caught:
        begun_again(life, event_seq)
    assert caught.value.field == "event_seq"


def test_a_run_that_closed_or_grew_meanwhile_is_read_again() -> None:
    life = charged(Life())
    life.work(await_signal(1))
    reset, new = Reset(1, "", ""), NextRun("run-9", 99)
    with pytest.raises(StaleVersion):
        reset_open(Draft(life.state), life.rows[:2], reset, new=new, now_us=life.now_us)
    life.terminate()
    with pytest.raises(WorkflowClosed):
        reset_open(Draft(life.state), life.rows, reset, new=new, now_us=life.now_us)


def test_what_came_after_the_history_was_read_counts() -> None:
    life = charged(Life())
    life.signal("last")
    draft = Draft(life.state)
    rows = life.rows[:3]
    follower = reset_open(
        draft, rows, Reset(3, "", ""), new=NextRun("run-9", 99), now_us=life.now_us
    )
    assert follower.events[-1].kind == "signal_received"
    assert draft.next_runs == [follower]


def test_work_that_had_not_ended_begins_anew() -> None:
    life = Life()
    life.work(
        schedule(1, options=options(schedule_to_close=30, retry=attempts(3))),
        schedule(2),
        timer(1, 10),
        timer(2, 20),
        timer(3, 30),
        cancel_timer(3),
        await_signal(1),
        upsert(1, attribute("a")),
        upsert(2, attribute("b")),
    )
    token = life.lease(ACTIVITY, 1)
    life.fail(token)
    life.wait(10)
    life.lease(ACTIVITY, 1)
    life.lease(ACTIVITY, 2)
    life.ring(TimerKind.USER, 1)
    started_us, fired = life.rows[0].at_us, life.run.history_length
    again = begun_again(life, fired)
    assert sorted(again.state.activities) == [1, 2]
    row, task = again.state.activities[1], again.task(ACTIVITY, 1)
    assert (row.attempt, row.last_failure, row.scheduled_at_us) == (1, b"", life.now_us)
    assert (task.session_id, task.attempt, task.ready_at_us) == (None, 1, life.now_us)
    assert again.lease(ACTIVITY, 1).lease == 3
    assert again.lease(ACTIVITY, 2).lease == 2
    assert {key: row.due_at_us - started_us for key, row in again.state.timers.items()} == {
        (TimerKind.USER, 2): 20 * SECOND_US,
        (TimerKind.ACTIVITY_TOTAL, 1): 40 * SECOND_US,
    }
    run = again.run
    assert (run.activity_seq_max, run.timer_seq_max, run.wait_seq_max) == (2, 3, 1)
    assert run.attribute_seq_max == 2
    assert SearchAttributes.FromString(run.attributes) == attribute("b")
    assert again.draft.change().put_keys


def test_leases_go_on_from_those_of_the_run_before() -> None:
    life = Life()
    life.work(schedule(options=ONCE))
    life.signal()
    life.lose(life.lease(WORKFLOW))
    last = life.lease(WORKFLOW)
    again = begun_again(life, 2)
    work = again.lease(WORKFLOW)
    assert work.lease == last.lease + 1
    token = again.lease(ACTIVITY, 1)
    again.complete(token)
    again.report(work, complete())
    third = begun_again(again, 2)
    assert third.lease(ACTIVITY, 1).lease == token.lease + 1


def test_an_activity_that_was_to_end_ends_unless_it_had() -> None:
    life = Life()
    life.work(schedule(1), schedule(2), await_signal(1))
    for seq in (1, 2):
        life.lease(ACTIVITY, seq)
    life.signal()
    life.work(cancel_activity(1))
    again = begun_again(life, life.run.history_length)
    assert again.kinds[-2:] == ["workflow_reset", "activity_cancelled"]
    assert again.last.activity_seq == 1
    assert sorted(again.state.activities) == [2]


def test_a_cancellation_before_the_event_stands() -> None:
    life = Life()
    life.work(await_signal(1))
    life.cancel("enough", deadline_s=30)
    again = begun_again(life, 3)
    assert (again.run.cancel_requested, again.run.cancel_reason) == (True, "enough")
    assert (TimerKind.CANCEL_DEADLINE, 0) in again.state.timers
    life = Life()
    life.work(await_signal(1))
    life.cancel()
    assert begun_again(life, 3).state.timers == {}


def test_a_cancellation_after_the_event_is_undone() -> None:
    life = Life()
    life.work(await_signal(1))
    life.cancel("enough")
    assert not begun_again(life, 2).run.cancel_requested


def test_a_pause_before_the_event_stands() -> None:
    life = Life()
    life.work(schedule())
    life.pause("look")
    again = begun_again(life, 3)
    assert again.run.status is RunStatus.PAUSED
    assert again.task(ACTIVITY, 1).is_held_back
    assert (WORKFLOW, 0) not in again.state.tasks
    again.unpause()
    assert begun_again(again, again.run.history_length).run.pause == b""
    unseen = Life()
    unseen.pause()
    assert begun_again(unseen, 2).unpause() is RunStatus.PENDING


def test_activities_from_outside_begin_anew_too() -> None:
    life = Life()
    life.work()
    life.schedule_outside(1)
    life.schedule_outside(2)
    life.complete(life.lease(ACTIVITY, -2))
    life.lease(ACTIVITY, -1)
    life.cancel()
    again = begun_again(life, life.run.history_length)
    assert again.last.activity_seq == -1
    assert again.state.activities == {}
    first = begun_again(life if not life.run.status.is_closed else again, 2)
    assert sorted(first.state.activities) == [-1]
    assert first.run.activity_seq_max == 0


def test_ends_of_children_are_heard_though_they_came_later() -> None:
    life = Life()
    life.known = {"taken": Life().run}
    life.work(start_child(1), start_child(2, "c-2"), start_child(3, "taken"))
    ends = [child_of(life, number=number) for number in (0, 1)]
    ends[0].work(complete())
    life.hear(ends[0].sent[0])
    ends[1].terminate()
    life.hear(ends[1].sent[0])
    again = begun_again(life, 4)
    assert again.kinds[4:] == [
        "workflow_reset",
        "child_workflow_completed",
        "child_workflow_failed",
    ]
    assert again.run.child_seq_max == 3
    assert [child.closed for child in again.state.children.values()] == [True] * 3
    assert [child.policy for child in again.state.children.values()][:2] == ["TERMINATE"] * 2


def test_updates_without_an_answer_are_to_be_answered() -> None:
    life = Life()
    asked = [life.update(), life.update(), life.update()]
    life.work(complete_update(asked[0]), reject_update(asked[1]))
    again = begun_again(life, life.run.history_length)
    assert [row.seq for row in again.state.updates.values()] == [asked[2]]
    again.work(complete_update(asked[0]), complete_update(asked[2]))
    assert again.kinds[-2:] == ["workflow_reset", "update_completed"]
    assert begun_again(life, 1).kinds == ["workflow_started", "workflow_reset"]


def test_children_that_had_ended_are_known() -> None:
    life = Life()
    life.work(start_child())
    child = child_of(life)
    child.work(complete())
    life.hear(child.sent[0])
    (row,) = begun_again(life, 3).state.children.values()
    assert (row.workflow_id, row.child_run_id, row.closed) == ("c-1", child.run.run_id, True)


def test_ends_of_children_of_later_are_not_heard() -> None:
    life = Life()
    life.work(start_child())
    child = child_of(life)
    child.work(complete())
    life.hear(child.sent[0])
    again = begun_again(life, 1)
    assert again.kinds == ["workflow_started", "workflow_reset"]
    assert again.state.children == {}


def test_a_child_of_later_ends_with_the_run() -> None:
    life = Life()
    life.work(start_child())
    begun_again(life, 1)
    assert [message.kind for message in life.sent] == ["terminate"]


def test_a_child_that_begins_again_is_one_child() -> None:
    life = Life()
    life.work(start_child())
    child = child_of(life)
    child.work(schedule())
    again = begun_again(child, 2)
    assert child.sent == []
    assert (again.run.parent_run_id, again.run.parent_seq) == ("run-1", 1)
    again.terminate()
    life.hear(again.sent[0])
    assert life.kinds[-1] == "child_workflow_failed"


def test_answers_of_others_are_heard_though_they_came_later() -> None:
    life, other = Life(), Life()
    life.work(send_signal(1), send_signal(2), send_cancel(1), send_cancel(2))
    for number in (0, 2):
        with pytest.raises(CannotReset, match="is not answered"):
            begun_again(life, 5)
        other.work(await_signal(number // 2 + 1))
        other.hear(life.sent[number])
        life.hear(other.sent[-1])
    life.take_back(life.sent[1])
    life.take_back(life.sent[3])
    ends = life.kinds[5:]
    again = begun_again(life, 5)
    assert again.kinds[5:] == ["workflow_reset", *ends]
    assert (again.run.signal_seq_max, again.run.cancel_seq_max) == (2, 2)
    third = begun_again(again, again.run.history_length)
    assert third.kinds[-1] == "workflow_reset"


def test_answers_to_what_was_sent_later_are_not_heard() -> None:
    life, other = Life(), Life()
    life.work(send_signal(1))
    other.hear(life.sent[0])
    life.hear(other.sent[-1])
    assert begun_again(life, 1).kinds == ["workflow_started", "workflow_reset"]


def test_a_failed_activity_is_tried_again() -> None:
    life = failed()
    request = RetryFailedActivityRequest(requested_by="ann", reason="fixed")
    wanted = retry_of(request, life.run, life.rows)
    assert wanted == Reset(4, "fixed", "ann", activity_seq=2)
    again = begun_again(life, wanted.event_seq, activity_seq=wanted.activity_seq)
    assert again.kinds[4:] == ["workflow_reset", "signal_received"]
    assert sorted(again.state.activities) == [2]
    assert again.lease(ACTIVITY, 2).lease == 2


def test_one_that_timed_out_is_too() -> None:
    life = Life()
    life.work(schedule(options=options(start_to_close=1, retry=attempts(1))))
    token = life.lease(ACTIVITY, 1)
    life.wait(1)
    life.expire(token)
    life.work(fail())
    wanted = retry_of(RetryFailedActivityRequest(), life.run, life.rows)
    assert (wanted.event_seq, wanted.activity_seq) == (2, 1)


def test_only_a_run_that_failed_by_an_activity_is_tried_again() -> None:
    request = RetryFailedActivityRequest()
    life = Life()
    life.work()
    with pytest.raises(WorkflowNotFailed, match="is RUNNING"):
        retry_of(request, life.run, life.rows)
    life.schedule_outside(options=ONCE)
    life.fail(life.lease(ACTIVITY, -1))
    life.signal()
    life.work(fail())
    with pytest.raises(WorkflowNotFailed, match="no activity failed"):
        retry_of(request, life.run, life.rows)


def test_what_a_request_asks_for() -> None:
    request = ResetWorkflowRequest(event_seq=3, reason="r", identity="i", drop_signals=True)
    assert reset_of(request) == Reset(3, "r", "i", drop_signals=True)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(seed=st.integers(0, 2**32), steps=st.integers(10, 150))
def test_a_run_made_again_is_the_run_that_went_on(seed: int, steps: int) -> None:
    chance = Chance(seed)
    for _ in range(steps):
        chance.step()
    state, run, rows = chance.life.state, chance.life.run, chance.life.rows
    if run.status.is_closed:
        return
    blank = a_run()
    blank.history_length = 0
    draft = Draft.new(blank)
    pending = repeat(draft, rows)
    for field in fields(Run):
        if field.name.endswith("_seq_max") or field.name in FOLDED:
            assert getattr(draft.run, field.name) == getattr(run, field.name), field.name
    assert {seq: row.SerializeToString() for seq, row in pending.activities.items()} == {
        seq: row.scheduled for seq, row in state.activities.items()
    }
    cancelling = {seq for seq, row in state.activities.items() if row.cancel_requested}
    assert pending.cancelling & pending.activities.keys() == cancelling
    # A second request to cancel leaves no event, and may bring the deadline forward all the same.
    due = {key: row.due_at_us for key, row in state.timers.items() if key[0] is TimerKind.USER}
    assert {key: row.due_at_us for key, row in pending.timers.items() if key in due} == due
    assert pending.timers.keys() <= state.timers.keys()
    assert pending.updates.keys() == state.updates.keys()
    assert {seq: (row.child_run_id, row.closed) for seq, row in pending.children.items()} == {
        seq: (row.child_run_id, row.closed) for seq, row in state.children.items()
    }


FOLDED = (
    "history_length",
    "history_bytes",
    "cancel_requested",
    "cancel_reason",
    "attributes",
    "pause",
)


def test_a_pause_after_the_event_stands_while_the_run_is_open() -> None:
    life = Life()
    life.work(schedule())
    life.pause("look", "bob")
    life.signal()
    again = begun_again(life, 2)
    assert again.kinds[2:] == ["workflow_reset", "signal_received", "workflow_paused"]
    assert again.last.reason == "look"
    assert again.task(ACTIVITY, 1).is_held_back
    assert begun_again(life, 2).run.status is RunStatus.RUNNING


def test_histories_of_before_are_not_changed() -> None:
    life = failed()
    frames = [row.frame for row in life.rows]
    begun_again(life, 3)
    assert [row.frame for row in life.rows] == frames
    assert parse_frame(frames[0]).workflow_started.previous_run_id == ""
