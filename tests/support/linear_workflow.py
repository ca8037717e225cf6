"""Owns what one workflow id is for a single caller at a time, as the contract tells it.

Written from the comments of `proto/perdure/v1` and not from the engine: the two are to be compared.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Final

from tests.support.linear import UNKNOWN

OPEN: Final = ("PENDING", "RUNNING")
_NAMELESS: Final = "?"
"""Begins the id of a run that was created by a start whose answer is unknown."""

Answer = tuple[Any, ...]
"""What happened, then what it came to. A refusal is `("refused", reason)`."""


@dataclass(slots=True, frozen=True)
class Call:
    """One call of one RPC about the workflow; `kind` names the method of the model."""

    kind: str
    run_id: str = ""
    request_id: str = ""
    tag: str = ""
    """The content: the input, the name of the signal, the command."""
    conflict: str = ""
    reuse: str = ""
    lease: int = 0
    is_late: bool = False
    """Whether a lease may have run out by then."""

    def __str__(self) -> str:
        told = [(each.name, getattr(self, each.name)) for each in fields(self)]
        return " ".join(f"{name}={value}" for name, value in told if value)

    @property
    def content(self) -> Call:
        """What a request id stands for."""
        return replace(self, request_id="", is_late=False)


@dataclass(slots=True, frozen=True)
class RunRef:
    """Stands for a run in an answer, by its place among the runs of the workflow."""

    index: int


@dataclass(slots=True, frozen=True)
class RunView:
    """What callers can know of one run."""

    run_id: str
    events: tuple[str, ...]
    status: str = "PENDING"
    result: str = ""
    lease: int = 0
    accepted: int = 0
    is_held: bool = False

    @property
    def is_open(self) -> bool:
        """Whether it has not closed."""
        return self.status in OPEN

    def closed(self, status: str, event: str) -> RunView:
        """Returns it after its last event."""
        return replace(self, status=status, events=(*self.events, event), is_held=False)


@dataclass(slots=True, frozen=True)
class WorkflowView:
    """All runs of one workflow id, oldest first, and the requests that were answered."""

    runs: tuple[RunView, ...] = ()
    answered: frozenset[tuple[str, str, Call, Answer]] = frozenset()

    def put(self, index: int, run: RunView) -> WorkflowView:
        """Returns it with one run changed, or added."""
        return replace(self, runs=(*self.runs[:index], run, *self.runs[index + 1 :]))

    def find(self, call: Call) -> int | None:
        """Returns the place of the run that a call is about; None if there is none."""
        if not call.run_id:
            return len(self.runs) - 1 if self.runs else None
        ids = [run.run_id for run in self.runs]
        return ids.index(call.run_id) if call.run_id in ids else None


Outcome = tuple[WorkflowView, Answer]


class WorkflowModel:
    """The rules. Each method named like a kind of call returns what follows from it."""

    def step(self, state: WorkflowView, call: Call, answer: Any) -> WorkflowView | None:
        """Returns the state after a call that was answered so; None if it cannot be."""
        if call.is_late and answer == _refused("STALE_TASK"):
            return state
        after, expected = self._ask(state, call)
        return after if answer is UNKNOWN else _agree(after, expected, answer)

    def _ask(self, state: WorkflowView, call: Call) -> Outcome:
        if not call.request_id:
            return self._dispatch(state, call)
        for kind, request_id, content, answer in state.answered:
            if (kind, request_id) == (call.kind, call.request_id):
                same = content == call.content
                return state, answer if same else _refused("REQUEST_ID_REUSED")
        after, answer = self._dispatch(state, call)
        if answer[0] == "refused":
            return after, answer
        record = (call.kind, call.request_id, call.content, answer)
        return replace(after, answered=after.answered | {record}), answer

    def _dispatch(self, state: WorkflowView, call: Call) -> Outcome:
        if call.kind == "start":
            return self._start(state, call)
        index = state.find(call)
        if index is None:
            return state, _refused("WORKFLOW_NOT_FOUND")
        method = getattr(self, f"_{call.kind}")
        outcome: Outcome = method(state, call, index)
        return outcome

    def _start(self, state: WorkflowView, call: Call) -> Outcome:
        if not state.runs:
            return _begin(state, call)
        index = len(state.runs) - 1
        latest = state.runs[index]
        if latest.is_open:
            if call.conflict == "USE_EXISTING":
                return state, ("started", RunRef(index), latest.status, False)
            if call.conflict == "TERMINATE_EXISTING":
                ended = latest.closed("TERMINATED", "workflow_terminated")
                return _begin(state.put(index, ended), call)
            return state, _refused("WORKFLOW_ALREADY_EXISTS")
        failed_only = call.reuse == "ALLOW_DUPLICATE_FAILED_ONLY" and latest.status != "COMPLETED"
        if call.reuse == "ALLOW_DUPLICATE" or failed_only:
            return _begin(state, call)
        return state, _refused("WORKFLOW_ALREADY_EXISTS")

    def _signal(self, state: WorkflowView, call: Call, index: int) -> Outcome:
        run = state.runs[index]
        if not run.is_open:
            return state, _refused("WORKFLOW_CLOSED")
        events = (*run.events, f"signal_received {call.tag}")
        return state.put(index, replace(run, events=events)), ("recorded", len(events))

    def _cancel(self, state: WorkflowView, _call: Call, index: int) -> Outcome:
        run = state.runs[index]
        if not run.is_open:
            return state, _refused("WORKFLOW_NOT_FOUND")
        if "workflow_cancel_requested" not in run.events:
            run = replace(run, events=(*run.events, "workflow_cancel_requested"))
        if run.status == "PENDING":
            run = run.closed("CANCELLED", "workflow_cancelled")
        return state.put(index, run), ("cancelling", run.status)

    def _terminate(self, state: WorkflowView, _call: Call, index: int) -> Outcome:
        run = state.runs[index]
        if not run.is_open:
            return state, _refused("WORKFLOW_NOT_FOUND")
        return state.put(index, run.closed("TERMINATED", "workflow_terminated")), ("terminated",)

    def _get(self, state: WorkflowView, _call: Call, index: int) -> Outcome:
        run = state.runs[index]
        return state, ("run", RunRef(index), run.status, len(run.events), run.result)

    def _result(self, state: WorkflowView, _call: Call, index: int) -> Outcome:
        run = state.runs[index]
        if run.is_open:
            return state, ("open", RunRef(index), run.status)
        return state, ("closed", RunRef(index), run.status, run.result)

    def _find(self, state: WorkflowView, _call: Call, index: int) -> Outcome:
        """The first look of a call that finds the run, and then reads it."""
        return state, ("found", RunRef(index))

    def _history(self, state: WorkflowView, _call: Call, index: int) -> Outcome:
        return state, ("history", RunRef(index), state.runs[index].events)

    def _lease(self, state: WorkflowView, call: Call, index: int) -> Outcome:
        """A worker is given the workflow task; 0 when it is unknown under which number."""
        run = state.runs[index]
        held = run.is_held and not call.is_late
        if not run.is_open or held or 0 < call.lease <= run.lease:
            return state, ("none",)
        lease = call.lease or run.lease + 1
        after = replace(run, lease=lease, is_held=call.lease > 0)
        return state.put(index, after), ("leased", RunRef(index))

    def _complete(self, state: WorkflowView, call: Call, index: int) -> Outcome:
        run = state.runs[index]
        if call.lease == run.accepted:
            return state, ("accepted",)
        if not run.is_open or call.lease != run.lease or run.lease <= run.accepted:
            return state, _refused("STALE_TASK")
        run = replace(run, status="RUNNING", accepted=call.lease, is_held=False)
        if call.tag.startswith("wait"):
            run = replace(run, events=(*run.events, "workflow_awaiting_signal"))
        else:
            run = replace(run.closed("COMPLETED", "workflow_completed"), result=call.tag)
        return state.put(index, run), ("accepted",)


def _begin(state: WorkflowView, call: Call) -> Outcome:
    index = len(state.runs)
    run = RunView(f"{_NAMELESS}{index}", ("workflow_started",))
    return state.put(index, run), ("started", RunRef(index), "PENDING", True)


def _refused(reason: str) -> Answer:
    return ("refused", reason)


def _agree(state: WorkflowView, expected: Answer, answer: Answer) -> WorkflowView | None:
    """Compares an answer with the one expected; learns the id of a run that had no name yet."""
    if len(expected) != len(answer):
        return None
    for wanted, given in zip(expected, answer, strict=True):
        if not isinstance(wanted, RunRef):
            if wanted != given:
                return None
            continue
        run = state.runs[wanted.index]
        if run.run_id.startswith(_NAMELESS) and given not in {run.run_id for run in state.runs}:
            state = state.put(wanted.index, replace(run, run_id=given))
        elif run.run_id != given:
            return None
    return state
