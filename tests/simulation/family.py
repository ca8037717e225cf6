"""Workflows of the simulation that start others and reach others, and what must hold for them."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from random import Random
from typing import Any

from perdure import ChildWorkflowError, ExternalWorkflowError, RetryPolicy, signal, workflow
from perdure.v1.history_pb2 import HistoryEvent
from perdure.v1.workflow_pb2 import WorkflowStatus
from perdure_server.core.model import Run
from tests.simulation.lineage import by_workflow, events_of, own_events, resets
from tests.support.model_contents import Contents, StoredRun

nudge = signal("nudge", str)
_ORDERS = 9
"""As many as a world may have; some are not there."""
_ENDS = {"child_workflow_completed", "child_workflow_failed"}
_ANSWERS = {
    "signal_workflow_delivered": "signal_seq",
    "signal_workflow_failed": "signal_seq",
    "cancel_workflow_delivered": "cancel_seq",
    "cancel_workflow_failed": "cancel_seq",
}


@workflow
async def nudged(count: int) -> int:
    """Takes what it is told, for a while."""
    taken = 0
    while taken < count:
        try:
            await nudge.wait(timeout=3)
        except TimeoutError:
            break
        taken += 1
    return taken


@workflow
async def family(size: int) -> list[str]:
    """Starts children of many kinds, tells them and others this and that, and waits for most."""
    random = workflow.random()
    parts = [_raise(random, size) for _ in range(size)] + [_meddle(random) for _ in range(size)]
    ends = await asyncio.gather(*parts, return_exceptions=True)
    return [end if isinstance(end, str) else type(end).__name__ for end in ends]


async def relatives(random: Random) -> int:
    """A part of a program made of chance: one child, one message."""
    await asyncio.gather(_raise(random, 1), _meddle(random))
    return 1


async def _raise(random: Random, size: int) -> str:
    kinds = {"nudged": 2, "stubborn": 2, "sequence": 2, "saga": 1, "family": size - 1}
    kind = random.choice(sorted(kinds))
    options: Any = {
        "parent_close_policy": random.choice(["terminate", "abandon", "request_cancel"]),
        "reuse_policy": random.choice(["reject_duplicate", "allow_duplicate"]),
    }
    if kind == "stubborn":
        options["retry"] = RetryPolicy(initial_interval=timedelta(seconds=0.5), max_attempts=3)
    if random.random() < 0.2:
        options["id"] = f"shared-{random.randrange(4)}"
    if random.random() < 0.2:
        options["run_timeout"] = timedelta(seconds=random.randint(1, 5))
    child = workflow.start_child(kind, kinds[kind], **options)
    try:
        for _ in range(random.randrange(4)):
            await child.signal(nudge, _word())
    except ExternalWorkflowError:
        pass
    if random.random() < 0.3:
        child.cancel()
    try:
        await asyncio.wait_for(child.result(), random.choice([1, None]))
    except ChildWorkflowError as error:
        return error.status
    return "COMPLETED"


async def _meddle(random: Random) -> str:
    other = workflow.external(f"order-{random.randrange(_ORDERS)}")
    await workflow.sleep(random.choice([0.0, 0.5, 2.0]))
    if random.random() < 0.1:
        await other.cancel("meddled with")
    for _ in range(random.randrange(3)):
        await other.signal(nudge, _word())
    return "told"


def _word() -> str:
    return f"{workflow.info().run_id}/{workflow.uuid4()}"


def check_children(run: Run, stored: StoredRun, events: list[HistoryEvent]) -> None:
    """Each is started or refused once and ends at most once, and the rows say the same."""
    closed: dict[int, bool] = {}
    for event in events:
        kind = event.WhichOneof("event")
        if kind == "child_workflow_started":
            _require_next(run, event.child_workflow_started.child_seq, closed)
            closed[len(closed) + 1] = False
        elif kind == "child_workflow_failed" and not event.child_workflow_failed.child_run_id:
            _require_next(run, event.child_workflow_failed.child_seq, closed)
            closed[len(closed) + 1] = True
        elif kind in _ENDS:
            end = getattr(event, str(kind))
            assert closed[end.child_seq] is False, (run, end)
            closed[end.child_seq] = True
    assert len(closed) == run.child_seq_max, run
    if not run.status.is_closed:
        assert {seq: child.closed for seq, child in stored.children.items()} == closed, run


def check_families(contents: Contents) -> None:
    """What runs said to one another arrived once, in order, and no message is left."""
    assert not contents.inbox, list(contents.inbox)
    heard = _heard(contents)
    assert all(len(set(words)) == len(words) for words in heard.values()), "a signal came twice"
    for stored in contents.runs.values():
        for event in own_events(stored, contents):
            kind = event.WhichOneof("event")
            if kind == "child_workflow_started":
                child = contents.runs[event.child_workflow_started.child_run_id].run
                assert stored.run.run_id in _forebears(child.parent_run_id, contents), child
            elif kind in _ENDS and getattr(event, str(kind)).child_run_id:
                check_end_of_child(getattr(event, str(kind)), contents)
        check_messages(stored, heard)


def _forebears(run_id: str, contents: Contents) -> list[str]:
    """Names a run and those whose histories it goes on from; their children may be its own."""
    found = [run_id]
    while marks := resets(events_of(contents.runs[found[-1]])):
        found.append(marks[-1].workflow_reset.from_run_id)
    return found


def check_end_of_child(end: Any, contents: Contents) -> None:
    """The parent was told how the last run of the child closed."""
    child = contents.runs[end.child_run_id]
    closing = events_of(child)[-1]
    assert child.run.status.is_closed, end
    assert not child.run.next_run_id, (end, child.run)
    if closing.HasField("workflow_completed"):
        assert end.result == closing.workflow_completed.result, (end, closing)
    else:
        status = WorkflowStatus.Name(end.status).removeprefix("WORKFLOW_STATUS_")
        assert status == child.run.status.value, (end, child.run)


def check_messages(stored: StoredRun, heard: dict[str, list[bytes]]) -> None:
    """A message is answered at most once; it arrived as the answer says, in the order of sending.

    What a run that closed has sent may arrive without an answer.
    """
    answers: Counter[tuple[str, int]] = Counter()
    sent: dict[int, tuple[str, bytes]] = {}
    failed: set[int] = set()
    for event in events_of(stored):
        kind = str(event.WhichOneof("event"))
        if kind == "signal_workflow_initiated":
            told = event.signal_workflow_initiated
            assert told.signal_seq == len(sent) + 1, stored.run
            sent[told.signal_seq] = (told.workflow_id, told.payload.data)
        elif kind in _ANSWERS:
            seq = getattr(getattr(event, kind), _ANSWERS[kind])
            answers[_ANSWERS[kind], seq] += 1
            assert answers[_ANSWERS[kind], seq] == 1, (stored.run, kind, seq)
            if kind == "signal_workflow_failed":
                failed.add(seq)
    for seq, (workflow_id, word) in sent.items():
        arrived = heard.get(workflow_id, []).count(word)
        if answers["signal_seq", seq]:
            assert arrived == (0 if seq in failed else 1), (stored.run, workflow_id, seq)
    for workflow_id, words in heard.items():
        mine = [word for other, word in sent.values() if other == workflow_id]
        assert [word for word in mine if word in words] == [w for w in words if w in mine], mine


def _heard(contents: Contents) -> dict[str, list[bytes]]:
    """The nudges that each workflow has got, run by run."""
    return {
        workflow_id: [
            event.signal_received.payload.data
            for run in runs
            for event in own_events(contents.runs[run.run_id], contents)
            if event.signal_received.signal_name == nudge.name
        ]
        for workflow_id, runs in by_workflow(contents).items()
    }


def _require_next(run: Run, seq: int, closed: dict[int, bool]) -> None:
    assert seq == len(closed) + 1, (run, seq)
