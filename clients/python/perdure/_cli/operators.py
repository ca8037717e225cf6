"""Owns the commands `perdure namespace …`, `perdure queue …`, `worker …` and `activity …`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import typer
from google.protobuf.message import Message

from perdure._cli import show
from perdure._cli.calls import ask, call_once, talk
from perdure._cli.options import (
    DEFAULT_ADDRESS,
    DEFAULT_NAMESPACE,
    Address,
    ApiKey,
    Namespace,
    Output,
    OutputOption,
    Span,
)
from perdure._transport import Transport
from perdure.v1 import admin_service_pb2 as admin
from perdure.v1 import namespace_service_pb2 as pb
from perdure.v1 import worker_service_pb2 as worker
from perdure.v1 import workflow_service_pb2 as workflow

_PAGE_SIZE = 1_000

namespaces = typer.Typer(no_args_is_help=True, help="Create, list, change and delete namespaces.")
queues = typer.Typer(no_args_is_help=True, help="Look at task queues.")
workers = typer.Typer(no_args_is_help=True, help="Look at workers.")
activities = typer.Typer(no_args_is_help=True, help="Look at activities.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The namespace.")]


@namespaces.command()
def create(
    name: Name,
    *,
    retention: Span = None,
    address: Address = DEFAULT_ADDRESS,
    api_key: ApiKey = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Creates a namespace; with --retention its closed runs are deleted after that time."""
    request = pb.CreateNamespaceRequest(name=name, retention=retention)
    method = "NamespaceService/CreateNamespace"
    answer = ask(address, method, request, pb.CreateNamespaceResponse, api_key=api_key)
    show.print_answer(answer.namespace, output, f"created {name}")


@namespaces.command()
def update(
    name: Name,
    *,
    retention: Span = None,
    address: Address = DEFAULT_ADDRESS,
    api_key: ApiKey = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Changes how long closed runs are kept; without --retention for ever."""
    request = pb.UpdateNamespaceRequest(name=name, retention=retention)
    method = "NamespaceService/UpdateNamespace"
    answer = ask(address, method, request, pb.UpdateNamespaceResponse, api_key=api_key)
    kept = _retention(answer.namespace)
    show.print_answer(answer.namespace, output, f"{name} keeps closed runs {kept}")


@namespaces.command("list")
def list_namespaces(
    *,
    address: Address = DEFAULT_ADDRESS,
    api_key: ApiKey = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Lists the namespaces that were created, and `main`."""
    request = pb.ListNamespacesRequest(page_size=_PAGE_SIZE)
    method = "NamespaceService/ListNamespaces"
    found = _all(
        address,
        api_key,
        method,
        request=request,
        kind=pb.ListNamespacesResponse,
        field="namespaces",
    )
    rows = ((each.name, show.time_text(each.created_at), _retention(each)) for each in found)
    _print(found, output, ("NAME", "CREATED", "KEEPS CLOSED RUNS"), rows)


@namespaces.command("show")
def show_namespace(
    name: Name,
    *,
    address: Address = DEFAULT_ADDRESS,
    api_key: ApiKey = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Counts what a namespace holds."""
    request = pb.GetNamespaceRequest(name=name)
    method = "NamespaceService/GetNamespace"
    stats = ask(address, method, request, pb.GetNamespaceResponse, api_key=api_key).stats
    if output is Output.JSON:
        show.print_json(show.to_json(stats))
        return
    names = [field.name for field in stats.DESCRIPTOR.fields]
    show.print_fields((name.replace("_", " "), str(getattr(stats, name))) for name in names)


@namespaces.command()
def delete(
    name: Name,
    *,
    force: Annotated[bool, typer.Option("--force", help="Delete its runs too.")] = False,
    address: Address = DEFAULT_ADDRESS,
    api_key: ApiKey = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Deletes a namespace; with --force also its runs, of which open ones are terminated."""
    request = pb.DeleteNamespaceRequest(name=name, force=force)
    method = "NamespaceService/DeleteNamespace"
    answer = ask(address, method, request, pb.DeleteNamespaceResponse, api_key=api_key)
    show.print_answer(answer, output, f"deleted {name}")


@queues.command("list")
def list_queues(
    *,
    address: Address = DEFAULT_ADDRESS,
    api_key: ApiKey = "",
    namespace: Namespace = DEFAULT_NAMESPACE,
    output: OutputOption = Output.TABLE,
) -> None:
    """Lists the task queues that have tasks or workers."""
    request = admin.ListQueuesRequest(namespace=namespace, page_size=_PAGE_SIZE)
    method = "AdminService/ListQueues"
    found = _all(
        address, api_key, method, request=request, kind=admin.ListQueuesResponse, field="queues"
    )
    rows = (
        (
            each.queue,
            f"{each.pending_workflow_tasks} + {each.running_workflow_tasks}",
            f"{each.pending_activities} + {each.running_activities}",
            str(each.workers),
            f"{each.oldest_pending.ToTimedelta()}" if each.HasField("oldest_pending") else "",
        )
        for each in found
    )
    headings = ("QUEUE", "WORKFLOW TASKS", "ACTIVITIES", "WORKERS", "WAITS FOR")
    _print(found, output, headings, rows)


@workers.command("list")
def list_workers(
    *,
    address: Address = DEFAULT_ADDRESS,
    api_key: ApiKey = "",
    namespace: Namespace = DEFAULT_NAMESPACE,
    output: OutputOption = Output.TABLE,
) -> None:
    """Lists the workers that are connected or registered."""
    request = worker.ListWorkersRequest(namespace=namespace, page_size=_PAGE_SIZE)
    method = "WorkerService/ListWorkers"
    found = _all(
        address, api_key, method, request=request, kind=worker.ListWorkersResponse, field="workers"
    )
    rows = (
        (
            each.identity,
            each.task_queue,
            ", ".join(each.workflow_types),
            ", ".join(each.activity_types),
            each.worker_id,
        )
        for each in found
    )
    _print(found, output, ("IDENTITY", "QUEUE", "WORKFLOWS", "ACTIVITIES", "WORKER"), rows)


@activities.command("show")
def show_activity(
    activity_id: Annotated[
        str, typer.Argument(metavar="ID", help="As `perdure workflow describe -o json` has it.")
    ],
    *,
    address: Address = DEFAULT_ADDRESS,
    api_key: ApiKey = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Shows one activity, pending or ended."""
    request = workflow.GetActivityRequest(activity_id=activity_id)
    method = "WorkflowService/GetActivity"
    found = ask(address, method, request, workflow.GetActivityResponse, api_key=api_key).activity
    if output is Output.JSON:
        show.print_json(show.to_json(found))
        return
    show.print_fields(
        [
            ("activity", found.name),
            ("workflow", found.workflow_id),
            ("run", found.run_id),
            ("number", f"{found.seq} (external)" if found.external else str(found.seq)),
            ("task queue", found.task_queue),
            ("status", show.enum_text(found, "status")),
            ("attempt", str(found.attempt)),
            ("worker", found.worker_identity),
            ("scheduled", show.time_text(found.scheduled_at)),
            ("started", show.time_text(found.started_at)),
            ("last heartbeat", show.time_text(found.last_heartbeat_at)),
            ("next attempt", show.time_text(found.next_attempt_at)),
            ("completed", show.time_text(found.completed_at)),
            ("waits because", found.waiting_reason),
            ("last failure", found.last_failure.message),
            ("failure", found.failure.message),
            ("input", show.gist(found.input) if found.HasField("input") else ""),
            ("result", show.gist(found.result) if found.HasField("result") else ""),
        ]
    )


def _all(
    address: str, api_key: str, method: str, *, request: Any, kind: type[Any], field: str
) -> list[Any]:
    """Returns what all pages of a list hold in a field."""

    async def collect(transport: Transport) -> list[Any]:
        found: list[Any] = []
        while True:
            page = await call_once(transport, method, request, kind)
            found += getattr(page, field)
            request.page_token = page.next_page_token
            if not page.next_page_token:
                return found

    return talk(address, collect, api_key=api_key)


def _print(
    found: Iterable[Message],
    output: Output,
    headings: Sequence[str],
    rows: Iterable[Sequence[str]],
) -> None:
    if output is Output.JSON:
        show.print_json([show.to_json(each) for each in found])
    else:
        show.print_table(headings, rows)


def _retention(namespace: pb.Namespace) -> str:
    if not namespace.HasField("retention"):
        return "for ever"
    return f"for {namespace.retention.ToTimedelta()}"
