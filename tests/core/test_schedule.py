"""What becomes of a schedule: creation, changes, and its turns under each overlap policy."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from perdure.v1.payload_pb2 import Payload
from perdure.v1.retry_policy_pb2 import RetryPolicy
from perdure.v1.schedule_pb2 import OverlapPolicy, ScheduleSpec, StartOutcome
from perdure.v1.schedule_service_pb2 import CreateScheduleRequest, UpdateScheduleRequest
from perdure.v1.search_attributes_pb2 import SearchAttribute, SearchAttributes
from perdure_server.core import limits, schedule
from perdure_server.core.errors import InvalidSchedule, LimitExceeded
from perdure_server.core.limits import SECOND_US
from perdure_server.core.model import RunStatus, ScheduleRow
from perdure_server.core.schedule import Turn, asked_start, record_of, workflow_id_of

BEGIN_US = 1_767_225_600 * SECOND_US
"""2026-01-01 00:00 UTC."""
MINUTE_US = 60 * SECOND_US
SKIP = OverlapPolicy.OVERLAP_POLICY_SKIP
BUFFER_ONE = OverlapPolicy.OVERLAP_POLICY_BUFFER_ONE
BUFFER_ALL = OverlapPolicy.OVERLAP_POLICY_BUFFER_ALL
CANCEL_OTHER = OverlapPolicy.OVERLAP_POLICY_CANCEL_OTHER
TERMINATE_OTHER = OverlapPolicy.OVERLAP_POLICY_TERMINATE_OTHER
ALLOW_ALL = OverlapPolicy.OVERLAP_POLICY_ALLOW_ALL
STARTED = StartOutcome.START_OUTCOME_STARTED
WAITS = StartOutcome.START_OUTCOME_WAITS
SKIPPED = StartOutcome.START_OUTCOME_SKIPPED
RAN_BEFORE = StartOutcome.START_OUTCOME_RAN_BEFORE


def created(now_us: int = BEGIN_US, *, paused: bool = False, **spec: Any) -> ScheduleRow:
    spec = {"workflow_type": "report", "cron_expr": "* * * * *", **spec}
    if "interval" in spec:
        del spec["cron_expr"]
    request = CreateScheduleRequest(
        namespace="main", name="s", spec=ScheduleSpec(**spec), paused=paused
    )
    return schedule.create_schedule(request, now_us)


def updated(row: ScheduleRow, now_us: int, clear: tuple[str, ...] = (), **spec: Any) -> ScheduleRow:
    request = UpdateScheduleRequest(
        namespace="main", name="s", spec=ScheduleSpec(**spec), clear=clear
    )
    return schedule.update_schedule(row, request, now_us)


def at(minutes: float) -> int:
    return BEGIN_US + round(minutes * MINUTE_US)


def wid(minutes: float) -> str:
    return workflow_id_of("s", at(minutes))


def turn(
    row: ScheduleRow, now_us: int, known: dict[str, RunStatus] | None = None, **asked: Any
) -> Turn:
    made = Turn(row, schedule.due_times_of(record_of(row)), now_us=now_us, **asked)
    made.decide(known or {})
    return made


def previewed(row: ScheduleRow, after_us: int, count: int) -> list[int]:
    record = record_of(row)
    return schedule.preview(record, schedule.due_times_of(record), after_us, count)


def minutes(made: Turn) -> list[float]:
    """Returns the due times that start a workflow, in minutes since the beginning."""
    return [(due_us - BEGIN_US) / MINUTE_US for due_us in made.starts]


def waiting(made: Turn) -> list[float]:
    times = [start.due_at.ToMicroseconds() for start in made.schedule.waiting]
    return [(due_us - BEGIN_US) / MINUTE_US for due_us in times]


RUNNING = RunStatus.RUNNING


def test_a_schedule_is_created_with_every_default_and_its_first_instant_is_the_next() -> None:
    row = created()
    record = record_of(row)
    assert (row.key, row.version, row.serve_at_us, row.waits) == (
        ("main", "s"),
        BEGIN_US,
        at(1),
        False,
    )
    spec = record.spec
    assert (spec.timezone, spec.task_queue, spec.priority) == ("UTC", "default", 3)
    assert (spec.overlap_policy, spec.pause_on_failure) == (SKIP, False)
    assert (spec.catchup_window.seconds, spec.jitter.seconds) == (365 * 86_400, 0)
    assert record.next_run_at.ToMicroseconds() == at(1)
    assert not record.HasField("last_run_at")


def test_a_schedule_created_paused_has_no_next_instant() -> None:
    row = created(paused=True)
    assert row.serve_at_us is None
    assert previewed(row, BEGIN_US, 2) == [at(1), at(2)]


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"cron_expr": "0 0 30 2 *"}, "cron_expr"),
        ({"cron_expr": ""}, "cron_expr"),
        ({"end_at": Timestamp(seconds=BEGIN_US // SECOND_US)}, "cron_expr"),
        (
            {
                "interval": Duration(seconds=60),
                "end_at": Timestamp(seconds=BEGIN_US // SECOND_US + 59),
            },
            "interval",
        ),
    ],
)
def test_a_schedule_that_never_starts_anything_is_refused(spec: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidSchedule) as caught:
        created(**spec)
    assert caught.value.field == field


def test_what_a_start_is_made_of() -> None:
    retry = RetryPolicy(max_attempts=2)
    team = SearchAttributes(values={"team": SearchAttribute(keyword="a")})
    row = created(
        input=Payload(data=b"1"),
        task_queue="q",
        retry_policy=retry,
        execution_timeout=Duration(seconds=9),
        run_timeout=Duration(seconds=8),
        priority=1,
        memo=Payload(data=b"2"),
        search_attributes=team,
        summary="sales",
        details="of the day",
    )
    request = turn(row, at(1)).start_request(at(1))
    assert request.workflow_id == "s-2026-01-01T00:01:00Z"
    assert (request.namespace, request.workflow_type) == ("main", "report")
    assert (request.task_queue, request.priority) == ("q", 1)
    assert (request.input.data, request.retry_policy) == (b"1", retry)
    assert (request.execution_timeout.seconds, request.run_timeout.seconds) == (9, 8)
    assert (request.memo.data, request.search_attributes) == (b"2", team)
    assert (request.summary, request.details) == ("sales", "of the day")
    bare = turn(created(), at(1)).start_request(at(1))
    assert not bare.HasField("input")
    assert not bare.HasField("retry_policy")
    assert not bare.HasField("memo")
    assert not bare.HasField("search_attributes")


def test_an_id_names_the_due_time_to_the_microsecond() -> None:
    assert workflow_id_of("s", BEGIN_US + 1) == "s-2026-01-01T00:00:00.000001Z"


def test_a_due_time_starts_its_workflow_and_aims_at_the_next() -> None:
    made = turn(created(), at(1))
    assert (minutes(made), waiting(made), made.changed, made.again) == ([1], [], True, False)
    record = made.schedule
    assert record.last_run_at.ToMicroseconds() == at(1)
    assert (record.last_workflow_id, record.run_count) == (wid(1), 1)
    assert list(record.running) == [wid(1)]
    assert (made.row.serve_at_us, made.row.version, made.row.waits) == (at(2), BEGIN_US + 1, False)


def test_before_its_instant_a_schedule_changes_nothing() -> None:
    made = turn(created(), at(1) - 1)
    assert (minutes(made), made.changed) == ([], False)


def test_a_due_time_that_had_its_workflow_never_gets_another() -> None:
    made = turn(created(), at(1), {wid(1): RunStatus.COMPLETED})
    assert (minutes(made), made.row.serve_at_us) == ([], at(2))
    assert wid(1) in made.workflow_ids()


@pytest.mark.parametrize(
    ("policy", "starts", "waits"),
    [
        (SKIP, [], []),
        (BUFFER_ONE, [], [2]),
        (BUFFER_ALL, [], [2, 3]),
        (CANCEL_OTHER, [], [3]),
        (TERMINATE_OTHER, [], [3]),
        (ALLOW_ALL, [2, 3], []),
    ],
)
def test_what_happens_while_a_workflow_is_open(
    policy: OverlapPolicy, starts: list[float], waits: list[float]
) -> None:
    first = turn(created(overlap_policy=policy), at(1))
    known = {wid(1): RUNNING}
    second = turn(first.row, at(3), known)
    assert (minutes(second), waiting(second)) == (starts, waits)
    assert second.row.waits == bool(waits)
    # Once it has ended, what waits goes on.
    third = turn(second.row, at(3.5), {wid(1): RunStatus.CANCELLED})
    assert minutes(third) == waits[:1]
    assert waiting(third) == waits[1:]


def test_whom_a_start_ends() -> None:
    for policy, by_force in ((CANCEL_OTHER, False), (TERMINATE_OTHER, True)):
        first = turn(created(overlap_policy=policy), at(1))
        assert first.others() == ([], False)
        assert turn(first.row, at(2), {wid(1): RUNNING}).others() == ([wid(1)], by_force)
    buffering = turn(created(overlap_policy=BUFFER_ALL), at(1))
    assert turn(buffering.row, at(2), {wid(1): RUNNING}).others() == ([], False)


def test_a_newest_start_takes_the_place_only_of_its_like() -> None:
    first = turn(created(overlap_policy=BUFFER_ALL), at(1))
    second = turn(first.row, at(2), {wid(1): RUNNING})
    third = turn(updated(second.row, at(2), overlap_policy=CANCEL_OTHER), at(4), {wid(1): RUNNING})
    assert waiting(third) == [2, 4]


def test_a_workflow_that_was_deleted_is_open_no_more() -> None:
    first = turn(created(), at(1))
    assert minutes(turn(first.row, at(2))) == [2]


def test_what_is_later_than_the_catch_up_window_is_left_out() -> None:
    row = created(catchup_window=Duration(seconds=150), overlap_policy=ALLOW_ALL)
    assert minutes(turn(row, at(10))) == [8, 9, 10]
    assert minutes(turn(created(catchup_window=Duration()), at(1))) == [1]
    late = turn(created(catchup_window=Duration()), at(1.5))
    assert (minutes(late), late.row.serve_at_us) == ([], at(2))


def test_a_server_that_is_a_moment_late_leaves_nothing_out() -> None:
    moment_us = 5 * limits.SECOND_US
    assert minutes(turn(created(catchup_window=Duration()), at(1) + moment_us)) == [1]


def test_what_is_late_by_its_jitter_is_not_left_out() -> None:
    row = created(catchup_window=Duration(), jitter=Duration(seconds=59))
    assert row.serve_at_us is not None
    assert row.serve_at_us > at(1) + limits.CATCHUP_WINDOW_US_MIN
    assert minutes(turn(row, row.serve_at_us)) == [1]


def test_many_due_times_take_several_turns() -> None:
    row = created(overlap_policy=ALLOW_ALL)
    made = turn(row, at(250))
    assert len(made.starts) == limits.SCHEDULE_STARTS_MAX
    assert made.row.serve_at_us == at(101)
    assert len(made.schedule.running) == limits.SCHEDULE_RUNNING_MAX
    after = turn(made.row, at(250))
    assert minutes(after)[0] == 101
    assert after.schedule.running[-1] == wid(200)


def test_the_remaining_runs_count_down_to_the_end() -> None:
    first = turn(created(remaining_runs=2, overlap_policy=ALLOW_ALL), at(1))
    assert (first.schedule.spec.remaining_runs, first.row.serve_at_us) == (1, at(2))
    assert len(previewed(first.row, at(1), 10)) == 1
    second = turn(first.row, at(5))
    assert (minutes(second), second.row.serve_at_us) == ([2], None)
    assert second.schedule.spec.remaining_runs == 0
    # A resume does not bring it back, more runs do.
    resumed = schedule.resume_schedule(schedule.pause_schedule(second.row, "", at(6)), "", at(7))
    assert resumed.serve_at_us is None
    assert updated(second.row, at(8), remaining_runs=1).serve_at_us == at(9)


def test_the_end_of_a_schedule() -> None:
    row = created(end_at=Timestamp(seconds=at(1) // SECOND_US))
    made = turn(row, at(1))
    assert (minutes(made), made.row.serve_at_us) == ([1], None)
    assert not turn(made.row, at(9)).starts
    # Other fields can still be changed.
    assert record_of(updated(made.row, at(9), priority=1)).spec.priority == 1


@pytest.mark.parametrize("status", [RunStatus.FAILED, RunStatus.TIMED_OUT])
def test_a_failure_pauses_where_that_is_wanted(status: RunStatus) -> None:
    first = turn(created(pause_on_failure=True), at(1))
    assert first.row.waits
    failed = turn(first.row, at(2), {wid(1): status})
    assert (failed.starts, failed.schedule.paused) == ([], True)
    assert wid(1) in failed.schedule.note
    assert (failed.row.serve_at_us, failed.row.waits) == (None, False)
    other = turn(created(), at(1))
    assert not turn(other.row, at(2), {wid(1): status}).schedule.paused


def test_other_ends_pause_nothing_and_a_pause_keeps_its_note() -> None:
    first = turn(created(pause_on_failure=True), at(1))
    again = turn(first.row, at(2), {wid(1): RunStatus.COMPLETED})
    assert (minutes(again), again.schedule.paused) == ([2], False)
    paused = schedule.pause_schedule(first.row, "mine", at(2))
    late = turn(paused, at(3), {wid(1): RunStatus.FAILED})
    assert (late.schedule.note, list(late.schedule.running)) == ("mine", [])


def test_a_pause_drops_what_nobody_asked_for() -> None:
    first = turn(created(overlap_policy=BUFFER_ALL), at(1))
    second = turn(first.row, at(2), {wid(1): RUNNING}, asked=[asked_start(at(2.5), BUFFER_ALL)])
    assert waiting(second) == [2, 2.5]
    paused = schedule.pause_schedule(second.row, "why", at(3))
    record = record_of(paused)
    assert (record.paused, record.note, paused.serve_at_us) == (True, "why", None)
    assert [start.manual for start in record.waiting] == [True]
    after = turn(paused, at(4), {wid(1): RunStatus.COMPLETED})
    assert minutes(after) == [2.5]


def test_what_waits_is_left_out_when_the_runs_are_used_up() -> None:
    first = turn(created(overlap_policy=BUFFER_ALL, remaining_runs=2), at(1))
    second = turn(first.row, at(3), {wid(1): RUNNING})
    assert waiting(second) == [2, 3]
    third = turn(second.row, at(3), {wid(1): RunStatus.COMPLETED})
    assert minutes(third) == [2]
    fourth = turn(third.row, at(3), {wid(2): RunStatus.COMPLETED})
    assert (minutes(fourth), waiting(fourth)) == ([], [])


def test_a_resume_goes_on_from_the_next_instant() -> None:
    paused = schedule.pause_schedule(created(), "a", at(1))
    resumed = schedule.resume_schedule(paused, "b", at(9.5))
    record = record_of(resumed)
    assert (record.paused, record.note, resumed.serve_at_us) == (False, "b", at(10))
    again = schedule.resume_schedule(resumed, "c", at(20))
    assert (record_of(again).note, again.serve_at_us) == ("c", at(10))


def test_an_update_changes_what_is_given_and_finds_the_next_instant() -> None:
    row = created(input=Payload(data=b"1"), interval=Duration(seconds=60))
    changed = updated(row, at(0.5), cron_expr="0 * * * *", task_queue="other")
    record = record_of(changed)
    assert changed.serve_at_us == at(60)
    assert (record.spec.task_queue, record.spec.input.data) == ("other", b"1")
    assert not record.spec.HasField("interval")
    assert record.updated_at.ToMicroseconds() == at(0.5)
    back = record_of(updated(changed, at(1), interval=Duration(seconds=30)))
    assert not back.spec.HasField("cron_expr")
    assert updated(changed, at(1), clear=("input",)).serve_at_us == at(60)
    assert not record_of(updated(changed, at(1), clear=("input",))).spec.HasField("input")


def test_an_update_that_moves_no_instant_keeps_the_due_time_that_is_late_by_its_jitter() -> None:
    row = created(jitter=Duration(seconds=30))
    record = record_of(row)
    assert record.next_due_at.ToMicroseconds() == at(1)
    assert row.serve_at_us is not None
    assert at(1) < row.serve_at_us < at(1.5)
    changed = updated(row, at(1), task_queue="q")
    assert changed.serve_at_us == row.serve_at_us
    assert updated(row, at(1), jitter=Duration()).serve_at_us == at(1)


def test_an_update_of_a_paused_schedule_leaves_it_paused() -> None:
    paused = schedule.pause_schedule(created(), "", at(1))
    assert updated(paused, at(2), cron_expr="0 * * * *").serve_at_us is None


@pytest.mark.parametrize(
    ("clear", "spec", "field"),
    [
        (("nonsense",), {}, "clear"),
        (("cron_expr",), {}, "cron_expr"),
        ((), {"cron_expr": "0 0 30 2 *"}, "cron_expr"),
        ((), {"cron_expr": "@daily", "interval": Duration(seconds=9)}, "interval"),
        ((), {"timezone": "Nowhere"}, "timezone"),
    ],
)
def test_an_update_that_makes_no_sense_is_refused(
    clear: tuple[str, ...], spec: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidSchedule) as caught:
        updated(created(), at(1), clear, **spec)
    assert caught.value.field == field


def test_what_somebody_asks_for_is_started_also_when_paused() -> None:
    paused = schedule.pause_schedule(created(remaining_runs=1), "", at(1))
    made = turn(paused, at(2), asked=[asked_start(at(2.25), SKIP)])
    assert minutes(made) == [2.25]
    assert made.schedule.spec.remaining_runs == 1
    told = [(run.outcome, run.workflow_id) for run in made.outcomes]
    assert told == [(STARTED, wid(2.25))]


def test_what_becomes_of_what_was_asked() -> None:
    first = turn(created(), at(1))
    known = {wid(1): RUNNING, wid(1.5): RunStatus.COMPLETED}
    asked = [
        asked_start(at(1.5), ALLOW_ALL),
        asked_start(at(1.6), SKIP),
        asked_start(at(1.7), BUFFER_ONE),
        asked_start(at(1.8), ALLOW_ALL),
        asked_start(at(1.8), ALLOW_ALL),
    ]
    made = turn(first.row, at(1.9), known, asked=asked)
    assert [run.outcome for run in made.outcomes] == [
        RAN_BEFORE,
        SKIPPED,
        WAITS,
        STARTED,
        RAN_BEFORE,
    ]
    assert minutes(made) == [1.8]


def test_a_backfill_starts_the_due_times_of_a_span_with_both_its_ends() -> None:
    row = created()
    times = schedule.due_times_of(record_of(row))
    starts = schedule.backfilled(times, at(-10), at(-8), ALLOW_ALL)
    assert minutes(turn(row, at(0.5), asked=starts)) == [-10, -9, -8]
    assert schedule.backfilled(times, at(0.1), at(0.2), ALLOW_ALL) == []
    with pytest.raises(LimitExceeded):
        schedule.backfilled(times, at(0), at(limits.BACKFILL_MAX), ALLOW_ALL)


def test_a_backfill_runs_to_the_end_of_its_schedule() -> None:
    row = created(end_at=Timestamp(seconds=at(2) // SECOND_US))
    times = schedule.due_times_of(record_of(row))
    assert len(schedule.backfilled(times, at(1), at(60), ALLOW_ALL)) == 2


def test_a_large_backfill_takes_several_turns() -> None:
    row = created(paused=True)
    times = schedule.due_times_of(record_of(row))
    starts = schedule.backfilled(times, at(-400), at(-1), ALLOW_ALL)
    made = turn(row, at(0.5), asked=starts)
    assert (len(made.starts), len(made.schedule.waiting), made.again) == (100, 300, True)
    later = Turn(made.row, times, now_us=at(0.5))
    assert len(later.workflow_ids()) == limits.SCHEDULE_RUNNING_MAX + 200
    later.decide({})
    assert minutes(later)[0] == -300


def test_no_more_wait_than_the_bound() -> None:
    row = turn(created(overlap_policy=BUFFER_ALL, paused=True), at(0)).row
    times = schedule.due_times_of(record_of(row))
    one_runs = turn(row, at(0), asked=[asked_start(at(0), SKIP)]).row
    starts = schedule.backfilled(times, at(-1000), at(-1), BUFFER_ALL)
    full = turn(one_runs, at(0), {wid(0): RUNNING}, asked=starts)
    assert len(full.schedule.waiting) == limits.SCHEDULE_WAITING_MAX
    with pytest.raises(LimitExceeded):
        turn(full.row, at(0), {wid(0): RUNNING}, asked=[asked_start(at(1), BUFFER_ALL)])
    going_on = schedule.resume_schedule(full.row, "", at(0))
    dropped = turn(going_on, at(1), {wid(0): RUNNING})
    assert len(dropped.schedule.waiting) == limits.SCHEDULE_WAITING_MAX
