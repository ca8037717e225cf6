"""Owns the commands `perdure workflow …`."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated, Final

import typer

from perdure._cli import show
from perdure._cli.activity import (
    pause_activity,
    reset_activity,
    schedule_activity,
    unpause_activity,
    update_activity,
)
from perdure._cli.again import reset, retry
from perdure._cli.ask import query, state, update
from perdure._cli.calls import ask, call_once, talk
from perdure._cli.course import continue_as_new, pause, unpause
from perdure._cli.description import print_description
from perdure._cli.events import (
    KINDS,
    event_cells,
    exported_history,
    follow_namespace,
    follow_run,
    history_events,
)
from perdure._cli.export import export, replay
from perdure._cli.joint import signal_with_start, update_with_start
from perdure._cli.options import (
    DEFAULT_ADDRESS,
    DEFAULT_NAMESPACE,
    EXIT_STILL_OPEN,
    Address,
    ApiKey,
    Conflict,
    Ended,
    Input,
    Namespace,
    Output,
    OutputOption,
    Reason,
    RequestId,
    Reuse,
    RunId,
    Span,
    WorkflowId,
    parse_payload,
)
from perdure._cli.search import Filter, SearchAttribute, count, parse_search_attributes
from perdure._cli.start_batch import start_batch
from perdure._cli.wait import OPEN_STATUSES, wait_for_result
from perdure._cli.why import why
from perdure._transport import Transport
from perdure.v1 import watch_service_pb2 as watching
from perdure.v1 import workflow_service_pb2 as pb
from perdure.v1.history_pb2 import HistoryEvent
from perdure.v1.workflow_pb2 import Workflow, WorkflowStatus

PAGE_SIZE_MAX = 1_000
EXIT_NOT_COMPLETED = 1

app = typer.Typer(no_args_is_help=True, help="Start workflows, talk to them, look at them.")


class Status(StrEnum):
    """The statuses of a run."""

    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TERMINATED = "terminated"
    TIMED_OUT = "timed_out"
    CONTINUED_AS_NEW = "continued_as_new"


def start(
    workflow_type: Annotated[str, typer.Argument(metavar="TYPE", help="The workflow type.")],
    *,
    workflow_id: Annotated[str, typer.Option("--id", help="Generated when not given.")] = "",
    task_queue: Annotated[str, typer.Option(help="The task queue.")] = "default",
    input_: Input = None,
    conflict: Annotated[Conflict, typer.Option(help="When a run is open.")] = Conflict.FAIL,
    reuse: Annotated[
        Reuse, typer.Option(help="When the latest run is closed.")
    ] = Reuse.REJECT_DUPLICATE,
    execution_timeout: Span = None,
    run_timeout: Span = None,
    start_delay: Span = None,
    priority: Annotated[int, typer.Option(help="1 first to 5 last.")] = 3,
    search_attribute: SearchAttribute = None,
    memo: Annotated[
        str | None, typer.Option(metavar="JSON", help="A note: one JSON value, or @PATH.")
    ] = None,
    summary: Annotated[str, typer.Option(help="What it is for, in a line.")] = "",
    details: Annotated[str, typer.Option(help="More about it.")] = "",
    request_id: RequestId = "",
    address: Address = DEFAULT_ADDRESS,
    api_key: ApiKey = "",
    namespace: Namespace = DEFAULT_NAMESPACE,
    output: OutputOption = Output.TABLE,
) -> None:
    """Starts a workflow and prints its ids."""
    request = pb.StartWorkflowRequest(
        namespace=namespace,
        workflow_id=workflow_id,
        workflow_type=workflow_type,
        task_queue=task_queue,
        input=parse_payload(input_),
        request_id=request_id,
        conflict_policy=f"CONFLICT_POLICY_{conflict.name}",
        reuse_policy=f"REUSE_POLICY_{reuse.name}",
        execution_timeout=execution_timeout,
        run_timeout=run_timeout,
        start_delay=start_delay,
        priority=priority,
        search_attributes=parse_search_attributes(search_attribute),
        memo=parse_payload(memo),
        summary=summary,
        details=details,
    )
    answer = ask(
        address, "WorkflowService/StartWorkflow", request, pb.StartWorkflowResponse, api_key=api_key
    )
    if output is Output.JSON:
        show.print_json(show.to_json(answer))
        return
    show.print_fields(
        [
            ("workflow", answer.workflow_id),
            ("run", answer.run_id),
            ("status", show.enum_text(answer, "status")),
            ("started", "yes" if answer.started else "no, an open run was used"),
        ]
    )


def list_(
    *,
    status: Annotated[Status | None, typer.Option(help="Only runs of this status.")] = None,
    workflow_type: Annotated[str, typer.Option("--type", help="Only runs of this type.")] = "",
    filter_: Filter = "",
    order_by: Annotated[str, typer.Option(metavar="ORDER", help="As `amount DESC`.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="At most this many.")] = 50,
    address: Address = DEFAULT_ADDRESS,
    api_key: ApiKey = "",
    namespace: Namespace = DEFAULT_NAMESPACE,
    output: OutputOption = Output.TABLE,
) -> None:
    """Lists runs, newest first or in the order asked for."""
    request = pb.ListWorkflowsRequest(
        namespace=namespace,
        filter=filter_,
        order_by=order_by,
        workflow_type=workflow_type,
        status=f"WORKFLOW_STATUS_{status.name}" if status else None,
    )
    runs = talk(address, lambda transport: _list(transport, request, limit), api_key=api_key)
    if output is Output.JSON:
        show.print_json([show.to_json(run) for run in runs])
        return
    _print_runs(runs)


def children(
    workflow_id: WorkflowId,
    *,
    run_id: RunId = "",
    limit: Annotated[int, typer.Option(min=1, help="At most this many.")] = 50,
    address: Address = DEFAULT_ADDRESS,
    api_key: ApiKey = "",
    namespace: Namespace = DEFAULT_NAMESPACE,
    output: OutputOption = Output.TABLE,
) -> None:
    """Lists the workflows that one has started as its children, oldest first."""
    request = pb.ListChildrenRequest(namespace=namespace, workflow_id=workflow_id, run_id=run_id)
    runs = talk(address, lambda transport: _children(transport, request, limit), api_key=api_key)
    if output is Output.JSON:
        show.print_json([show.to_json(run) for run in runs])
    else:
        _print_runs(runs)


def describe(
    workflow_id: WorkflowId,
    *,
    run_id: RunId = "",
    address: Address = DEFAULT_ADDRESS,
    api_key: ApiKey = "",
    namespace: Namespace = DEFAULT_NAMESPACE,
    output: OutputOption = Output.TABLE,
) -> None:
    """Shows one run and what is pending in it."""
    request = pb.GetWorkflowRequest(namespace=namespace, workflow_id=workflow_id, run_id=run_id)
    answer = ask(
        address, "WorkflowService/GetWorkflow", request, pb.GetWorkflowResponse, api_key=api_key
    )
    if output is Output.JSON:
        show.print_json(show.to_json(answer))
    else:
        print_description(answer)


def history(
    workflow_id: WorkflowId,
    *,
    run_id: RunId = "",
    export: Annotated[
        bool, typer.Option("--export", help="Print what `perdure.testing.replay` takes.")
    ] = False,
    address: Address = DEFAULT_ADDRESS,
    api_key: ApiKey = "",
    namespace: Namespace = DEFAULT_NAMESPACE,
    output: OutputOption = Output.TABLE,
) -> None:
    """Prints the history of one run; with --output json in full."""
    request = pb.GetWorkflowHistoryRequest(
        namespace=namespace, workflow_id=workflow_id, run_id=run_id
    )

    async def collect(transport: Transport) -> list[HistoryEvent]:
        return [event async for event in history_events(transport, request)]

    events = talk(address, collect, api_key=api_key)
    if export:
        show.print_json(exported_history(workflow_id, events))
    elif output is Output.JSON:
        show.print_json([show.to_json(event) for event in events])
    else:
        rows = [event_cells(event) for event in events]
        show.print_table(("SEQ", "TIME", "EVENT", "CONTENT"), rows)


def result(
    workflow_id: WorkflowId,
    *,
    run_id: RunId = "",
    timeout: Span = None,
    address: Address = DEFAULT_ADDRESS,
    api_key: ApiKey = "",
    namespace: Namespace = DEFAULT_NAMESPACE,
    output: OutputOption = Output.TABLE,
) -> None:
    """Waits for the end of a workflow and prints its result; 1 if it failed, 2 if time ran out."""
    request = pb.GetWorkflowResultRequest(
        namespace=namespace, workflow_id=workflow_id, run_id=run_id
    )
    answer = talk(
        address, lambda transport: wait_for_result(transport, request, timeout), api_key=api_key
    )
    if output is Output.JSON:
        show.print_json(show.to_json(answer))
    elif answer.HasField("result"):
        show.print_json(show.to_json(answer.result))
    status = show.enum_text(answer, "status")
    if answer.status in OPEN_STATUSES:
        print(f"perdure: {workflow_id} is still {status}", file=sys.stderr)
        raise Ended(EXIT_STILL_OPEN)
    if answer.status != WorkflowStatus.WORKFLOW_STATUS_COMPLETED:
        print(f"perdure: {workflow_id} {status}: {answer.failure.message}", file=sys.stderr)
        raise Ended(EXIT_NOT_COMPLETED)


def signal(
    workflow_id: WorkflowId,
    signal_name: Annotated[str, typer.Argument(metavar="NAME", help="The signal.")],
    *,
    input_: Input = None,
    run_id: RunId = "",
    request_id: RequestId = "",
    address: Address = DEFAULT_ADDRESS,
    api_key: ApiKey = "",
    namespace: Namespace = DEFAULT_NAMESPACE,
    output: OutputOption = Output.TABLE,
) -> None:
    """Delivers a signal."""
    request = pb.SignalWorkflowRequest(
        namespace=namespace,
        workflow_id=workflow_id,
        run_id=run_id,
        signal_name=signal_name,
        payload=parse_payload(input_),
        request_id=request_id,
    )
    answer = ask(
        address,
        "WorkflowService/SignalWorkflow",
        request,
        pb.SignalWorkflowResponse,
        api_key=api_key,
    )
    show.print_answer(answer, output, f"recorded as event {answer.event_seq}")


def cancel(
    workflow_id: WorkflowId,
    *,
    run_id: RunId = "",
    reason: Reason = "",
    deadline: Span = None,
    address: Address = DEFAULT_ADDRESS,
    api_key: ApiKey = "",
    namespace: Namespace = DEFAULT_NAMESPACE,
    output: OutputOption = Output.TABLE,
) -> None:
    """Asks a workflow to end; with --deadline it is terminated when it has not ended by then."""
    request = pb.CancelWorkflowRequest(
        namespace=namespace,
        workflow_id=workflow_id,
        run_id=run_id,
        reason=reason,
        deadline=deadline,
    )
    answer = ask(
        address,
        "WorkflowService/CancelWorkflow",
        request,
        pb.CancelWorkflowResponse,
        api_key=api_key,
    )
    show.print_answer(answer, output, f"requested; the run is {show.enum_text(answer, 'status')}")


def terminate(
    workflow_id: WorkflowId,
    *,
    run_id: RunId = "",
    reason: Reason = "",
    address: Address = DEFAULT_ADDRESS,
    api_key: ApiKey = "",
    namespace: Namespace = DEFAULT_NAMESPACE,
    output: OutputOption = Output.TABLE,
) -> None:
    """Ends a run now, without a word to its code."""
    request = pb.TerminateWorkflowRequest(
        namespace=namespace, workflow_id=workflow_id, run_id=run_id, reason=reason
    )
    method = "WorkflowService/TerminateWorkflow"
    answer = ask(address, method, request, pb.TerminateWorkflowResponse, api_key=api_key)
    show.print_answer(answer, output, "terminated")


def watch(
    workflow_id: Annotated[str, typer.Argument(metavar="ID", help="One workflow only.")] = "",
    *,
    workflow_type: Annotated[str, typer.Option("--type", help="Only this type.")] = "",
    kind: Annotated[list[str] | None, typer.Option(help="Only this kind of event.")] = None,
    after: Annotated[str, typer.Option(metavar="CURSOR", help="Resume after this cursor.")] = "",
    address: Address = DEFAULT_ADDRESS,
    api_key: ApiKey = "",
    namespace: Namespace = DEFAULT_NAMESPACE,
    output: OutputOption = Output.TABLE,
) -> None:
    """Prints events as they are committed; of one workflow its history first, until it closes."""
    if unknown := set(kind or ()) - KINDS:
        raise typer.BadParameter(
            f"{', '.join(sorted(unknown))}: there is no such kind of event;"
            f" use {', '.join(sorted(KINDS))}"
        )
    if workflow_id and not (workflow_type or kind or after):
        run = watching.WatchWorkflowRequest(namespace=namespace, workflow_id=workflow_id)
        talk(address, lambda transport: follow_run(transport, run, output), api_key=api_key)
        return
    events = watching.WatchRequest(
        namespace=namespace,
        workflow_id=workflow_id,
        workflow_type=workflow_type,
        kinds=kind or (),
        after=after,
    )
    talk(address, lambda transport: follow_namespace(transport, events, output), api_key=api_key)


async def _list(
    transport: Transport, request: pb.ListWorkflowsRequest, limit: int
) -> list[Workflow]:
    runs: list[Workflow] = []
    while True:
        request.page_size = min(limit - len(runs), PAGE_SIZE_MAX)
        method = "WorkflowService/ListWorkflows"
        page = await call_once(transport, method, request, pb.ListWorkflowsResponse)
        runs += page.workflows
        if not page.next_page_token or len(runs) >= limit:
            return runs
        request.page_token = page.next_page_token


async def _children(
    transport: Transport, request: pb.ListChildrenRequest, limit: int
) -> list[Workflow]:
    runs: list[Workflow] = []
    while True:
        request.page_size = min(limit - len(runs), PAGE_SIZE_MAX)
        method = "WorkflowService/ListChildren"
        page = await call_once(transport, method, request, pb.ListChildrenResponse)
        runs += page.children
        if not page.next_page_token or len(runs) >= limit:
            return runs
        request.page_token = page.next_page_token


def _print_runs(runs: list[Workflow]) -> None:
    show.print_table(
        ("WORKFLOW", "TYPE", "STATUS", "CREATED", "EVENTS", "RUN"),
        [
            (
                run.workflow_id,
                run.workflow_type,
                show.enum_text(run, "status"),
                show.time_text(run.created_at),
                str(run.history_length),
                run.run_id,
            )
            for run in runs
        ],
    )


_COMMANDS: Final = {
    "Start and talk": (
        start,
        start_batch,
        signal,
        signal_with_start,
        update,
        update_with_start,
        query,
        state,
        result,
    ),
    "Look": (list_, count, describe, why, history, children, watch),
    "Steer": (cancel, terminate, pause, unpause, continue_as_new, reset, retry),
    "Single activities": (
        schedule_activity,
        pause_activity,
        unpause_activity,
        reset_activity,
        update_activity,
    ),
    "Check code": (export, replay),
}
"""The commands in the order in which the help has them."""

for _panel, _commands in _COMMANDS.items():
    for _command in _commands:
        _name = _command.__name__.rstrip("_").replace("_", "-")
        app.command(_name, rich_help_panel=_panel)(_command)
