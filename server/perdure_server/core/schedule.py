"""Owns what becomes of a schedule: its creation and changes, and each turn at which it is served.

A turn takes the starts that are wanted (those that wait, the due times that have come, what
somebody asked for) and decides by the overlap policies which workflows are started now, which
starts wait, and which are left out. A workflow's id is made of the schedule's name and the due
time, so a due time that had its workflow never gets another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from perdure.v1.schedule_pb2 import (
    OverlapPolicy,
    Schedule,
    ScheduleSpec,
    StartOutcome,
    WaitingStart,
)
from perdure.v1.schedule_service_pb2 import (
    CreateScheduleRequest,
    ScheduledRun,
    UpdateScheduleRequest,
)
from perdure.v1.workflow_service_pb2 import StartWorkflowRequest
from perdure_server.core.due_times import DueTimes, due_times
from perdure_server.core.errors import InvalidSchedule, LimitExceeded
from perdure_server.core.limits import (
    BACKFILL_MAX,
    CATCHUP_WINDOW_US,
    CATCHUP_WINDOW_US_MIN,
    PRIORITY_DEFAULT,
    SCHEDULE_RUNNING_MAX,
    SCHEDULE_STARTS_MAX,
    SCHEDULE_WAITING_MAX,
    TASK_QUEUE_DEFAULT,
)
from perdure_server.core.model import RunStatus, ScheduleRow
from perdure_server.core.times import from_duration, from_timestamp, to_duration, to_timestamp

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FAILURES: Final = frozenset({RunStatus.FAILED, RunStatus.TIMED_OUT})
_ENDS_OTHERS: Final = frozenset(
    {OverlapPolicy.OVERLAP_POLICY_CANCEL_OTHER, OverlapPolicy.OVERLAP_POLICY_TERMINATE_OTHER}
)
_INSTANTS: Final = (
    "cron_expr",
    "interval",
    "interval_offset",
    "timezone",
    "start_at",
    "end_at",
)
"""The fields of a spec that its due times follow from."""
_PASSED_ON: Final = (
    "input",
    "retry_policy",
    "execution_timeout",
    "run_timeout",
    "memo",
    "search_attributes",
)


def record_of(row: ScheduleRow) -> Schedule:
    """Returns what callers see of a schedule."""
    return Schedule.FromString(row.record)


def due_times_of(schedule: Schedule) -> DueTimes:
    """Returns the due times of a schedule. Raises InvalidSchedule."""
    return due_times(schedule.spec, salt_of(schedule))


def salt_of(schedule: Schedule) -> str:
    """Returns what makes the delays of a schedule its own."""
    return f"{schedule.namespace}\0{schedule.name}"


def workflow_id_of(name: str, due_us: int) -> str:
    """Returns the id of the workflow that a due time starts."""
    due = (_EPOCH + timedelta(microseconds=due_us)).replace(tzinfo=None)
    return f"{name}-{due.isoformat()}Z"


def create_schedule(request: CreateScheduleRequest, now_us: int) -> ScheduleRow:
    """Returns the row of a new schedule. Raises InvalidSchedule."""
    schedule = Schedule(
        namespace=request.namespace,
        name=request.name,
        spec=request.spec,
        paused=request.paused,
        note=request.note,
        created_at=to_timestamp(now_us),
        updated_at=to_timestamp(now_us),
    )
    _fill_defaults(schedule.spec)
    times = due_times_of(schedule)
    if times.next_after(now_us) is None:
        raise _never_comes(schedule.spec)
    _aim(schedule, times, now_us)
    return _row(schedule, now_us)


def update_schedule(row: ScheduleRow, request: UpdateScheduleRequest, now_us: int) -> ScheduleRow:
    """Returns the row with what is given changed. Raises InvalidSchedule."""
    schedule = record_of(row)
    before = _instants(schedule.spec)
    for field in request.clear:
        if field not in ScheduleSpec.DESCRIPTOR.fields_by_name:
            raise InvalidSchedule(f"{field!r} is no field of a schedule", "clear")
        schedule.spec.ClearField(field)
    _merge(schedule.spec, request.spec)
    _fill_defaults(schedule.spec)
    schedule.updated_at.CopyFrom(to_timestamp(now_us))
    times = due_times_of(schedule)
    is_moved = _instants(schedule.spec) != before
    if is_moved and times.next_after(now_us) is None:
        raise _never_comes(schedule.spec)
    if is_moved or not schedule.HasField("next_due_at"):
        _aim(schedule, times, now_us)
    else:
        _aim_at(schedule, times, from_timestamp(schedule.next_due_at))
    return _row(schedule, row.version + 1)


def pause_schedule(row: ScheduleRow, note: str, now_us: int) -> ScheduleRow:
    """Returns the row paused, without the starts that wait and nobody asked for."""
    schedule = record_of(row)
    _pause(schedule, note)
    waiting = [start for start in schedule.waiting if start.manual]
    del schedule.waiting[:]
    schedule.waiting.extend(waiting)
    schedule.updated_at.CopyFrom(to_timestamp(now_us))
    return _row(schedule, row.version + 1)


def resume_schedule(row: ScheduleRow, note: str, now_us: int) -> ScheduleRow:
    """Returns the row as it goes on from the next due time."""
    schedule = record_of(row)
    was_paused = schedule.paused
    schedule.paused = False
    schedule.note = note
    schedule.updated_at.CopyFrom(to_timestamp(now_us))
    if was_paused:
        _aim(schedule, due_times_of(schedule), now_us)
    return _row(schedule, row.version + 1)


def asked_start(due_us: int, policy: OverlapPolicy) -> WaitingStart:
    """Returns a start that somebody asks for."""
    return WaitingStart(due_at=to_timestamp(due_us), overlap_policy=policy, manual=True)


def backfilled(
    times: DueTimes, start_us: int, end_us: int, policy: OverlapPolicy
) -> list[WaitingStart]:
    """Returns the starts of the due times of a span. Raises LimitExceeded."""
    found: list[WaitingStart] = []
    for due_us in times.all_after(start_us - 1):
        if due_us > end_us:
            break
        if len(found) == BACKFILL_MAX:
            raise LimitExceeded(
                f"leaves more than {BACKFILL_MAX} due times, which is the bound", "end_at"
            )
        found.append(asked_start(due_us, policy))
    return found


def preview(schedule: Schedule, times: DueTimes, after_us: int, count: int) -> list[int]:
    """Returns the next instants at which a schedule will start workflows."""
    if schedule.spec.HasField("remaining_runs"):
        count = min(count, schedule.spec.remaining_runs)
    found = zip(times.all_after(after_us), range(count), strict=False)
    return [times.serve_at(due_us) for due_us, _ in found]


class Turn:
    """One serving of a schedule: made, told what has become of workflows, then decided."""

    def __init__(
        self,
        row: ScheduleRow,
        times: DueTimes,
        *,
        now_us: int,
        asked: Sequence[WaitingStart] = (),
    ) -> None:
        self.schedule = record_of(row)
        self.starts: list[int] = []
        """The due times whose workflows are started now."""
        self.outcomes: list[ScheduledRun] = []
        """What became of what was asked, in its order."""
        self.again = False
        """Whether more could be started at once than one commit takes."""
        self.before = row
        self._now_us = now_us
        self._times = times
        self._asked = asked
        self._wanted = [*self.schedule.waiting, *self._come(), *asked]

    @property
    def row(self) -> ScheduleRow:
        """The schedule as the turn leaves it, in its next version."""
        return _row(self.schedule, self.before.version + 1)

    @property
    def changed(self) -> bool:
        """Whether the turn changes anything."""
        return self.schedule != record_of(self.before)

    def workflow_ids(self) -> list[str]:
        """Returns the workflows whose status the decision needs to know."""
        wanted = self._wanted[: 2 * SCHEDULE_STARTS_MAX] + list(self._asked)
        return list(dict.fromkeys([*self.schedule.running, *map(self._id, wanted)]))

    def decide(self, known: Mapping[str, RunStatus]) -> None:
        """Decides on everything that is wanted.

        `known` has the status of each of `workflow_ids` that exists. Raises LimitExceeded when what
        was asked leaves too many starts waiting.
        """
        schedule = self.schedule
        self._learn_ends(known)
        del schedule.waiting[:]
        first_asked = len(self._wanted) - len(self._asked)
        for index, start in enumerate(self._wanted):
            outcome = self._place(start, known, is_looked_up=index < 2 * SCHEDULE_STARTS_MAX)
            if index >= first_asked:
                self._tell(start, outcome)

    def others(self) -> tuple[list[str], bool]:
        """Returns the workflows that have to end for those that wait, and whether by force."""
        policies = {start.overlap_policy for start in self.schedule.waiting} & _ENDS_OTHERS
        by_force = OverlapPolicy.OVERLAP_POLICY_TERMINATE_OTHER in policies
        return (list(self.schedule.running) if policies else []), by_force

    def start_request(self, due_us: int) -> StartWorkflowRequest:
        """Returns the start of the workflow of a due time."""
        spec = self.schedule.spec
        request = StartWorkflowRequest(
            namespace=self.schedule.namespace,
            workflow_id=workflow_id_of(self.schedule.name, due_us),
            workflow_type=spec.workflow_type,
            task_queue=spec.task_queue,
            priority=spec.priority,
            summary=spec.summary,
            details=spec.details,
        )
        for field in _PASSED_ON:
            if spec.HasField(field):
                getattr(request, field).CopyFrom(getattr(spec, field))
        return request

    def _come(self) -> Iterable[WaitingStart]:
        """Takes the due times that have come, a bounded number, and aims at the one after."""
        schedule, times = self.schedule, self._times
        found: list[WaitingStart] = []
        window_us = max(from_duration(schedule.spec.catchup_window), CATCHUP_WINDOW_US_MIN)
        oldest_us = self._now_us - window_us
        while schedule.HasField("next_run_at") and len(found) < SCHEDULE_STARTS_MAX:
            if from_timestamp(schedule.next_run_at) > self._now_us:
                break
            due_us = from_timestamp(schedule.next_due_at)
            if from_timestamp(schedule.next_run_at) < oldest_us:
                _aim(schedule, times, oldest_us - 1)
                continue
            start = WaitingStart(
                due_at=to_timestamp(due_us), overlap_policy=schedule.spec.overlap_policy
            )
            found.append(start)
            _aim(schedule, times, due_us)
        return found

    def _learn_ends(self, known: Mapping[str, RunStatus]) -> None:
        """Forgets the workflows that have ended, and pauses if that is what a failure does."""
        schedule = self.schedule
        statuses = {each: known.get(each) for each in schedule.running}
        _keep_running(schedule, [each for each, status in statuses.items() if _is_open(status)])
        failed = [each for each, status in statuses.items() if status in _FAILURES]
        if failed and schedule.spec.pause_on_failure and not schedule.paused:
            status = statuses[failed[0]]
            _pause(schedule, f"paused because the workflow {failed[0]} ended as {status}")

    def _place(
        self, start: WaitingStart, known: Mapping[str, RunStatus], *, is_looked_up: bool
    ) -> StartOutcome:
        """Starts a workflow, lets the start wait, or leaves it out."""
        schedule = self.schedule
        due_us = from_timestamp(start.due_at)
        if self._id(start) in known or due_us in self.starts:
            return StartOutcome.START_OUTCOME_RAN_BEFORE
        if not start.manual and (schedule.paused or self._is_used_up()):
            return StartOutcome.START_OUTCOME_SKIPPED
        allows_all = start.overlap_policy == OverlapPolicy.OVERLAP_POLICY_ALLOW_ALL
        if not (allows_all or not schedule.running):
            return self._hold(start)
        if len(self.starts) == SCHEDULE_STARTS_MAX or not is_looked_up:
            self.again = True
            return self._wait(start)
        self._start(start, due_us)
        return StartOutcome.START_OUTCOME_STARTED

    def _start(self, start: WaitingStart, due_us: int) -> None:
        schedule = self.schedule
        self.starts.append(due_us)
        schedule.run_count += 1
        schedule.last_run_at.CopyFrom(to_timestamp(self._now_us))
        schedule.last_workflow_id = workflow_id_of(schedule.name, due_us)
        _keep_running(schedule, [*schedule.running, schedule.last_workflow_id])
        if not start.manual and schedule.spec.HasField("remaining_runs"):
            schedule.spec.remaining_runs -= 1
            if self._is_used_up():
                _aim_at(schedule, self._times, None)

    def _hold(self, start: WaitingStart) -> StartOutcome:
        """Does what the policy says about a start while a workflow is open."""
        waiting = self.schedule.waiting
        match start.overlap_policy:
            case OverlapPolicy.OVERLAP_POLICY_BUFFER_ALL:
                return self._wait(start)
            case OverlapPolicy.OVERLAP_POLICY_BUFFER_ONE if not waiting:
                return self._wait(start)
            case policy if policy in _ENDS_OTHERS:
                # The newest takes the place of those that would have ended the others before it.
                kept = [each for each in waiting if each.overlap_policy not in _ENDS_OTHERS]
                del waiting[:]
                waiting.extend(kept)
                return self._wait(start)
            case _:
                return StartOutcome.START_OUTCOME_SKIPPED

    def _wait(self, start: WaitingStart) -> StartOutcome:
        if len(self.schedule.waiting) >= SCHEDULE_WAITING_MAX:
            if start.manual:
                raise LimitExceeded(f"more than {SCHEDULE_WAITING_MAX} starts would wait")
            return StartOutcome.START_OUTCOME_SKIPPED
        self.schedule.waiting.append(start)
        return StartOutcome.START_OUTCOME_WAITS

    def _tell(self, start: WaitingStart, outcome: StartOutcome) -> None:
        self.outcomes.append(
            ScheduledRun(due_at=start.due_at, outcome=outcome, workflow_id=self._id(start))
        )

    def _is_used_up(self) -> bool:
        spec = self.schedule.spec
        return spec.HasField("remaining_runs") and spec.remaining_runs == 0

    def _id(self, start: WaitingStart) -> str:
        return workflow_id_of(self.schedule.name, from_timestamp(start.due_at))


def _fill_defaults(spec: ScheduleSpec) -> None:
    """Sets what the spec leaves open, so that whoever reads it sees what holds."""
    if not spec.HasField("interval") and not spec.HasField("cron_expr"):
        spec.cron_expr = ""
    spec.timezone = spec.timezone or "UTC"
    spec.task_queue = spec.task_queue or TASK_QUEUE_DEFAULT
    spec.priority = spec.priority or PRIORITY_DEFAULT
    spec.overlap_policy = spec.overlap_policy or OverlapPolicy.OVERLAP_POLICY_SKIP
    spec.pause_on_failure = spec.pause_on_failure
    if not spec.HasField("catchup_window"):
        spec.catchup_window.CopyFrom(to_duration(CATCHUP_WINDOW_US))
    if not spec.HasField("jitter"):
        spec.jitter.CopyFrom(to_duration(0))


def _merge(spec: ScheduleSpec, given: ScheduleSpec) -> None:
    """Sets the fields that are given; messages as a whole."""
    if given.HasField("interval") and not given.cron_expr:
        spec.ClearField("cron_expr")
    if given.cron_expr and not given.HasField("interval"):
        spec.ClearField("interval")
        spec.ClearField("interval_offset")
    for field, _ in given.ListFields():
        spec.ClearField(field.name)
    spec.MergeFrom(given)


def _instants(spec: ScheduleSpec) -> ScheduleSpec:
    """Returns the part of a spec that its due times follow from."""
    part = ScheduleSpec()
    part.CopyFrom(spec)
    for field, _ in spec.ListFields():
        if field.name not in _INSTANTS:
            part.ClearField(field.name)
    return part


def _pause(schedule: Schedule, note: str) -> None:
    schedule.paused = True
    schedule.note = note
    schedule.ClearField("next_due_at")
    schedule.ClearField("next_run_at")


def _aim(schedule: Schedule, times: DueTimes, after_us: int) -> None:
    """Makes the first due time after an instant the next one that is served."""
    is_over = schedule.spec.HasField("remaining_runs") and not schedule.spec.remaining_runs
    due_us = None if schedule.paused or is_over else times.next_after(after_us)
    _aim_at(schedule, times, due_us)


def _aim_at(schedule: Schedule, times: DueTimes, due_us: int | None) -> None:
    schedule.ClearField("next_due_at")
    schedule.ClearField("next_run_at")
    if due_us is not None:
        schedule.next_due_at.CopyFrom(to_timestamp(due_us))
        schedule.next_run_at.CopyFrom(to_timestamp(times.serve_at(due_us)))


def _keep_running(schedule: Schedule, workflow_ids: Sequence[str]) -> None:
    del schedule.running[:]
    schedule.running.extend(workflow_ids[-SCHEDULE_RUNNING_MAX:])


def _is_open(status: RunStatus | None) -> bool:
    return status is not None and not status.is_closed


def _never_comes(spec: ScheduleSpec) -> InvalidSchedule:
    field = "interval" if spec.HasField("interval") else "cron_expr"
    return InvalidSchedule("gives no instant that is still to come", field)


def _row(schedule: Schedule, version: int) -> ScheduleRow:
    watches = schedule.spec.pause_on_failure and not schedule.paused and bool(schedule.running)
    has_next = schedule.HasField("next_run_at")
    return ScheduleRow(
        namespace=schedule.namespace,
        name=schedule.name,
        version=version,
        serve_at_us=from_timestamp(schedule.next_run_at) if has_next else None,
        waits=bool(schedule.waiting) or watches,
        record=schedule.SerializeToString(),
    )
