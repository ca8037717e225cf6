"""What operators do to the workflows of a world, and what must hold for it.

Whoever pauses lets go again. What stays paused nevertheless, because it was begun again as it was
then, a caretaker lets go once nothing breaks any more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from random import Random
from typing import Any

from perdure.errors import (
    ActivityNotFoundError,
    CannotResetError,
    InvalidRequestError,
    WorkflowClosedError,
    WorkflowNotFailedError,
    WorkflowNotFoundError,
)
from perdure.v1 import workflow_service_pb2 as pb
from perdure.v1.payload_pb2 import Payload
from tests.simulation.lineage import WITHOUT_SIGNALS, by_workflow, events_of
from tests.support.model_contents import Contents, StoredRun
from tests.support.sim_client import Promises, SimClient
from tests.support.virtual_loop import pause

_CLOSED = (WorkflowClosedError, WorkflowNotFoundError)
_EVERY_S = 1.0


class Operator:
    """Somebody who looks after one workflow."""

    def __init__(
        self,
        random: Random,
        clients: Sequence[SimClient],
        contents: Contents,
        workflow_id: str,
    ) -> None:
        self._random = random
        self._clients = clients
        self._contents = contents
        self._workflow_id = workflow_id
        self._requests = 0

    async def work(self) -> None:
        """Meddles a few times."""
        works = [self._hold, self._reset, self._retry, self._continue, self._handle_activity]
        for _ in range(self._random.choice([0, 0, 1, 1, 2, 4])):
            await pause(self._random.uniform(0, 3))
            await self._random.choice(works)()

    async def _hold(self) -> None:
        request = pb.PauseWorkflowRequest(reason="let me look", identity="ann")
        with suppress(*_CLOSED):
            await self._ask("pause", request)
            for _ in range(4):
                self._look()
                await pause(self._random.random())
            await self._ask("unpause", pb.UnpauseWorkflowRequest(identity="ann"))

    def _look(self) -> None:
        for run in by_workflow(self._contents).get(self._workflow_id, []):
            check_pauses(self._contents.runs[run.run_id])

    async def _reset(self) -> None:
        runs = by_workflow(self._contents).get(self._workflow_id, [])
        last = runs[-1].history_length if runs else 0
        request = pb.ResetWorkflowRequest(
            event_seq=self._random.randint(1, last + 1),
            reason="again",
            drop_signals=self._random.random() < 0.2,
        )
        if request.drop_signals:
            request.reason += f", {WITHOUT_SIGNALS}"
        with suppress(*_CLOSED, CannotResetError, InvalidRequestError):
            await self._ask("reset", request)

    async def _retry(self) -> None:
        request = pb.RetryFailedActivityRequest(reason="it works now", requested_by="ann")
        with suppress(*_CLOSED, CannotResetError, WorkflowNotFailedError):
            await self._ask("retry", request)

    async def _continue(self) -> None:
        request = pb.ContinueAsNewRequest(input=Payload(data=b"1"))
        with suppress(*_CLOSED):
            await self._ask("continue", request)

    async def _handle_activity(self) -> None:
        seq = self._random.choice([1, 1, 2, 3, 4, 5, -1])
        kinds: dict[str, Callable[..., Any]] = {
            "pause_activity": pb.PauseActivityRequest,
            "reset_activity": pb.ResetActivityRequest,
            "activity_options": pb.UpdateActivityOptionsRequest,
        }
        kind = self._random.choice(sorted(kinds))
        request = kinds[kind](activity_seq=seq)
        if kind == "activity_options":
            request.options.retry_policy.initial_interval.FromMilliseconds(50)
            request.options.start_to_close_timeout.FromSeconds(self._random.randint(10, 30))
        with suppress(*_CLOSED, ActivityNotFoundError):
            await self._ask(kind, request)
            if kind == "pause_activity":
                self._look()
                await pause(self._random.uniform(0, 3))
                await self._ask("unpause_activity", pb.UnpauseActivityRequest(activity_seq=seq))

    async def _ask(self, kind: str, request: Any) -> None:
        self._requests += 1
        request.workflow_id = self._workflow_id
        request.request_id = self._random.choice(["", f"{kind}-{self._requests}"])
        await self._random.choice(self._clients).ask(kind, request)


async def let_go(client: SimClient, contents: Contents) -> None:
    """Lets everything go on that is still held back; runs until cancelled."""
    while True:
        await pause(_EVERY_S)
        for run_id, stored in sorted(contents.runs.items()):
            names = {"workflow_id": stored.run.workflow_id, "run_id": run_id}
            with suppress(*_CLOSED):
                if stored.run.status == "PAUSED":
                    await client.ask("unpause", pb.UnpauseWorkflowRequest(**names))
            for seq in [row.seq for row in stored.activities.values() if row.paused]:
                request = pb.UnpauseActivityRequest(**names, activity_seq=seq)
                with suppress(*_CLOSED, ActivityNotFoundError):
                    await client.ask("unpause_activity", request)


def check_pauses(stored: StoredRun) -> None:
    """No worker can take what is paused."""
    for (kind, seq), task in stored.tasks.items():
        is_paused = kind == "activity" and stored.activities[seq].paused
        if is_paused or stored.run.status == "PAUSED":
            assert task.session_id is not None, (stored.run, task)
    assert bool(stored.run.pause) == (stored.run.status == "PAUSED") or stored.run.status.is_closed


def check_operations(promises: Promises, contents: Contents) -> None:
    """What operators were told is what stands there."""
    for kind, request, answer in promises.answered:
        asked: Any = request
        told: Any = answer
        if kind in {"reset", "retry"}:
            marks = [event.workflow_reset for event in events_of(contents.runs[told.run_id])]
            mark = [each for each in marks if each.from_run_id][-1]
            assert mark.reason == asked.reason, told
            assert kind == "retry" or mark.event_seq == asked.event_seq, (asked, mark)
        elif kind == "continue":
            before = contents.runs[contents.runs[told.run_id].run.previous_run_id]
            closing = events_of(before)[-1].workflow_continued_as_new
            assert closing.external, told
            assert closing.new_run_id == told.run_id, told
        elif kind == "pause":
            runs = by_workflow(contents)[asked.workflow_id]
            kinds = {row.kind for run in runs for row in contents.runs[run.run_id].history}
            assert "workflow_paused" in kinds, told
