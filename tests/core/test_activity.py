from __future__ import annotations

import pytest

from perdure.v1.activity_pb2 import ActivityOptions
from perdure.v1.failure_pb2 import Failure, FailureKind, TimeoutType
from perdure.v1.payload_pb2 import Header, Payload
from perdure_server.core.activity import FAILURE_ENDINGS, RESULT_ENDINGS, was_accepted
from perdure_server.core.draft import CancelNotice
from perdure_server.core.errors import InvalidCommand, LimitExceeded, PayloadTooLarge, StaleTask
from perdure_server.core.limits import FAILURE_BYTES_MAX, PAYLOAD_BYTES_MAX, SECOND_US
from perdure_server.core.model import DETACHED, TaskKind, TimerKind
from perdure_server.core.retry import resolve_options
from tests.core.life import (
    START_US,
    Life,
    attempts,
    cancel_activity,
    complete,
    options,
    schedule,
    seconds,
)

ACTIVITY = TaskKind.ACTIVITY
QUEUE = TimerKind.ACTIVITY_QUEUE
TOTAL = TimerKind.ACTIVITY_TOTAL
CANCELLED = Failure(message="stopped", kind=FailureKind.FAILURE_KIND_CANCELLED)


def scheduled(**fields: object) -> Life:
    life = Life()
    life.work(schedule(**fields))
    return life


def closed(life: Life) -> bool:
    """Whether nothing of the activity is left."""
    keys = [*life.state.tasks, *life.state.timers]
    return 1 not in life.state.activities and not [key for key in keys if key[1] == 1]


def test_a_schedule_writes_event_row_and_task() -> None:
    headers = [Header(name="trace", value=Payload(data=b"7"))]
    life = scheduled(input=Payload(data=b"5"), headers=headers)
    assert life.kinds[-1] == "activity_scheduled"
    assert list(life.last.headers) == headers
    assert life.last.options == resolve_options(ActivityOptions())
    assert (life.last.task_queue, life.last.priority) == ("default", 3)
    activity, task = life.state.activities[1], life.task(ACTIVITY, 1)
    assert activity.scheduled == life.last.SerializeToString()
    assert (activity.attempt, activity.scheduled_at_us) == (1, START_US)
    assert (task.type, task.queue, task.priority) == ("charge", "default", 3)
    assert task.lease_limit_us == task.start_limit_us == 300 * SECOND_US
    assert not life.state.timers
    assert (TaskKind.WORKFLOW, 0) not in life.state.tasks


def test_a_schedule_may_name_queue_and_priority() -> None:
    task = scheduled(task_queue="gpu", priority=1).task(ACTIVITY, 1)
    assert (task.queue, task.priority) == ("gpu", 1)


def test_timeouts_become_limits_and_timers() -> None:
    life = scheduled(
        options=options(start_to_close=50, heartbeat=5, schedule_to_start=7, schedule_to_close=90)
    )
    task = life.task(ACTIVITY, 1)
    assert (task.lease_limit_us, task.start_limit_us) == (5 * SECOND_US, 50 * SECOND_US)
    assert life.state.timers[QUEUE, 1].due_at_us == START_US + 7 * SECOND_US
    assert life.state.timers[TOTAL, 1].due_at_us == START_US + 90 * SECOND_US


def test_a_repeated_schedule_writes_nothing() -> None:
    life = scheduled()
    life.signal()
    life.work(schedule(), schedule(2), schedule(2))
    assert life.kinds.count("activity_scheduled") == 2


@pytest.mark.parametrize("seq", [-1, 0, 3])
def test_a_gap_in_the_numbers_is_refused(seq: int) -> None:
    life = Life()
    token = life.lease(TaskKind.WORKFLOW)
    with pytest.raises(InvalidCommand, match=r"command 1: schedule_activity\.seq: is") as caught:
        life.report(token, schedule(), schedule(seq))
    assert caught.value.index == 1
    assert life.kinds == ["workflow_started"]


def test_a_result_closes_the_activity() -> None:
    life = scheduled(options=options(schedule_to_start=7, schedule_to_close=90))
    life.complete(life.lease(ACTIVITY, 1), Payload(data=b"7"))
    assert life.kinds[-1] == "activity_completed"
    assert (life.last.result.data, life.last.attempt, life.last.lease) == (b"7", 1, 1)
    assert closed(life)
    assert life.task().ready_at_us == START_US


def test_a_result_that_is_too_large_changes_nothing() -> None:
    life = scheduled()
    token = life.lease(ACTIVITY, 1)
    with pytest.raises(PayloadTooLarge, match="2097153 bytes; the bound is 2097152"):
        life.complete(token, Payload(data=b"x" * (PAYLOAD_BYTES_MAX + 1)))
    life.complete(token)
    assert closed(life)


def test_an_accepted_report_sent_again_changes_nothing() -> None:
    life = scheduled()
    token = life.lease(ACTIVITY, 1)
    life.complete(token)
    version, length = life.run.version, len(life.rows)
    life.complete(token)
    assert (life.run.version, len(life.rows)) == (version, length)


def test_another_report_on_an_accepted_lease_is_stale() -> None:
    life = scheduled()
    token = life.lease(ACTIVITY, 1)
    life.fail(token)
    life.fail(token)
    with pytest.raises(StaleTask):
        life.complete(token)
    life.wait(10)
    second = life.lease(ACTIVITY, 1)
    life.complete(second)
    with pytest.raises(StaleTask):
        life.fail(second)


def test_history_shows_whose_report_was_accepted() -> None:
    life = scheduled()
    token = life.lease(ACTIVITY, 1)
    assert not was_accepted(life.rows, token, RESULT_ENDINGS)
    life.complete(token)
    assert was_accepted(life.rows, token, RESULT_ENDINGS)
    assert not was_accepted(life.rows, token, FAILURE_ENDINGS)
    # The workflow has seen the event, so only the stored history still knows.
    life.work(schedule(2))
    other = life.lease(ACTIVITY, 2)
    assert not was_accepted(life.rows, other, RESULT_ENDINGS)
    with pytest.raises(StaleTask):
        life.complete(token)


def test_a_failed_attempt_waits_for_its_back_off() -> None:
    life = scheduled(options=options(schedule_to_start=7))
    token = life.lease(ACTIVITY, 1)
    life.wait(3)
    life.fail(token)
    task, activity = life.task(ACTIVITY, 1), life.state.activities[1]
    assert (task.attempt, activity.attempt) == (2, 2)
    assert (task.session_id, task.worker_identity) == (None, "")
    assert (task.leased_at_us, task.lease_until_us) == (None, None)
    assert (task.lease, task.ready_at_us) == (1, life.now_us + SECOND_US)
    assert Failure.FromString(activity.last_failure).type == "ValueError"
    assert life.kinds[-1] == "activity_scheduled"
    assert life.state.timers[QUEUE, 1].due_at_us == task.ready_at_us + 7 * SECOND_US
    assert (TaskKind.WORKFLOW, 0) not in life.state.tasks


def test_a_failure_sent_again_changes_nothing() -> None:
    life = scheduled()
    token = life.lease(ACTIVITY, 1)
    life.fail(token)
    version = life.run.version
    life.fail(token)
    assert life.run.version == version
    life.wait(1)
    life.lease(ACTIVITY, 1)
    life.fail(token)
    assert life.state.activities[1].attempt == 2


def test_the_last_attempt_fails_the_activity() -> None:
    life = scheduled(options=options(retry=attempts(2)))
    life.fail(life.lease(ACTIVITY, 1))
    life.wait(1)
    life.fail(life.lease(ACTIVITY, 1))
    assert life.kinds[-1] == "activity_failed"
    assert (life.last.attempt, life.last.lease, life.last.failure.message) == (2, 2, "no")
    assert closed(life)


def test_a_failure_that_is_too_large_changes_nothing() -> None:
    life = scheduled()
    with pytest.raises(LimitExceeded):
        life.fail(life.lease(ACTIVITY, 1), Failure(message="x" * (FAILURE_BYTES_MAX + 1)))


def test_no_attempt_begins_after_schedule_to_close() -> None:
    life = scheduled(options=options(schedule_to_close=10))
    token = life.lease(ACTIVITY, 1)
    life.wait(9)
    life.fail(token)
    assert life.kinds[-1] == "activity_failed"
    assert closed(life)


def test_an_attempt_begins_before_schedule_to_close() -> None:
    life = scheduled(options=options(schedule_to_close=10))
    token = life.lease(ACTIVITY, 1)
    life.wait(8)
    life.fail(token)
    assert life.state.activities[1].attempt == 2


def test_a_worker_may_claim_a_timeout_as_its_own_failure() -> None:
    life = scheduled(options=options(retry=attempts(1)))
    life.fail(life.lease(ACTIVITY, 1), Failure(kind=FailureKind.FAILURE_KIND_TIMEOUT))
    assert life.kinds[-1] == "activity_failed"


def test_a_waiting_activity_is_cancelled_at_once() -> None:
    life = scheduled(options=options(schedule_to_start=7))
    life.signal()
    life.work(cancel_activity())
    assert life.kinds[-2:] == ["activity_cancel_requested", "activity_cancelled"]
    assert life.last.lease == 0
    assert closed(life)
    assert not life.draft.notices
    # A claim that came between must make the commit fail.
    assert life.draft.fences[ACTIVITY, 1].lease == 0


def test_an_activity_may_be_cancelled_in_the_batch_that_schedules_it() -> None:
    life = Life()
    life.work(schedule(), cancel_activity(), cancel_activity())
    assert life.kinds[1:] == [
        "activity_scheduled",
        "activity_cancel_requested",
        "activity_cancelled",
    ]
    assert list(life.draft.fences) == [(TaskKind.WORKFLOW, 0)]


def test_the_holder_of_an_activity_is_told() -> None:
    life = scheduled()
    token = life.lease(ACTIVITY, 1)
    life.signal()
    life.work(cancel_activity(), cancel_activity())
    assert life.kinds[-1] == "activity_cancel_requested"
    assert life.draft.notices == [CancelNotice(ACTIVITY, 1, 1, 1, "s-1", "CANCEL_REQUESTED")]
    assert life.heartbeat(token)
    life.fail(token, CANCELLED)
    assert life.kinds[-1] == "activity_cancelled"
    assert life.last.lease == 1


def cancelling(**fields: object) -> tuple[Life, object]:
    life = scheduled(**fields)
    token = life.lease(ACTIVITY, 1)
    life.signal()
    life.work(cancel_activity())
    return life, token


def test_a_cancelled_activity_may_still_complete() -> None:
    life, token = cancelling()
    life.complete(token)
    assert life.kinds[-1] == "activity_completed"


def test_a_cancelled_activity_is_not_tried_again() -> None:
    life, token = cancelling()
    life.fail(token)
    assert life.kinds[-1] == "activity_cancelled"


def test_a_cancelled_activity_may_fail_for_good() -> None:
    life, token = cancelling()
    life.fail(token, Failure(non_retryable=True))
    assert life.kinds[-1] == "activity_failed"


def test_a_cancelled_activity_may_time_out() -> None:
    life, token = cancelling(options=options(start_to_close=5, retry=attempts(1)))
    life.wait(5)
    life.expire(token)
    assert life.kinds[-1] == "activity_timed_out"


def test_a_repeated_cancellation_writes_nothing() -> None:
    life, _ = cancelling()
    life.signal()
    life.work(cancel_activity())
    assert life.kinds.count("activity_cancel_requested") == 1


def test_an_unasked_cancellation_is_a_failure() -> None:
    life = scheduled()
    life.fail(life.lease(ACTIVITY, 1), CANCELLED)
    assert life.state.activities[1].attempt == 2


def test_a_moot_cancellation_writes_its_event_once_per_batch() -> None:
    life = scheduled()
    life.complete(life.lease(ACTIVITY, 1))
    life.work(cancel_activity(), cancel_activity())
    assert life.kinds[-2:] == ["activity_completed", "activity_cancel_requested"]


@pytest.mark.parametrize("seq", [0, 2])
def test_an_unknown_activity_cannot_be_cancelled(seq: int) -> None:
    life = scheduled()
    life.signal()
    with pytest.raises(InvalidCommand, match=r"cancel_activity\.seq"):
        life.work(cancel_activity(seq))


def test_a_lost_worker_costs_an_attempt() -> None:
    life = scheduled()
    life.lose(life.lease(ACTIVITY, 1))
    failure = Failure.FromString(life.state.activities[1].last_failure)
    assert failure.kind == FailureKind.FAILURE_KIND_WORKER_LOST
    assert failure.message == "the worker ann was lost"
    assert life.task(ACTIVITY, 1).attempt == 2


def test_a_worker_lost_at_last_fails_the_activity() -> None:
    life = scheduled(options=options(retry=attempts(1)))
    life.lose(life.lease(ACTIVITY, 1))
    assert life.kinds[-1] == "activity_failed"
    assert life.last.lease == 0


def test_a_task_that_never_left_costs_nothing() -> None:
    life = scheduled(options=options(schedule_to_start=7))
    token = life.lease(ACTIVITY, 1)
    life.wait(3)
    life.lose(token, delivered=False)
    task = life.task(ACTIVITY, 1)
    assert (task.attempt, task.session_id, task.ready_at_us) == (1, None, life.now_us)
    assert life.state.timers[QUEUE, 1].due_at_us == life.now_us + 7 * SECOND_US


@pytest.mark.parametrize(
    ("timeouts", "wait_s", "timeout"),
    [
        ({"start_to_close": 5}, 5, TimeoutType.TIMEOUT_TYPE_START_TO_CLOSE),
        ({"start_to_close": 9, "heartbeat": 5}, 5, TimeoutType.TIMEOUT_TYPE_HEARTBEAT),
        ({"start_to_close": 5, "heartbeat": 5}, 5, TimeoutType.TIMEOUT_TYPE_START_TO_CLOSE),
    ],
)
def test_a_lease_that_runs_out_is_a_timeout(
    timeouts: dict[str, float], wait_s: float, timeout: TimeoutType
) -> None:
    life = scheduled(options=options(retry=attempts(2), **timeouts))
    for attempt in (1, 2):
        token = life.lease(ACTIVITY, 1)
        life.wait(wait_s - 1)
        life.expire(token)
        assert life.state.activities[1].attempt == attempt
        life.wait(1)
        life.expire(token)
        assert life.draft.notices[0].reason == "LEASE_LOST"
        life.wait(1)
    assert life.kinds[-1] == "activity_timed_out"
    assert life.last.failure.timeout_type == timeout
    assert life.last.failure.cause.timeout_type == timeout
    assert (life.last.attempt, closed(life)) == (2, True)


def test_a_heartbeat_extends_the_lease_to_start_to_close() -> None:
    life = scheduled(options=options(start_to_close=9, heartbeat=5))
    token = life.lease(ACTIVITY, 1)
    life.wait(3)
    assert not life.heartbeat(token, Payload(data=b"50"))
    assert life.task(ACTIVITY, 1).lease_until_us == START_US + 8 * SECOND_US
    life.wait(5)
    life.heartbeat(token)
    assert life.task(ACTIVITY, 1).lease_until_us == START_US + 9 * SECOND_US
    activity = life.state.activities[1]
    assert Payload.FromString(activity.heartbeat_details).data == b"50"
    assert activity.heartbeat_at_us == life.now_us
    assert life.kinds[-1] == "activity_scheduled"


def test_a_heartbeat_without_timeout_leaves_the_lease() -> None:
    life = scheduled()
    token = life.lease(ACTIVITY, 1)
    life.wait(3)
    life.heartbeat(token)
    assert life.task(ACTIVITY, 1).lease_until_us == START_US + 300 * SECOND_US
    assert not life.draft.change().put_tasks


def test_details_survive_a_retry() -> None:
    life = scheduled()
    token = life.lease(ACTIVITY, 1)
    life.heartbeat(token, Payload(data=b"50"))
    life.fail(token)
    assert Payload.FromString(life.state.activities[1].heartbeat_details).data == b"50"


def test_a_stale_heartbeat_is_refused() -> None:
    life = scheduled()
    token = life.lease(ACTIVITY, 1)
    life.fail(token)
    with pytest.raises(StaleTask):
        life.heartbeat(token)


def test_details_that_are_too_large_are_refused() -> None:
    life = scheduled()
    with pytest.raises(PayloadTooLarge):
        life.heartbeat(life.lease(ACTIVITY, 1), Payload(data=b"x" * (PAYLOAD_BYTES_MAX + 1)))


def test_nobody_takes_the_activity_in_time() -> None:
    life = scheduled(options=options(schedule_to_start=7))
    life.wait(7)
    life.ring(QUEUE, 1)
    assert life.kinds[-1] == "activity_timed_out"
    assert life.last.failure.timeout_type == TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_START
    assert closed(life)
    assert life.draft.fences[ACTIVITY, 1].lease == 0


def test_the_wait_of_a_taken_activity_is_over() -> None:
    life = scheduled(options=options(schedule_to_start=7))
    life.lease(ACTIVITY, 1)
    life.wait(7)
    life.ring(QUEUE, 1)
    assert life.kinds[-1] == "activity_scheduled"
    assert not life.state.timers


def test_all_attempts_together_take_too_long() -> None:
    life = scheduled(options=options(schedule_to_close=7))
    life.fail(life.lease(ACTIVITY, 1))
    life.wait(1)
    life.lease(ACTIVITY, 1)
    life.wait(6)
    life.ring(TOTAL, 1)
    assert life.kinds[-1] == "activity_timed_out"
    assert life.last.failure.timeout_type == TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_CLOSE
    assert life.last.failure.cause.type == "ValueError"
    assert life.draft.notices[0].reason == "LEASE_LOST"
    assert closed(life)


def test_a_detached_attempt_belongs_to_no_session() -> None:
    life = scheduled(options=options(start_to_close=5))
    token = life.lease(ACTIVITY, 1)
    for _ in range(2):
        life.detach(token)
        assert life.task(ACTIVITY, 1).session_id == DETACHED
    life.signal()
    life.work(cancel_activity())
    assert not life.draft.notices
    assert life.kinds[-1] == "activity_cancel_requested"
    life.complete(token)
    assert closed(life)
    with pytest.raises(StaleTask):
        life.detach(token)


def test_a_detached_attempt_times_out() -> None:
    life = scheduled(options=options(start_to_close=5, retry=attempts(1)))
    token = life.lease(ACTIVITY, 1)
    life.detach(token)
    life.wait(5)
    life.expire(token)
    assert life.kinds[-1] == "activity_timed_out"


@pytest.mark.parametrize("field", ["name", "task_queue", "priority", "input", "options"])
def test_a_malformed_schedule_names_its_field(field: str) -> None:
    bad = {
        "name": "",
        "task_queue": "a\nb",
        "priority": 6,
        "input": Payload(data=b"x" * (PAYLOAD_BYTES_MAX + 1)),
        "options": ActivityOptions(heartbeat_timeout=seconds(0)),
    }
    bad["options"].heartbeat_timeout.seconds = -1
    life = Life()
    token = life.lease(TaskKind.WORKFLOW)
    with pytest.raises(InvalidCommand, match=rf"^command 0: schedule_activity\.{field}"):
        life.report(token, schedule(**{field: bad[field]}))
    life.report(token, complete())
    assert life.run.status.is_closed
