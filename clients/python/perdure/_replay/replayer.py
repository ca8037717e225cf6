"""Owns replaying a stored history against today's code, for tests and CI."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from google.protobuf import json_format

from perdure._definition import definition_of
from perdure._replay.machine import Machine, WorkflowDefinition
from perdure.converter import Converter
from perdure.errors import HistoryError
from perdure.interceptors import Interceptor, WorkflowInterceptor, of_kind
from perdure.v1.command_pb2 import Command
from perdure.v1.history_pb2 import History


def replay(
    history: History | str | Mapping[str, Any],
    workflows: Iterable[WorkflowDefinition | type[Any]],
    *,
    converter: Converter | None = None,
    interceptors: Sequence[Interceptor] = (),
) -> list[Command]:
    """Replays a history, or its JSON export, and gives the commands that the code asks for next.

    Raises DeterminismError when the code no longer does what the history holds, HistoryError when
    the history is damaged, LookupError when none of the workflows has the history's type.
    """
    events = _parse(history).events
    if not events or not events[0].HasField("workflow_started"):
        raise HistoryError("a history opens with WorkflowStarted")
    started = events[0].workflow_started
    named = {workflow.name: workflow for workflow in map(definition_of, workflows)}
    if started.workflow_type not in named:
        raise LookupError(
            f"the history is of workflow type {started.workflow_type!r}; given are {sorted(named)}"
        )
    machine = Machine(
        named[started.workflow_type],
        namespace="replay",
        workflow_id="replay",
        run_id=started.first_run_id or "replay",
        task_queue=started.task_queue,
        converter=converter or Converter(),
        interceptors=of_kind(interceptors, WorkflowInterceptor),
    )
    try:
        return machine.run_task(events)
    finally:
        machine.close()


def _parse(history: History | str | Mapping[str, Any]) -> History:
    if isinstance(history, History):
        return history
    export = json.loads(history) if isinstance(history, str) else history
    # An export may say more than the events, for example whose history it is.
    return json_format.ParseDict({"events": export["events"]}, History())
