"""Owns what a start of a workflow says, whatever else is done with it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal, TypeAlias, TypedDict
from uuid import uuid4

from perdure._connection import Connection
from perdure._handles import WorkflowHandle
from perdure._options import RetryPolicy, ReusePolicy, policy_name, require_types
from perdure._search import SearchAttributes, to_search_attributes
from perdure._times import to_duration
from perdure._workflow import Workflow, workflow_of
from perdure.interceptors import ClientCall, to_headers
from perdure.v1 import workflow_service_pb2 as pb

ConflictPolicy = Literal["fail", "use_existing", "terminate_existing"]
Startable: TypeAlias = Workflow[Any, Any] | type[Any] | str
"""A workflow, or the name of one."""


class StartOptions(TypedDict, total=False):
    """How a workflow is started; every word may be left out.

    `id` is made up when it is left out, and so is `request_id`, which makes repeating safe.
    `task_queue` is by default that of the workflow, else that of the worker which was made with
    the same client and runs the workflow, else `default`. `search_attributes` are what `list` and
    `count` find the run by; `memo`, `summary` and `details` are for those who look at it.
    """

    id: str
    task_queue: str
    conflict_policy: ConflictPolicy
    reuse_policy: ReusePolicy
    retry: RetryPolicy
    execution_timeout: timedelta
    run_timeout: timedelta
    start_delay: timedelta
    priority: int
    request_id: str
    search_attributes: SearchAttributes
    memo: Any
    summary: str
    details: str


def start_call(
    operation: str,
    workflow: Startable,
    value: tuple[Any, ...],
    options: StartOptions,
) -> ClientCall:
    """Makes the call of a start. TypeError for what no start takes."""
    unknown = options.keys() - StartOptions.__optional_keys__
    if unknown:
        raise TypeError(f"a start has no option {', '.join(sorted(unknown))}")
    if len(value) > 1:
        raise TypeError(f"a start takes one value, got {len(value)}: put several into a dataclass")
    require_types(options)
    name = workflow if isinstance(workflow, str) else workflow_of(workflow).name
    if not isinstance(workflow, str):
        value = workflow_of(workflow).signature.value_of(value, {})
    return ClientCall(
        operation=operation, workflow_id=options.get("id", ""), name=name, arguments=value
    )


def start_request(
    connection: Connection,
    workflow: Startable,
    call: ClientCall,
    options: StartOptions,
) -> pb.StartWorkflowRequest:
    """Makes the request of a start. Raises PayloadError."""
    task_queue = None
    if not isinstance(workflow, str):
        definition = workflow_of(workflow)
        task_queue = definition.task_queue or connection.queue_of_own_worker(definition.name)
    retry, attributes = options.get("retry"), options.get("search_attributes")
    converter = connection.converter
    return pb.StartWorkflowRequest(
        namespace=connection.namespace,
        workflow_id=call.workflow_id or uuid4().hex,
        workflow_type=call.name,
        task_queue=options.get("task_queue", task_queue),
        input=converter.encode(call.arguments[0]) if call.arguments else None,
        headers=to_headers(call.headers, converter),
        request_id=options.get("request_id") or uuid4().hex,
        conflict_policy=policy_name(
            "conflict_policy", ConflictPolicy, options.get("conflict_policy")
        ),
        reuse_policy=policy_name("reuse_policy", ReusePolicy, options.get("reuse_policy")),
        retry_policy=None if retry is None else retry.to_proto(),
        execution_timeout=to_duration("execution_timeout", options.get("execution_timeout")),
        run_timeout=to_duration("run_timeout", options.get("run_timeout")),
        start_delay=to_duration("start_delay", options.get("start_delay")),
        priority=options.get("priority"),
        memo=converter.encode(options["memo"]) if "memo" in options else None,
        search_attributes=to_search_attributes(attributes) if attributes else None,
        summary=options.get("summary"),
        details=options.get("details"),
    )


def handle_of(
    connection: Connection, workflow: Startable, *, workflow_id: str, run_id: str
) -> WorkflowHandle[Any]:
    """Makes the handle of what was started."""
    return WorkflowHandle(
        connection,
        workflow_id,
        run_id=run_id,
        follows=True,
        result_type=result_type_of(workflow),
    )


def result_type_of(workflow: Startable) -> Any:
    """The type of what a workflow gives; Any for one that is known by its name only."""
    return Any if isinstance(workflow, str) else workflow_of(workflow).signature.result_type
