"""Owns workflow tasks that their workers keep while they run steps.

Their reports end nothing, and what happens to the run meanwhile is told to the worker: with the
answer to a report, and at any other time once the worker has shown by a report that it keeps the
task.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from perdure.v1.worker_service_pb2 import KeptTask
from perdure_server.core.errors import StaleTask, WorkflowNotFound
from perdure_server.core.model import EventRow, TaskKind
from perdure_server.core.state import RunState
from perdure_server.core.token import TaskToken
from perdure_server.engine.dispatch import Dispatcher
from perdure_server.engine.encode import first_mebibyte, kept_task
from perdure_server.engine.session import Held, TaskKey
from perdure_server.engine.stimuli import Decide, Stimulus

if TYPE_CHECKING:
    from perdure_server.engine.runs import Runs

Resolve = Callable[[KeptTask | None], None]
Reject = Callable[[Exception], None]


class KeptTasks:
    """Takes the reports that keep their tasks, for every door."""

    def __init__(self, runs: Runs, dispatcher: Dispatcher) -> None:
        self._runs = runs
        self._dispatcher = dispatcher

    def report(self, token: TaskToken, decide: Decide, resolve: Resolve, reject: Reject) -> None:
        """Has a report decided.

        `resolve` is given how the task goes on; None when it has ended.
        """
        key = (token.run_id, token.kind, token.seq)
        held = _held(self._dispatcher, key)
        if held is not None and held.lease != token.lease:
            held = None
        if held is not None:
            held.reporting = True

        def show(state: RunState | None) -> None:
            if held is not None:
                held.reporting = False
            if state is None or not _is_leased(state, token):
                self._dispatcher.finished(key, token.lease)
                resolve(None)
                return
            rows = [row for row in state.tail if row.seq > token.seen_seq]
            sent = first_mebibyte(rows)
            told_seq = sent[-1].seq if sent else token.seen_seq
            resolve(kept_task(state.tasks[key[1:]], sent, seen_seq=told_seq))
            if held is not None:
                held.told_seq = told_seq
                tell(self._dispatcher, state)

        def rejected(error: Exception) -> None:
            if held is not None:
                held.reporting = False
            if isinstance(error, StaleTask | WorkflowNotFound):
                # Later: a refusal is told in the midst of a decision about the run.
                asyncio.get_running_loop().call_soon(self._runs.visit, token.run_id, look_again)
            reject(error)

        def look_again(state: RunState | None) -> None:
            # A report that comes again late is refused, but its worker has the task still.
            if state is None or not _is_leased(state, token):
                self._dispatcher.finished(key, token.lease)
            tell(self._dispatcher, state)

        # What happened beside the report, and after it, is told with its answer.
        stimulus = Stimulus(decide, lambda _: self._runs.visit(token.run_id, show), rejected)
        self._runs.stimulate(token.run_id, stimulus)


def tell(dispatcher: Dispatcher, state: RunState | None) -> None:
    """Tells the worker that keeps the workflow task of a run, if one does, what is new in it."""
    if state is None:
        return
    key = (state.run.run_id, TaskKind.WORKFLOW, 0)
    session = dispatcher.holder(key)
    if session is None or not session.sticky or session.sink is None:
        return
    held, task = session.held[key], state.tasks.get(key[1:])
    if not held.told_seq or held.reporting or task is None or task.lease != held.lease:
        return
    for sent in _pieces([row for row in state.tail if row.seq > held.told_seq]):
        held.told_seq = sent[-1].seq
        session.sink.go_on(kept_task(task, sent, seen_seq=held.told_seq).SerializeToString())


def kept_runs(dispatcher: Dispatcher, run_ids: Iterable[str] | None) -> list[str]:
    """Returns the runs, of all with None, whose workers here keep their workflow tasks."""
    found: list[str] = []
    for key in dispatcher.held_keys(run_ids):
        held = _held(dispatcher, key)
        if held is not None and held.told_seq:
            found.append(key[0])
    return found


def _held(dispatcher: Dispatcher, key: TaskKey) -> Held | None:
    session = dispatcher.holder(key)
    return session.held[key] if session is not None else None


def _is_leased(state: RunState, token: TaskToken) -> bool:
    task = state.tasks.get((token.kind, token.seq))
    return task is not None and task.lease == token.lease and not task.is_free


def _pieces(rows: Sequence[EventRow]) -> Iterator[Sequence[EventRow]]:
    while rows:
        piece = first_mebibyte(rows)
        yield piece
        rows = rows[len(piece) :]
