"""Owns what applications hold of a schedule: workflows that are started by the clock."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    Literal,
    Protocol,
    Self,
    TypedDict,
    TypeVar,
    Unpack,
)
from uuid import uuid4

from google.protobuf.timestamp_pb2 import Timestamp

from perdure._options import RetryPolicy, policy_name, require_types
from perdure._search import SearchAttributes, to_search_attributes
from perdure._times import to_duration
from perdure._workflow import Workflow, workflow_of
from perdure.interceptors import ClientCall
from perdure.v1 import schedule_pb2
from perdure.v1 import schedule_service_pb2 as pb

if TYPE_CHECKING:
    from perdure._connection import Connection
    from perdure.converter import Converter

OverlapPolicy = Literal[
    "skip", "buffer_one", "buffer_all", "cancel_other", "terminate_other", "allow_all"
]
StartOutcome = Literal["STARTED", "WAITS", "SKIPPED", "RAN_BEFORE"]

T = TypeVar("T")

_PAGE_SIZE: Final = 100
_OUTCOMES: Final = "START_OUTCOME_"
_POLICIES: Final = "OVERLAP_POLICY_"


class ScheduleOptions(TypedDict, total=False):
    """When a schedule starts workflows, and how; every word may be left out but one of two.

    The instants come from `cron` in `timezone`, or from `every`, moved by `offset`. `overlap` says
    what happens while a workflow of the schedule is open. `jitter` spreads the starts, `catchup`
    bounds how late one may be. `remaining_runs` counts down to the end. `search_attributes` are
    what each workflow is found by; `memo`, `summary` and `details` are for those who look at it.
    """

    cron: str
    timezone: str
    every: timedelta
    offset: timedelta
    task_queue: str
    overlap: OverlapPolicy
    catchup: timedelta
    jitter: timedelta
    start_at: datetime
    end_at: datetime
    remaining_runs: int
    pause_on_failure: bool
    retry: RetryPolicy
    execution_timeout: timedelta
    run_timeout: timedelta
    priority: int
    search_attributes: SearchAttributes
    memo: Any
    summary: str
    details: str


@dataclass(frozen=True, slots=True)
class ScheduledRun:
    """What became of a start that was asked for; `run_id` is empty unless it started now."""

    due_at: datetime
    outcome: StartOutcome
    workflow_id: str
    run_id: str


@dataclass(frozen=True, slots=True)
class ScheduleDescription:
    """A schedule as it stood when it was asked for. Instants are in UTC.

    `running` names its workflows that are open, `waiting` counts the starts that wait for one to
    end. `message` is everything that the server told.
    """

    name: str
    workflow_type: str
    cron: str
    every: timedelta | None
    timezone: str
    overlap: OverlapPolicy
    paused: bool
    note: str
    next_run_at: datetime | None
    last_run_at: datetime | None
    last_workflow_id: str
    run_count: int
    remaining_runs: int | None
    running: tuple[str, ...]
    waiting: int
    created_at: datetime
    message: schedule_pb2.Schedule = field(repr=False)

    @classmethod
    def of(cls, message: schedule_pb2.Schedule) -> Self:
        """Makes the description that a message holds."""
        spec = message.spec
        name = schedule_pb2.OverlapPolicy.Name(spec.overlap_policy)
        overlap: Any = name.removeprefix(_POLICIES).lower()
        return cls(
            name=message.name,
            workflow_type=spec.workflow_type,
            cron=spec.cron_expr,
            every=spec.interval.ToTimedelta() if spec.HasField("interval") else None,
            timezone=spec.timezone,
            overlap=overlap,
            paused=message.paused,
            note=message.note,
            next_run_at=_optional(message, "next_run_at"),
            last_run_at=_optional(message, "last_run_at"),
            last_workflow_id=message.last_workflow_id,
            run_count=message.run_count,
            remaining_runs=spec.remaining_runs if spec.HasField("remaining_runs") else None,
            running=tuple(message.running),
            waiting=len(message.waiting),
            created_at=_instant(message.created_at),
            message=message,
        )


class ScheduleHandle:
    """One schedule, by its name. Making one asks nothing of the server.

    Each call raises ScheduleNotFoundError when there is no such schedule.
    """

    def __init__(self, connection: Connection, name: str) -> None:
        self.name = name
        self._connection = connection

    def __repr__(self) -> str:
        return f"ScheduleHandle({self.name!r})"

    async def describe(self) -> ScheduleDescription:
        """Asks how the schedule stands."""
        request = pb.GetScheduleRequest(namespace=self._connection.namespace, name=self.name)
        return await self._made("describe_schedule", "GetSchedule", request, _described)

    async def update(
        self, *, clear: Sequence[str] = (), **options: Unpack[ScheduleOptions]
    ) -> ScheduleDescription:
        """Changes what is given. `clear` names fields that are to have their default again.

        Those are the names of the contract, as `end_at`. Raises InvalidScheduleError.
        """
        request = pb.UpdateScheduleRequest(
            namespace=self._connection.namespace,
            name=self.name,
            spec=spec_of(options, self._connection.converter),
            clear=clear,
            request_id=uuid4().hex,
        )
        return await self._made("update_schedule", "UpdateSchedule", request, _described)

    async def pause(self, note: str = "") -> ScheduleDescription:
        """Lets instants pass without a start."""
        request = pb.PauseScheduleRequest(
            namespace=self._connection.namespace,
            name=self.name,
            note=note,
            request_id=uuid4().hex,
        )
        return await self._made("pause_schedule", "PauseSchedule", request, _described)

    async def resume(self, note: str = "") -> ScheduleDescription:
        """Starts workflows again from the next instant on."""
        request = pb.ResumeScheduleRequest(
            namespace=self._connection.namespace,
            name=self.name,
            note=note,
            request_id=uuid4().hex,
        )
        return await self._made("resume_schedule", "ResumeSchedule", request, _described)

    async def trigger(self, *, overlap: OverlapPolicy | None = None) -> ScheduledRun:
        """Starts a workflow now, as `overlap` or the schedule's own policy says."""
        request = pb.TriggerScheduleRequest(
            namespace=self._connection.namespace,
            name=self.name,
            overlap_policy=_policy(overlap),
            request_id=uuid4().hex,
        )
        return await self._made("trigger_schedule", "TriggerSchedule", request, _only_run)

    async def backfill(
        self, start_at: datetime, end_at: datetime, *, overlap: OverlapPolicy = "allow_all"
    ) -> list[ScheduledRun]:
        """Starts the workflow of each due time of a span that has not had its own."""
        request = pb.BackfillScheduleRequest(
            namespace=self._connection.namespace,
            name=self.name,
            start_at=_timestamp(start_at),
            end_at=_timestamp(end_at),
            overlap_policy=_policy(overlap),
            request_id=uuid4().hex,
        )
        return await self._made("backfill_schedule", "BackfillSchedule", request, _runs)

    async def preview(self, count: int = 10, *, after: datetime | None = None) -> list[datetime]:
        """Returns the next instants, as if the schedule were not paused."""
        request = pb.PreviewScheduleRequest(
            namespace=self._connection.namespace,
            name=self.name,
            count=count,
            after=_timestamp(after),
        )
        return await self._made("preview_schedule", "PreviewSchedule", request, _instants)

    async def delete(self) -> None:
        """Deletes the schedule; workflows that it started go on."""
        request = pb.DeleteScheduleRequest(
            namespace=self._connection.namespace, name=self.name, request_id=uuid4().hex
        )
        await self._made("delete_schedule", "DeleteSchedule", request, lambda _: None)

    async def _made(self, operation: str, rpc: str, request: Any, read: Callable[[Any], T]) -> T:
        """Sends a request through the interceptors and returns what `read` makes of the answer."""
        call = ClientCall(operation=operation, workflow_id="", name=self.name, request=request)
        return await self._connection.made(call, f"ScheduleService/{rpc}", read)


class Connected(Protocol):
    """Has a connection."""

    @property
    def connection(self) -> Connection:
        """Carries calls to the server."""
        ...


class ScheduleCalls:
    """The part of a client that concerns schedules."""

    async def create_schedule(
        self: Connected,
        name: str,
        workflow: Workflow[Any, Any] | type[Any] | str,
        /,
        *value: Any,
        paused: bool = False,
        note: str = "",
        **options: Unpack[ScheduleOptions],
    ) -> ScheduleHandle:
        """Creates a schedule that starts `workflow` with `value`; its first instant is the next.

        It is durable when the call returns. `task_queue` is by default what it is in `start`.
        Raises ScheduleAlreadyExistsError and InvalidScheduleError.
        """
        if len(value) > 1:
            raise TypeError(f"a workflow takes one value; got {value}")
        spec = spec_of(options, self.connection.converter)
        if isinstance(workflow, str):
            spec.workflow_type = workflow
        else:
            definition = workflow_of(workflow)
            spec.workflow_type = definition.name
            value = definition.signature.value_of(value, {})
            queue = definition.task_queue or self.connection.queue_of_own_worker(definition.name)
            spec.task_queue = spec.task_queue or queue or ""
        request = pb.CreateScheduleRequest(
            namespace=self.connection.namespace,
            name=name,
            spec=spec,
            paused=paused,
            note=note,
            request_id=uuid4().hex,
        )
        call = ClientCall(
            operation="create_schedule",
            workflow_id="",
            name=name,
            arguments=value,
            request=request,
        )
        handle: ScheduleHandle = await self.connection.intercepted(
            call, partial(_create, self.connection)
        )
        return handle

    def get_schedule(self: Connected, name: str) -> ScheduleHandle:
        """Makes a handle of a schedule; asks nothing of the server."""
        return ScheduleHandle(self.connection, name)

    async def list_schedules(self: Connected) -> AsyncGenerator[ScheduleDescription, None]:
        """Yields the schedules by name."""
        request = pb.ListSchedulesRequest(namespace=self.connection.namespace, page_size=_PAGE_SIZE)
        call = ClientCall(operation="list_schedules", workflow_id="", request=request)
        schedules = self.connection.yielded(call, partial(_listed, self.connection))
        async with aclosing(schedules):
            async for schedule in schedules:
                yield schedule


def spec_of(options: ScheduleOptions, converter: Converter) -> schedule_pb2.ScheduleSpec:
    """Makes the message of options. Raises TypeError for an unknown one, and PayloadError."""
    unknown = options.keys() - ScheduleOptions.__optional_keys__
    if unknown:
        raise TypeError(f"a schedule has no option {', '.join(sorted(unknown))}")
    require_types(options)
    retry, attributes = options.get("retry"), options.get("search_attributes")
    return schedule_pb2.ScheduleSpec(
        cron_expr=options.get("cron"),
        interval=to_duration("every", options.get("every")),
        interval_offset=to_duration("offset", options.get("offset")),
        timezone=options.get("timezone"),
        task_queue=options.get("task_queue"),
        overlap_policy=_policy(options.get("overlap")),
        catchup_window=to_duration("catchup", options.get("catchup")),
        jitter=to_duration("jitter", options.get("jitter")),
        start_at=_timestamp(options.get("start_at")),
        end_at=_timestamp(options.get("end_at")),
        remaining_runs=options.get("remaining_runs"),
        pause_on_failure=options.get("pause_on_failure"),
        retry_policy=None if retry is None else retry.to_proto(),
        execution_timeout=to_duration("execution_timeout", options.get("execution_timeout")),
        run_timeout=to_duration("run_timeout", options.get("run_timeout")),
        priority=options.get("priority"),
        memo=converter.encode(options["memo"]) if "memo" in options else None,
        search_attributes=to_search_attributes(attributes) if attributes else None,
        summary=options.get("summary"),
        details=options.get("details"),
    )


async def _create(connection: Connection, call: ClientCall) -> ScheduleHandle:
    request = call.request
    if call.arguments:
        request.spec.input.CopyFrom(connection.converter.encode(call.arguments[0]))
    await connection.unary("ScheduleService/CreateSchedule", request, pb.CreateScheduleResponse)
    return ScheduleHandle(connection, request.name)


async def _listed(
    connection: Connection, call: ClientCall
) -> AsyncGenerator[ScheduleDescription, None]:
    async with aclosing(connection.pages("ScheduleService/ListSchedules", call.request)) as pages:
        async for page in pages:
            for message in page.schedules:
                yield ScheduleDescription.of(message)


def _described(answer: Any) -> ScheduleDescription:
    return ScheduleDescription.of(answer.schedule)


def _policy(name: OverlapPolicy | None) -> Any:
    return policy_name("overlap", OverlapPolicy, name)


def _run(message: pb.ScheduledRun) -> ScheduledRun:
    outcome: Any = schedule_pb2.StartOutcome.Name(message.outcome).removeprefix(_OUTCOMES)
    return ScheduledRun(_instant(message.due_at), outcome, message.workflow_id, message.run_id)


def _only_run(answer: pb.TriggerScheduleResponse) -> ScheduledRun:
    return _run(answer.run)


def _runs(answer: pb.BackfillScheduleResponse) -> list[ScheduledRun]:
    return [_run(run) for run in answer.runs]


def _instants(answer: pb.PreviewScheduleResponse) -> list[datetime]:
    return [_instant(each) for each in answer.times]


def _timestamp(at: datetime | None) -> Timestamp | None:
    """Makes the message of an instant. Raises ValueError for one without a time zone."""
    if at is None:
        return None
    if at.tzinfo is None:
        raise ValueError(f"an instant has a time zone; got {at!r}")
    timestamp = Timestamp()
    timestamp.FromDatetime(at.astimezone(UTC))
    return timestamp


def _optional(message: schedule_pb2.Schedule, field: str) -> datetime | None:
    return _instant(getattr(message, field)) if message.HasField(field) else None


def _instant(timestamp: Timestamp) -> datetime:
    return timestamp.ToDatetime(UTC)
