"""Owns the use cases of ScheduleService."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

from google.protobuf.message import Message

from perdure.v1 import schedule_service_pb2 as pb
from perdure.v1.schedule_pb2 import OverlapPolicy, Schedule, StartOutcome, WaitingStart
from perdure_server.core import limits, schedule
from perdure_server.core.changeset import ScheduleChange
from perdure_server.core.errors import (
    InvalidSchedule,
    RequestRecorded,
    RunContended,
    ScheduleAlreadyExists,
    ScheduleNotFound,
    StaleVersion,
    WorkflowAlreadyExists,
)
from perdure_server.core.model import RequestRecord, ScheduleRow
from perdure_server.core.schedule import Turn, record_of
from perdure_server.core.times import from_timestamp, to_timestamp
from perdure_server.engine.pages import name_before, token_after
from perdure_server.engine.ports import Clock
from perdure_server.engine.requests import (
    RequestKey,
    in_namespace,
    recorded_answer,
    resource_key,
)
from perdure_server.engine.scheduler import Latest, Scheduler, statuses_of
from perdure_server.store.contract import Store

M = TypeVar("M", bound=Message)

_PAGES: Final = "schedules"

Ask = Callable[[ScheduleRow, int], list[WaitingStart]]
"""What somebody asks of a schedule as it stands, at the how-manieth attempt."""


Attempt = Callable[[ScheduleRow, int, RequestKey | None], Awaitable[Any]]
"""What a request does to a schedule, at the how-manieth attempt; with its key, if it has one."""


class Schedules:
    """The use cases of ScheduleService."""

    def __init__(self, store: Store, scheduler: Scheduler, *, clock: Clock) -> None:
        self._store = store
        self._scheduler = scheduler
        self._clock = clock

    async def create(self, request: pb.CreateScheduleRequest) -> pb.CreateScheduleResponse:
        """Creates a schedule. Raises ScheduleAlreadyExists, InvalidSchedule and RequestIdReused."""
        in_namespace(request)
        key = resource_key("CreateSchedule", request)
        try:
            row = schedule.create_schedule(request, self._clock.now_us())
        except InvalidSchedule:
            # What comes again may have been valid when it came first.
            if key is None or (known := await recorded_answer(self._store, key)) is None:
                raise
            return pb.CreateScheduleResponse.FromString(known)
        response = pb.CreateScheduleResponse(schedule=record_of(row))
        records = self._records(key, response)
        try:
            await self._scheduler.commit_row(ScheduleChange(row, 0), records)
        except RequestRecorded:
            return await self._recorded(key, pb.CreateScheduleResponse)
        except StaleVersion:
            raise ScheduleAlreadyExists(
                f"the schedule {request.name!r} exists already; change it, or choose another name"
            ) from None
        return response

    async def list(self, request: pb.ListSchedulesRequest) -> pb.ListSchedulesResponse:
        """Lists the schedules of a namespace by name. Raises InvalidPageToken."""
        in_namespace(request)
        size = request.page_size or limits.PAGE_SIZE_DEFAULT
        after = name_before(_PAGES, request.page_token)
        found = await self._store.list_schedules(request.namespace, after=after, limit=size + 1)
        shown = [record_of(row) for row in found[:size]]
        await self._leave_open(shown)
        return pb.ListSchedulesResponse(
            schedules=shown,
            next_page_token=token_after(_PAGES, found[size - 1].name) if len(found) > size else "",
        )

    async def get(self, request: pb.GetScheduleRequest) -> pb.GetScheduleResponse:
        """Returns a schedule. Raises ScheduleNotFound."""
        return pb.GetScheduleResponse(schedule=await self._shown(await self._load(request)))

    async def update(self, request: pb.UpdateScheduleRequest) -> pb.UpdateScheduleResponse:
        """Changes a schedule. Raises ScheduleNotFound, InvalidSchedule and RequestIdReused."""

        def change(row: ScheduleRow) -> ScheduleRow:
            return schedule.update_schedule(row, request, self._clock.now_us())

        return await self._changed(request, change, pb.UpdateScheduleResponse)

    async def delete(self, request: pb.DeleteScheduleRequest) -> pb.DeleteScheduleResponse:
        """Deletes a schedule. Raises ScheduleNotFound and RequestIdReused."""

        async def attempt(
            row: ScheduleRow, _attempt: int, key: RequestKey | None
        ) -> pb.DeleteScheduleResponse:
            response = pb.DeleteScheduleResponse()
            change = ScheduleChange(row, row.version, deletes=True)
            await self._scheduler.commit_row(change, self._records(key, response))
            return response

        return await self._once(request, attempt, pb.DeleteScheduleResponse)

    async def pause(self, request: pb.PauseScheduleRequest) -> pb.PauseScheduleResponse:
        """Pauses a schedule. Raises ScheduleNotFound and RequestIdReused."""

        def change(row: ScheduleRow) -> ScheduleRow:
            return schedule.pause_schedule(row, request.note, self._clock.now_us())

        return await self._changed(request, change, pb.PauseScheduleResponse)

    async def resume(self, request: pb.ResumeScheduleRequest) -> pb.ResumeScheduleResponse:
        """Resumes a schedule. Raises ScheduleNotFound and RequestIdReused."""

        def change(row: ScheduleRow) -> ScheduleRow:
            return schedule.resume_schedule(row, request.note, self._clock.now_us())

        return await self._changed(request, change, pb.ResumeScheduleResponse)

    async def trigger(self, request: pb.TriggerScheduleRequest) -> pb.TriggerScheduleResponse:
        """Starts a workflow now. Raises ScheduleNotFound, RequestIdReused and LimitExceeded."""

        def ask(row: ScheduleRow, attempt: int) -> list[WaitingStart]:
            policy = request.overlap_policy or record_of(row).spec.overlap_policy
            # Of two at one microsecond, one comes later.
            return [schedule.asked_start(self._clock.now_us() + attempt, policy)]

        def answer(turn: Turn) -> pb.TriggerScheduleResponse:
            if turn.outcomes[0].outcome == StartOutcome.START_OUTCOME_RAN_BEFORE:
                raise StaleVersion("this instant had its workflow; the next attempt takes another")
            return pb.TriggerScheduleResponse(run=turn.outcomes[0])

        return await self._asked(request, ask, answer, pb.TriggerScheduleResponse)

    async def backfill(self, request: pb.BackfillScheduleRequest) -> pb.BackfillScheduleResponse:
        """Starts the workflows of due times that have passed.

        Raises ScheduleNotFound, RequestIdReused and LimitExceeded.
        """
        start_us, end_us = from_timestamp(request.start_at), from_timestamp(request.end_at)
        policy = request.overlap_policy or OverlapPolicy.OVERLAP_POLICY_ALLOW_ALL

        def ask(row: ScheduleRow, _attempt: int) -> list[WaitingStart]:
            times = self._scheduler.calendar.due_times_of(record_of(row))
            return schedule.backfilled(times, start_us, end_us, policy)

        def answer(turn: Turn) -> pb.BackfillScheduleResponse:
            return pb.BackfillScheduleResponse(runs=turn.outcomes)

        return await self._asked(request, ask, answer, pb.BackfillScheduleResponse)

    async def preview(self, request: pb.PreviewScheduleRequest) -> pb.PreviewScheduleResponse:
        """Returns the next instants. Raises ScheduleNotFound."""
        record = record_of(await self._load(request))
        after_us = self._clock.now_us()
        if request.HasField("after"):
            after_us = from_timestamp(request.after)
        times = self._scheduler.calendar.due_times_of(record)
        count = request.count or limits.PREVIEW_DEFAULT
        found = schedule.preview(record, times, after_us, count)
        return pb.PreviewScheduleResponse(times=map(to_timestamp, found))

    async def _changed(
        self, request: Any, change: Callable[[ScheduleRow], ScheduleRow], kind: type[M]
    ) -> M:
        """Changes a schedule; the response, of `kind`, shows it."""

        async def attempt(row: ScheduleRow, _attempt: int, key: RequestKey | None) -> M:
            changed = change(row)
            response = kind(schedule=await self._shown(changed))
            await self._scheduler.commit_row(
                ScheduleChange(changed, row.version), self._records(key, response)
            )
            return response

        return await self._once(request, attempt, kind)

    async def _asked(self, request: Any, ask: Ask, answer: Callable[[Turn], M], kind: type[M]) -> M:
        """Takes a turn in which somebody asks for starts."""

        async def attempt(row: ScheduleRow, number: int, key: RequestKey | None) -> M:
            turn = self._scheduler.turn(row, asked=ask(row, number))
            latest = await self._scheduler.latest([turn])
            turn.decide(statuses_of(turn, latest))
            return await self._take(turn, latest, answer, key=key)

        return await self._once(request, attempt, kind)

    async def _take(
        self, turn: Turn, latest: Latest, answer: Callable[[Turn], M], *, key: RequestKey | None
    ) -> M:
        drafts = self._scheduler.drafts(turn)
        run_ids = {each.run.workflow_id: each.run.run_id for each in drafts}
        for run in turn.outcomes:
            if run.outcome == StartOutcome.START_OUTCOME_STARTED:
                run.run_id = run_ids[run.workflow_id]
        response = answer(turn)
        records = self._records(key, response)
        if turn.changed or records:
            await self._scheduler.commit_turn(turn, latest, drafts, records)
        return response

    async def _once(self, request: Any, attempt: Attempt, kind: type[M]) -> M:
        """Decides on the schedule as it stands, again while others change it meanwhile.

        A request that was answered is answered the same, also when the schedule is gone.
        """
        in_namespace(request)
        key = resource_key(request.DESCRIPTOR.name.removesuffix("Request"), request)
        for number in range(limits.STALE_RETRIES_MAX):
            row = await self._find(request)
            if key is not None and (known := await recorded_answer(self._store, key)) is not None:
                return kind.FromString(known)
            if row is None:
                raise _missing(request)
            try:
                answer: M = await attempt(row, number, key)
            except (StaleVersion, WorkflowAlreadyExists, RequestRecorded):
                continue
            return answer
        raise RunContended(f"the schedule {request.name!r} changes too often now; try again")

    def _records(self, key: RequestKey | None, response: Message) -> Sequence[RequestRecord]:
        return [key.record(response, self._clock.now_us())] if key else []

    async def _load(self, request: Any) -> ScheduleRow:
        in_namespace(request)
        row = await self._find(request)
        if row is None:
            raise _missing(request)
        return row

    async def _find(self, request: Any) -> ScheduleRow | None:
        found = await self._store.load_schedules([(request.namespace, request.name)])
        return found[0] if found else None

    async def _shown(self, row: ScheduleRow) -> Schedule:
        record = record_of(row)
        await self._leave_open([record])
        return record

    async def _leave_open(self, records: Sequence[Schedule]) -> None:
        """Leaves of the workflows that schedules know of those that are open now."""
        known = [(each.namespace, workflow) for each in records for workflow in each.running]
        latest = await self._store.latest_runs(known) if known else {}
        for record in records:
            stands = [(each, latest.get((record.namespace, each))) for each in record.running]
            del record.running[:]
            record.running.extend(
                each for each, run in stands if run is not None and not run.status.is_closed
            )

    async def _recorded(self, key: RequestKey | None, kind: type[M]) -> M:
        answer = await recorded_answer(self._store, key) if key else None
        if answer is None:
            raise RunContended("the request was answered and deleted meanwhile; try again")
        return kind.FromString(answer)


def _missing(request: Any) -> ScheduleNotFound:
    return ScheduleNotFound(
        f"there is no schedule {request.name!r} in namespace {request.namespace!r}"
    )
