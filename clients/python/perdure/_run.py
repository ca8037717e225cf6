"""Owns running one workflow in one call: engine or connection, workers, start and result."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypedDict, TypeVar, Unpack, overload

from perdure._activity import Activity
from perdure._definition import Runs, RunsAlone
from perdure._starting import StartOptions
from perdure._workflow import AnyWorkflow, Workflow, workflow_of
from perdure.client import DEFAULT_NAMESPACE, Client
from perdure.codec import Codec
from perdure.converter import Converter
from perdure.errors import WorkflowAlreadyExistsError
from perdure.interceptors import Interceptor
from perdure.worker import Lifespan, Worker, WorkerOptions, queues_of

R = TypeVar("R")
V = TypeVar("V")


class Places(TypedDict, total=False):
    """Where a workflow runs, and what stands around it."""

    activities: Sequence[Activity[..., Any]]
    workflows: Sequence[AnyWorkflow]
    path: str | Path
    target: str
    namespace: str
    converter: Converter
    codecs: Sequence[Codec]
    interceptors: Sequence[Interceptor]
    lifespan: Lifespan


class RunOptions(Places, StartOptions, total=False):
    """What `run` takes beside the workflow and its value: places and the options of a start."""


@overload
def run(workflow: Workflow[[], R], /, **options: Unpack[RunOptions]) -> R: ...
@overload
def run(workflow: Workflow[[V], R], value: V, /, **options: Unpack[RunOptions]) -> R: ...
@overload
def run(workflow: type[RunsAlone[R]], /, **options: Unpack[RunOptions]) -> R: ...
@overload
def run(workflow: type[Runs[V, R]], value: V, /, **options: Unpack[RunOptions]) -> R: ...
def run(workflow: AnyWorkflow, /, *value: Any, **options: Unpack[RunOptions]) -> Any:
    """Runs a workflow to its end and returns its result; for scripts.

        print(perdure.run(checkout, order, activities=[charge], path="app.db", id="o-1"))

    The engine is inside of the process, on the file `path`, or on one that is gone afterwards;
    with `target` it is the server there. Workers for the workflow, for `workflows` that it starts
    and for `activities` run meanwhile. With a `path` or `target` and an `id` the call can be
    repeated: a run that is open, also one that a crash left behind, is waited for, and of one that
    has ended the result is returned.

    Raises the `WorkflowError` of another end. Inside of a running loop, use a `Client`.
    """
    return asyncio.run(_run(workflow, value, options))


async def _run(workflow: AnyWorkflow, value: tuple[Any, ...], options: RunOptions) -> Any:
    unknown = options.keys() - Places.__optional_keys__ - StartOptions.__optional_keys__
    if unknown or {"path", "target"} <= options.keys():
        raise TypeError(f"run takes a path or a target, and known options; got {[*options]}")
    definition, given = workflow_of(workflow), {**options}
    start: Any = {key: given[key] for key in StartOptions.__optional_keys__ & given.keys()}
    queue = start.setdefault("task_queue", definition.task_queue or "default")
    start.setdefault("conflict_policy", "use_existing")
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(_client(options, stack))
        for worker in _workers(workflow, options, queue):
            await stack.enter_async_context(Worker.of(client, worker))
        try:
            return await client.execute(definition, *value, **start)
        except WorkflowAlreadyExistsError:
            if "reuse_policy" in start:
                raise
            result_type = definition.signature.result_type
            return await client.get_handle(start["id"], result_type=result_type).result()


def _client(options: RunOptions, stack: AsyncExitStack) -> Client:
    around: Any = {
        "namespace": options.get("namespace", DEFAULT_NAMESPACE),
        "converter": options.get("converter"),
        "codecs": options.get("codecs", ()),
        "interceptors": options.get("interceptors", ()),
    }
    if "target" in options:
        return Client.connect(options["target"], **around)
    path = options.get("path")
    if path is None:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="perdure-"))
        path = Path(folder) / "perdure.db"
    return Client.embedded(path, **around)


def _workers(workflow: AnyWorkflow, options: RunOptions, queue: str) -> list[WorkerOptions]:
    workflows = [workflow, *options.get("workflows", ())]
    activities = options.get("activities", ())
    return [
        WorkerOptions(each, workflows, activities, lifespan=options.get("lifespan"))
        for each in sorted({*queues_of(workflows, activities), queue})
    ]
