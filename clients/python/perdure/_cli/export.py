"""Owns `perdure workflow export` and `replay`: a history as a file, and code that must fit it."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Annotated

import typer

from perdure._cli import show
from perdure._cli.calls import talk
from perdure._cli.events import exported_history, history_events
from perdure._cli.options import (
    DEFAULT_ADDRESS,
    DEFAULT_NAMESPACE,
    Address,
    ApiKey,
    Ended,
    Namespace,
    RunId,
    WorkflowId,
)
from perdure._transport import Transport
from perdure.errors import HistoryError
from perdure.v1 import workflow_service_pb2 as pb
from perdure.v1.history_pb2 import HistoryEvent


def export(
    workflow_id: WorkflowId,
    *,
    to: Annotated[Path | None, typer.Option(help="The file; by default standard output.")] = None,
    run_id: RunId = "",
    address: Address = DEFAULT_ADDRESS,
    api_key: ApiKey = "",
    namespace: Namespace = DEFAULT_NAMESPACE,
) -> None:
    """Writes the history of one run in the form that `replay` reads."""
    request = pb.GetWorkflowHistoryRequest(
        namespace=namespace, workflow_id=workflow_id, run_id=run_id
    )

    async def collect(transport: Transport) -> list[HistoryEvent]:
        return [event async for event in history_events(transport, request)]

    exported = exported_history(workflow_id, talk(address, collect, api_key=api_key))
    if to is None:
        show.print_json(exported)
    else:
        to.write_text(show.compact(exported), encoding="utf-8")


def replay(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="As `export` writes it; a folder has all in it.", exists=True
        ),
    ],
    code: Annotated[
        Path,
        typer.Argument(
            metavar="CODE", help="The Python file of the workflow.", exists=True, dir_okay=False
        ),
    ],
) -> None:
    """Replays exported histories with today's code; 1 when one no longer fits."""
    from perdure._definition import definition_of  # noqa: PLC0415 - loads all of the SDK
    from perdure._replay.replayer import replay as play  # noqa: PLC0415
    from perdure._replay_files import ReplayFailedError, replay_all  # noqa: PLC0415
    from perdure._workflow import Workflow  # noqa: PLC0415

    # As `python CODE` finds what the code imports, and as a module of the current folder does.
    sys.path[:0] = [str(code.resolve().parent), ""]
    found = map(definition_of, runpy.run_path(str(code)).values())
    workflows = [each for each in found if isinstance(each, Workflow)]
    try:
        if file.is_dir():
            print(f"all fit: {replay_all(file, workflows)}")
            return
        play(file.read_text(encoding="utf-8"), workflows)
    except (HistoryError, LookupError, ReplayFailedError, FileNotFoundError) as error:
        print(f"perdure: {error}", file=sys.stderr)
        raise Ended(1) from None
    print(f"{file.name} fits")
