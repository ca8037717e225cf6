"""Owns the commands `perdure schedule …`."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import typer
from google.protobuf.timestamp_pb2 import Timestamp

from perdure._cli import show
from perdure._cli.calls import ask, call_once, talk
from perdure._cli.options import (
    DEFAULT_ADDRESS,
    DEFAULT_NAMESPACE,
    Address,
    ApiKey,
    Input,
    Namespace,
    Output,
    OutputOption,
    RequestId,
    Span,
    parse_payload,
)
from perdure._cli.search import SearchAttribute, parse_search_attributes
from perdure._transport import Transport
from perdure.v1 import schedule_service_pb2 as pb
from perdure.v1.schedule_pb2 import Schedule, ScheduleSpec

_PAGE_SIZE = 1_000

app = typer.Typer(no_args_is_help=True, help="Start workflows by the clock.")


class Overlap(StrEnum):
    """What happens at an instant while a workflow of the schedule is open."""

    SKIP = "skip"
    BUFFER_ONE = "buffer_one"
    BUFFER_ALL = "buffer_all"
    CANCEL_OTHER = "cancel_other"
    TERMINATE_OTHER = "terminate_other"
    ALLOW_ALL = "allow_all"


def parse_instant(text: str) -> datetime:
    """Returns the instant of `2026-03-29T01:00Z`; one without a zone is of UTC."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no instant: use 2026-03-29T01:00Z") from None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at


Name = Annotated[str, typer.Argument(metavar="NAME", help="The name of the schedule.")]
Cron = Annotated[str | None, typer.Option(help="When: five, six or seven fields, or @hourly.")]
TimeZone = Annotated[str | None, typer.Option(help="The zone of --cron, as Europe/Berlin.")]
Instant = Annotated[
    datetime | None, typer.Option(parser=parse_instant, metavar="TIME", help="2026-03-29T01:00Z.")
]
Policy = Annotated[Overlap | None, typer.Option(help="What happens while a workflow is open.")]
Note = Annotated[str, typer.Option(help="Why; shown with the schedule.")]
Queue = Annotated[str | None, typer.Option(help="The task queue of the workflows.")]
Runs = Annotated[int | None, typer.Option(help="End after so many workflows.")]
Memo = Annotated[
    str | None, typer.Option(metavar="JSON", help="A note on each workflow: JSON, or @PATH.")
]
Summary = Annotated[str | None, typer.Option(help="What each workflow is for, in a line.")]
Details = Annotated[str | None, typer.Option(help="More about it.")]
Failure = Annotated[
    bool | None, typer.Option("--pause-on-failure/--go-on", help="After a workflow has failed.")
]


@app.command()
def create(
    name: Name,
    workflow_type: Annotated[str, typer.Argument(metavar="TYPE", help="The workflow type.")],
    *,
    cron: Cron = None,
    timezone: TimeZone = None,
    every: Span = None,
    offset: Span = None,
    input_: Input = None,
    task_queue: Queue = None,
    overlap: Policy = None,
    catchup: Span = None,
    jitter: Span = None,
    start_at: Instant = None,
    end_at: Instant = None,
    remaining_runs: Runs = None,
    pause_on_failure: Failure = None,
    search_attribute: SearchAttribute = None,
    memo: Memo = None,
    summary: Summary = None,
    details: Details = None,
    paused: Annotated[bool, typer.Option("--paused", help="Begin paused.")] = False,
    note: Note = "",
    request_id: RequestId = "",
    namespace: Namespace = DEFAULT_NAMESPACE,
    address: Address = DEFAULT_ADDRESS,
    api_key: ApiKey = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Creates a schedule, by --cron or by --every."""
    spec = _spec(
        workflow_type=workflow_type,
        cron_expr=cron,
        timezone=timezone,
        interval=every,
        interval_offset=offset,
        input=parse_payload(input_),
        task_queue=task_queue,
        overlap_policy=_policy(overlap),
        catchup_window=catchup,
        jitter=jitter,
        start_at=_timestamp(start_at),
        end_at=_timestamp(end_at),
        remaining_runs=remaining_runs,
        pause_on_failure=pause_on_failure,
        search_attributes=parse_search_attributes(search_attribute),
        memo=parse_payload(memo),
        summary=summary,
        details=details,
    )
    request = pb.CreateScheduleRequest(
        namespace=namespace, name=name, spec=spec, paused=paused, note=note, request_id=request_id
    )
    method = "ScheduleService/CreateSchedule"
    answer = ask(address, method, request, pb.CreateScheduleResponse, api_key=api_key)
    _print(answer.schedule, output)


@app.command("list")
def list_(
    *,
    namespace: Namespace = DEFAULT_NAMESPACE,
    address: Address = DEFAULT_ADDRESS,
    api_key: ApiKey = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Lists the schedules by name."""

    async def conversation(transport: Transport) -> list[Schedule]:
        return await _list(transport, namespace)

    schedules = talk(address, conversation, api_key=api_key)
    if output is Output.JSON:
        show.print_json([show.to_json(each) for each in schedules])
        return
    show.print_table(
        ("NAME", "TYPE", "WHEN", "PAUSED", "NEXT", "LAST"),
        [
            (
                each.name,
                each.spec.workflow_type,
                _when(each),
                "paused" if each.paused else "",
                show.time_text(each.next_run_at),
                show.time_text(each.last_run_at),
            )
            for each in schedules
        ],
    )


@app.command("show")
def show_(
    name: Name,
    *,
    namespace: Namespace = DEFAULT_NAMESPACE,
    address: Address = DEFAULT_ADDRESS,
    api_key: ApiKey = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Shows a schedule."""
    request = pb.GetScheduleRequest(namespace=namespace, name=name)
    method = "ScheduleService/GetSchedule"
    answer = ask(address, method, request, pb.GetScheduleResponse, api_key=api_key)
    _print(answer.schedule, output)


@app.command()
def update(
    name: Name,
    *,
    cron: Cron = None,
    timezone: TimeZone = None,
    every: Span = None,
    offset: Span = None,
    input_: Input = None,
    task_queue: Queue = None,
    overlap: Policy = None,
    catchup: Span = None,
    jitter: Span = None,
    start_at: Instant = None,
    end_at: Instant = None,
    remaining_runs: Runs = None,
    pause_on_failure: Failure = None,
    search_attribute: SearchAttribute = None,
    memo: Memo = None,
    summary: Summary = None,
    details: Details = None,
    clear: Annotated[list[str] | None, typer.Option(help="A field to reset, as end_at.")] = None,
    request_id: RequestId = "",
    namespace: Namespace = DEFAULT_NAMESPACE,
    address: Address = DEFAULT_ADDRESS,
    api_key: ApiKey = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Changes what is given and leaves the rest."""
    spec = _spec(
        cron_expr=cron,
        timezone=timezone,
        interval=every,
        interval_offset=offset,
        input=parse_payload(input_),
        task_queue=task_queue,
        overlap_policy=_policy(overlap),
        catchup_window=catchup,
        jitter=jitter,
        start_at=_timestamp(start_at),
        end_at=_timestamp(end_at),
        remaining_runs=remaining_runs,
        pause_on_failure=pause_on_failure,
        search_attributes=parse_search_attributes(search_attribute),
        memo=parse_payload(memo),
        summary=summary,
        details=details,
    )
    request = pb.UpdateScheduleRequest(
        namespace=namespace, name=name, spec=spec, clear=clear or [], request_id=request_id
    )
    method = "ScheduleService/UpdateSchedule"
    answer = ask(address, method, request, pb.UpdateScheduleResponse, api_key=api_key)
    _print(answer.schedule, output)


@app.command()
def pause(
    name: Name,
    *,
    note: Note = "",
    request_id: RequestId = "",
    namespace: Namespace = DEFAULT_NAMESPACE,
    address: Address = DEFAULT_ADDRESS,
    api_key: ApiKey = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Lets instants pass without a start."""
    request = pb.PauseScheduleRequest(
        namespace=namespace, name=name, note=note, request_id=request_id
    )
    method = "ScheduleService/PauseSchedule"
    answer = ask(address, method, request, pb.PauseScheduleResponse, api_key=api_key)
    show.print_answer(answer, output, f"paused {name}")


@app.command()
def resume(
    name: Name,
    *,
    note: Note = "",
    request_id: RequestId = "",
    namespace: Namespace = DEFAULT_NAMESPACE,
    address: Address = DEFAULT_ADDRESS,
    api_key: ApiKey = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Starts workflows again from the next instant on."""
    request = pb.ResumeScheduleRequest(
        namespace=namespace, name=name, note=note, request_id=request_id
    )
    method = "ScheduleService/ResumeSchedule"
    answer = ask(address, method, request, pb.ResumeScheduleResponse, api_key=api_key)
    text = f"resumed {name}; next at {show.time_text(answer.schedule.next_run_at) or 'no time'}"
    show.print_answer(answer, output, text)


@app.command()
def trigger(
    name: Name,
    *,
    overlap: Policy = None,
    request_id: RequestId = "",
    namespace: Namespace = DEFAULT_NAMESPACE,
    address: Address = DEFAULT_ADDRESS,
    api_key: ApiKey = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Starts a workflow of a schedule now."""
    request = pb.TriggerScheduleRequest(
        namespace=namespace, name=name, overlap_policy=_policy(overlap), request_id=request_id
    )
    method = "ScheduleService/TriggerSchedule"
    answer = ask(address, method, request, pb.TriggerScheduleResponse, api_key=api_key)
    run = answer.run
    show.print_answer(run, output, f"{_outcome(run)} {run.workflow_id} {run.run_id}".rstrip())


@app.command()
def backfill(
    name: Name,
    start_at: Annotated[datetime, typer.Argument(parser=parse_instant, metavar="FROM")],
    end_at: Annotated[datetime, typer.Argument(parser=parse_instant, metavar="TO")],
    *,
    overlap: Policy = None,
    request_id: RequestId = "",
    namespace: Namespace = DEFAULT_NAMESPACE,
    address: Address = DEFAULT_ADDRESS,
    api_key: ApiKey = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Starts the workflow of each due time of a span that has had none."""
    request = pb.BackfillScheduleRequest(
        namespace=namespace,
        name=name,
        start_at=_timestamp(start_at),
        end_at=_timestamp(end_at),
        overlap_policy=_policy(overlap),
        request_id=request_id,
    )
    method = "ScheduleService/BackfillSchedule"
    answer = ask(address, method, request, pb.BackfillScheduleResponse, api_key=api_key)
    if output is Output.JSON:
        show.print_json([show.to_json(run) for run in answer.runs])
        return
    rows = [(_outcome(run), run.workflow_id, run.run_id) for run in answer.runs]
    show.print_table(("OUTCOME", "WORKFLOW", "RUN"), rows)


@app.command()
def preview(
    name: Name,
    *,
    count: Annotated[int, typer.Option(help="How many.")] = 10,
    after: Instant = None,
    namespace: Namespace = DEFAULT_NAMESPACE,
    address: Address = DEFAULT_ADDRESS,
    api_key: ApiKey = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Prints the next instants, as if the schedule were not paused."""
    request = pb.PreviewScheduleRequest(
        namespace=namespace, name=name, count=count, after=_timestamp(after)
    )
    method = "ScheduleService/PreviewSchedule"
    answer = ask(address, method, request, pb.PreviewScheduleResponse, api_key=api_key)
    if output is Output.JSON:
        show.print_json([each.ToJsonString() for each in answer.times])
        return
    for each in answer.times:
        print(show.time_text(each))


@app.command()
def delete(
    name: Name,
    *,
    request_id: RequestId = "",
    namespace: Namespace = DEFAULT_NAMESPACE,
    address: Address = DEFAULT_ADDRESS,
    api_key: ApiKey = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Deletes a schedule; workflows that it started go on."""
    request = pb.DeleteScheduleRequest(namespace=namespace, name=name, request_id=request_id)
    method = "ScheduleService/DeleteSchedule"
    answer = ask(address, method, request, pb.DeleteScheduleResponse, api_key=api_key)
    show.print_answer(answer, output, f"deleted {name}")


async def _list(transport: Transport, namespace: str) -> list[Schedule]:
    request = pb.ListSchedulesRequest(namespace=namespace, page_size=_PAGE_SIZE)
    schedules: list[Schedule] = []
    while True:
        method = "ScheduleService/ListSchedules"
        page = await call_once(transport, method, request, pb.ListSchedulesResponse)
        schedules += page.schedules
        if not page.next_page_token:
            return schedules
        request.page_token = page.next_page_token


def _print(schedule: Schedule, output: Output) -> None:
    if output is Output.JSON:
        show.print_json(show.to_json(schedule))
        return
    spec = schedule.spec
    show.print_fields(
        [
            ("name", schedule.name),
            ("type", spec.workflow_type),
            ("when", _when(schedule)),
            ("overlap", show.enum_text(spec, "overlap_policy").lower()),
            ("paused", "yes" if schedule.paused else ""),
            ("note", schedule.note),
            ("next", show.time_text(schedule.next_run_at)),
            ("last", show.time_text(schedule.last_run_at)),
            ("last workflow", schedule.last_workflow_id),
            ("runs", str(schedule.run_count)),
            ("remaining", str(spec.remaining_runs) if spec.HasField("remaining_runs") else ""),
            ("running", "\n".join(schedule.running)),
            ("waiting", str(len(schedule.waiting) or "")),
        ]
    )


def _when(schedule: Schedule) -> str:
    spec = schedule.spec
    if spec.HasField("interval"):
        return f"every {spec.interval.ToTimedelta()}"
    return f"{spec.cron_expr} {spec.timezone}"


def _outcome(run: pb.ScheduledRun) -> str:
    return show.enum_text(run, "outcome").lower().replace("_", " ")


def _spec(**fields: Any) -> ScheduleSpec:
    return ScheduleSpec(**{name: value for name, value in fields.items() if value is not None})


def _policy(overlap: Overlap | None) -> Any:
    return None if overlap is None else f"OVERLAP_POLICY_{overlap.name}"


def _timestamp(at: datetime | None) -> Timestamp | None:
    if at is None:
        return None
    timestamp = Timestamp()
    timestamp.FromDatetime(at.astimezone(UTC))
    return timestamp
