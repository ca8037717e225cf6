"""A workflow of the simulation that is asked to book, and what must hold for updates and records.

Of the numbers that it is asked to enter, it refuses some. When a page is full, it goes on as new.
"""

from __future__ import annotations

import random as global_random
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from random import Random
from typing import Any

import msgspec

from perdure import (
    ApplicationError,
    RetryPolicy,
    SearchAttributeKey,
    activity,
    query,
    signal,
    update,
    workflow,
)
from perdure.errors import (
    RunClosedError,
    UpdateRejectedError,
    WorkflowAlreadyExistsError,
    WorkflowClosedError,
    WorkflowNotFoundError,
)
from perdure.v1.history_pb2 import HistoryEvent
from perdure.v1.interaction_pb2 import UpdateWorkflowRequest
from perdure.v1.payload_pb2 import Payload
from perdure.v1.search_attributes_pb2 import SearchAttributes
from perdure.v1.workflow_service_pb2 import StartWorkflowRequest, UpdateWithStartRequest
from tests.simulation.lineage import by_workflow, events_of, own_events, resets
from tests.support.model_contents import Contents, StoredRun
from tests.support.sim_client import Promises, SimClient
from tests.support.virtual_loop import pause

notes = signal("note", int)
ENTRIES = SearchAttributeKey.int("entries")
LOT = SearchAttributeKey.double("lot")
_PAGE = 2
_REFUSED = 4
"""Of five numbers the last is refused."""


def _lot() -> float:
    """Another number each time it is asked for."""
    return global_random.random()


def is_refused(number: int) -> bool:
    """Whether an account does not take a number."""
    return number % 5 == _REFUSED


@activity(
    retry=RetryPolicy(initial_interval=timedelta(seconds=0.2), max_attempts=0),
    start_to_close=timedelta(seconds=20),
)
async def enter(seconds: float) -> int:
    """Takes a while."""
    await pause(seconds)
    return activity.info().attempt


async def paperwork(random: Random) -> int:
    """A part of a program made of chance: what is recorded and changes nothing else."""
    lot = workflow.side_effect(_lot)
    if workflow.patched(f"change {random.randrange(3)}"):
        workflow.upsert_search_attributes({LOT: lot})
    await enter(0.05)
    workflow.upsert_search_attributes({ENTRIES: random.choice([None, random.randrange(9)])})
    assert workflow.search_attributes().get("lot", lot) is not None
    return 1


@workflow
class Account:
    """Enters each number that it is asked to; takes one note a page."""

    def __init__(self, book: Any) -> None:
        is_new = isinstance(book, int)
        self.pages: int = book if is_new else book["pages"]
        self.entries: list[int] = [] if is_new else book["entries"]
        self.notes: list[int] = [] if is_new else book["notes"]

    async def run(self, _book: Any) -> dict[str, Any]:
        lot = workflow.side_effect(_lot)
        full = len(self.entries) + _PAGE
        workflow.upsert_search_attributes({ENTRIES: len(self.entries), LOT: lot})
        with suppress(TimeoutError):
            await workflow.wait_condition(lambda: len(self.entries) >= full, timeout=4)
        with suppress(TimeoutError):
            self.notes.append(await notes.wait(timeout=0.2))
        if self.pages:
            book = {"pages": self.pages - 1, "entries": self.entries, "notes": self.notes}
            workflow.continue_as_new(book)
        return {"entries": self.entries, "notes": self.notes, "lot": lot}

    @update
    async def book(self, number: int) -> int:
        if number % 2:
            await enter(0.1)
        self.entries.append(number)
        return number

    @book.validator
    def check(self, number: int) -> None:
        if is_refused(number):
            raise ApplicationError("not this one", type="Refused")

    @query
    def count(self) -> int:
        return len(self.entries)


class Accountant:
    """A client that asks an account to enter one number after another."""

    def __init__(
        self,
        random: Random,
        clients: Sequence[SimClient],
        contents: Contents,
        start: StartWorkflowRequest,
    ) -> None:
        self._random = random
        self._clients = clients
        self._contents = contents
        self._start = start

    async def work(self) -> None:
        """Asks for what it wants; the account may not be there yet, or no longer."""
        random = self._random
        for number in range(random.randrange(2, 9)):
            await pause(random.choice([0.0, 0.3, 2.0]))
            with suppress(
                RunClosedError,
                UpdateRejectedError,
                WorkflowAlreadyExistsError,
                WorkflowClosedError,
                WorkflowNotFoundError,
            ):
                await self._ask(number)

    async def _ask(self, number: int) -> None:
        client = self._random.choice(self._clients)
        if self._random.random() < 0.1:
            joint = UpdateWithStartRequest(
                start=self._start, update_name="book", input=Payload(data=str(number).encode())
            )
            joint.start.request_id = f"book-{number}"
            joint.wait.FromSeconds(10)
            self._require_on_disk(await client.ask("update_with_start", joint))
            return
        request = UpdateWorkflowRequest(
            workflow_id=self._start.workflow_id,
            update_name="book",
            input=Payload(data=str(number).encode()),
            request_id=f"book-{number}",
        )
        for wait_s in self._random.choice([[0, 10], [10], [10, 10], [1]]):
            request.wait.FromSeconds(wait_s)
            asked = UpdateWorkflowRequest()
            asked.CopyFrom(request)
            self._require_on_disk(await client.ask("update", asked))

    def _require_on_disk(self, told: Any) -> None:
        rows = self._contents.runs[told.run_id].history
        assert len(rows) >= told.event_seq, "an update was taken and is not on disk"
        outcome = self._contents.runs[told.run_id].updates[told.event_seq].outcome
        assert outcome or not told.completed, "an update was answered and is not on disk"


def check_updates(stored: StoredRun, events: list[HistoryEvent]) -> None:
    """Each update is answered at most once, and its row says the same."""
    answers: dict[int, bool] = {}
    for event in events:
        kind = event.WhichOneof("event")
        if kind == "update_requested":
            answers[event.seq] = False
        elif kind in {"update_completed", "update_rejected"}:
            seq = getattr(event, str(kind)).requested_seq
            assert answers[seq] is False, (stored.run, seq)
            answers[seq] = True
    is_closed = stored.run.status.is_closed
    for seq, row in stored.updates.items():
        assert bool(row.outcome) == (answers[seq] or is_closed), (stored.run, row)
    is_open = {seq for seq, answered in answers.items() if not answered}
    assert is_open <= set(stored.updates), (stored.run, is_open)


def check_attributes(stored: StoredRun, events: list[HistoryEvent]) -> None:
    """A run is found by what its start and its code have set, and by nothing else."""
    found = SearchAttributes()
    for event in events:
        if event.HasField("workflow_started"):
            found.MergeFrom(event.workflow_started.search_attributes)
        for name, value in event.search_attributes_upserted.patch.values.items():
            found.values.pop(name, None)
            if value.WhichOneof("value"):
                found.values[name].CopyFrom(value)
    assert SearchAttributes.FromString(stored.run.attributes) == found, stored.run


def check_accounts(promises: Promises, contents: Contents) -> None:
    """Each number that was asked for is booked once, or not at all, and its caller was told so."""
    for workflow_id, runs in by_workflow(contents).items():
        if runs[0].workflow_type == "Account":
            check_account([contents.runs[run.run_id] for run in runs], contents)
            check_callers(workflow_id, promises, contents)


def check_account(chain: list[StoredRun], contents: Contents) -> None:
    """A number was asked for once; what was answered, and no more, stands in the book."""
    asked = [
        int(event.update_requested.input.data)
        for stored in chain
        for event in own_events(stored, contents)
        if event.HasField("update_requested")
    ]
    assert len(set(asked)) == len(asked), (chain[0].run, asked)
    closing = events_of(chain[-1])[-1]
    if not closing.HasField("workflow_completed") or not _is_plain(chain):
        return
    book = _json(closing.workflow_completed.result.data)
    events = [event for stored in chain for event in own_events(stored, contents)]
    done = [event.update_completed for event in events if event.HasField("update_completed")]
    assert book["entries"] == [int(each.result.data) for each in done], (chain[0].run, book)
    told = [
        int(event.signal_received.payload.data)
        for event in events
        if event.signal_received.signal_name == "note"
    ]
    left = len(
        [
            each
            for each in closing.workflow_completed.unhandled_signals
            if each.signal_name == "note"
        ]
    )
    assert book["notes"] == told[: len(told) - left], (chain[0].run, book, told)
    lots = [event.side_effect_recorded for event in events_of(chain[-1])]
    assert book["lot"] in [_json(each.value.data) for each in lots if each.HasField("value")]


def check_callers(workflow_id: str, promises: Promises, contents: Contents) -> None:
    """What callers were told of their updates is what stands there."""
    for kind, request, answer in promises.answered:
        asked: Any = request
        told: Any = answer
        if kind not in {"update", "update_with_start"} or _workflow_id(asked) != workflow_id:
            continue
        events = events_of(contents.runs[told.run_id])
        requested = events[told.event_seq - 1].update_requested
        assert requested.input == asked.input, (asked, requested)
        if told.completed:
            done = [
                event.update_completed
                for event in events
                if event.update_completed.requested_seq == told.event_seq
            ]
            assert [each.result for each in done] == [told.result], (told, done)
            assert told.result.data == asked.input.data, (told, asked)
            assert not is_refused(int(asked.input.data)), told
    for kind, request, reason in promises.refused:
        asked = request
        if kind in {"update", "update_with_start"} and _workflow_id(asked) == workflow_id:
            check_refusal(asked, reason, contents)


def check_refusal(asked: Any, reason: str, contents: Contents) -> None:
    """An update that was refused is in the history, as refused or as never answered."""
    runs = by_workflow(contents)[_workflow_id(asked)]
    outcomes: list[str] = []
    for run in runs:
        events = list(own_events(contents.runs[run.run_id], contents))
        requested = [each.seq for each in events if each.update_requested.input == asked.input]
        for seq in requested:
            outcomes += [
                str(event.WhichOneof("event"))
                for event in events
                if seq
                in {event.update_completed.requested_seq, event.update_rejected.requested_seq}
            ]
    if reason == "UPDATE_REJECTED":
        assert outcomes == ["update_rejected"], (asked, outcomes)
    elif reason == "RUN_CLOSED":
        assert outcomes == [], (asked, outcomes)


def _workflow_id(asked: Any) -> str:
    if isinstance(asked, UpdateWithStartRequest):
        return asked.start.workflow_id
    found: str = asked.workflow_id
    return found


def _is_plain(chain: list[StoredRun]) -> bool:
    """Whether a chain went on by its code alone."""
    closings = [events_of(stored)[-1] for stored in chain[:-1]]
    by_code = [
        event.HasField("workflow_continued_as_new") and not event.workflow_continued_as_new.external
        for event in closings
    ]
    return all(by_code) and not any(resets(events_of(stored)) for stored in chain)


def _json(data: bytes) -> Any:
    return msgspec.json.decode(data)
