"""Owns what `perdure workflow …` does about single activities."""

from __future__ import annotations

from typing import Annotated

import typer

from perdure._cli import show
from perdure._cli.calls import ask
from perdure._cli.options import (
    DEFAULT_ADDRESS,
    DEFAULT_NAMESPACE,
    Address,
    ApiKey,
    Input,
    Namespace,
    Output,
    OutputOption,
    Reason,
    RequestId,
    RunId,
    Span,
    WorkflowId,
    parse_payload,
)
from perdure.v1 import workflow_service_pb2 as pb
from perdure.v1.activity_pb2 import ActivityOptions
from perdure.v1.retry_policy_pb2 import RetryPolicy

Seq = Annotated[int, typer.Argument(metavar="SEQ", help="The number of the activity.")]
External = Annotated[
    bool,
    typer.Option(
        "--external", help="SEQ counts the activities that were scheduled from outside the code."
    ),
]
Identity = Annotated[str, typer.Option(help="Who asks; kept in the history.")]


def schedule_activity(
    workflow_id: WorkflowId,
    seq: Seq,
    activity_type: Annotated[str, typer.Argument(metavar="TYPE", help="The activity type.")],
    *,
    run_id: RunId = "",
    input_: Input = None,
    task_queue: Annotated[str, typer.Option(help="By default that of the workflow.")] = "",
    start_to_close: Span = None,
    schedule_to_start: Span = None,
    schedule_to_close: Span = None,
    heartbeat: Span = None,
    max_attempts: Annotated[int | None, typer.Option(help="0 means unlimited.")] = None,
    priority: Annotated[int, typer.Option(help="1 first to 5 last.")] = 0,
    request_id: RequestId = "",
    address: Address = DEFAULT_ADDRESS,
    api_key: ApiKey = "",
    namespace: Namespace = DEFAULT_NAMESPACE,
    output: OutputOption = Output.TABLE,
) -> None:
    """Schedules an activity of a run from outside its code; SEQ counts those from outside."""
    options = ActivityOptions(
        start_to_close_timeout=start_to_close,
        schedule_to_start_timeout=schedule_to_start,
        schedule_to_close_timeout=schedule_to_close,
        heartbeat_timeout=heartbeat,
        retry_policy=_attempts(max_attempts),
    )
    request = pb.ScheduleActivityRequest(
        namespace=namespace,
        workflow_id=workflow_id,
        run_id=run_id,
        seq=seq,
        name=activity_type,
        task_queue=task_queue,
        input=parse_payload(input_),
        options=options,
        priority=priority,
        request_id=request_id,
    )
    method = "WorkflowService/ScheduleActivity"
    answer = ask(address, method, request, pb.ScheduleActivityResponse, api_key=api_key)
    show.print_answer(answer, output, f"activity {answer.activity.activity_id}")


def pause_activity(
    workflow_id: WorkflowId,
    seq: Seq,
    *,
    external: External = False,
    run_id: RunId = "",
    reason: Reason = "",
    identity: Identity = "",
    address: Address = DEFAULT_ADDRESS,
    api_key: ApiKey = "",
    namespace: Namespace = DEFAULT_NAMESPACE,
    output: OutputOption = Output.TABLE,
) -> None:
    """Keeps further attempts of an activity from workers; one that a worker has goes on."""
    request = pb.PauseActivityRequest(
        namespace=namespace,
        workflow_id=workflow_id,
        run_id=run_id,
        activity_seq=-seq if external else seq,
        reason=reason,
        identity=identity,
    )
    answer = ask(
        address, "WorkflowService/PauseActivity", request, pb.PauseActivityResponse, api_key=api_key
    )
    show.print_answer(answer, output, "paused")


def unpause_activity(
    workflow_id: WorkflowId,
    seq: Seq,
    *,
    external: External = False,
    run_id: RunId = "",
    reason: Reason = "",
    identity: Identity = "",
    address: Address = DEFAULT_ADDRESS,
    api_key: ApiKey = "",
    namespace: Namespace = DEFAULT_NAMESPACE,
    output: OutputOption = Output.TABLE,
) -> None:
    """Lets a paused activity go on."""
    request = pb.UnpauseActivityRequest(
        namespace=namespace,
        workflow_id=workflow_id,
        run_id=run_id,
        activity_seq=-seq if external else seq,
        reason=reason,
        identity=identity,
    )
    answer = ask(
        address,
        "WorkflowService/UnpauseActivity",
        request,
        pb.UnpauseActivityResponse,
        api_key=api_key,
    )
    show.print_answer(answer, output, "goes on")


def reset_activity(
    workflow_id: WorkflowId,
    seq: Seq,
    *,
    external: External = False,
    run_id: RunId = "",
    reason: Reason = "",
    identity: Identity = "",
    drop_heartbeat_details: Annotated[
        bool, typer.Option("--drop-heartbeat-details", help="The next attempt has none.")
    ] = False,
    address: Address = DEFAULT_ADDRESS,
    api_key: ApiKey = "",
    namespace: Namespace = DEFAULT_NAMESPACE,
    output: OutputOption = Output.TABLE,
) -> None:
    """Counts the attempts of an activity anew, and skips the wait for the next one."""
    request = pb.ResetActivityRequest(
        namespace=namespace,
        workflow_id=workflow_id,
        run_id=run_id,
        activity_seq=-seq if external else seq,
        reason=reason,
        identity=identity,
        drop_heartbeat_details=drop_heartbeat_details,
    )
    answer = ask(
        address, "WorkflowService/ResetActivity", request, pb.ResetActivityResponse, api_key=api_key
    )
    show.print_answer(answer, output, f"attempt {answer.activity.attempt}")


def update_activity(
    workflow_id: WorkflowId,
    seq: Seq,
    *,
    external: External = False,
    run_id: RunId = "",
    reason: Reason = "",
    identity: Identity = "",
    start_to_close: Span = None,
    schedule_to_start: Span = None,
    schedule_to_close: Span = None,
    heartbeat: Span = None,
    max_attempts: Annotated[int | None, typer.Option(help="0 means unlimited.")] = None,
    priority: Annotated[int, typer.Option(help="1 first to 5 last.")] = 0,
    address: Address = DEFAULT_ADDRESS,
    api_key: ApiKey = "",
    namespace: Namespace = DEFAULT_NAMESPACE,
    output: OutputOption = Output.TABLE,
) -> None:
    """Changes timeouts, attempts or priority of an activity; a span of 0 means none."""
    options = ActivityOptions(
        start_to_close_timeout=start_to_close,
        schedule_to_start_timeout=schedule_to_start,
        schedule_to_close_timeout=schedule_to_close,
        heartbeat_timeout=heartbeat,
        retry_policy=_attempts(max_attempts),
    )
    request = pb.UpdateActivityOptionsRequest(
        namespace=namespace,
        workflow_id=workflow_id,
        run_id=run_id,
        activity_seq=-seq if external else seq,
        reason=reason,
        identity=identity,
        options=options,
        priority=priority,
    )
    answer = ask(
        address,
        "WorkflowService/UpdateActivityOptions",
        request,
        pb.UpdateActivityOptionsResponse,
        api_key=api_key,
    )
    show.print_answer(answer, output, "changed")


def _attempts(most: int | None) -> RetryPolicy | None:
    return None if most is None else RetryPolicy(max_attempts=most)
