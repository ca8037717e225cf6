"""Owns the use cases of single activities: scheduling from outside, reading, what operators do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from google.protobuf.message import Message

from perdure.v1 import workflow_service_pb2 as pb
from perdure.v1.activity_pb2 import Activity as ActivityInfo
from perdure_server.core import decide, operations
from perdure_server.core.draft import Draft
from perdure_server.core.errors import (
    ActivityNotFound,
    InvalidTaskToken,
    WorkflowClosed,
)
from perdure_server.core.frames import parse_frame
from perdure_server.core.model import Activity as Row
from perdure_server.core.model import Run, Task, TaskKind
from perdure_server.core.state import RunState
from perdure_server.core.token import TaskToken
from perdure_server.engine.asks import Asks
from perdure_server.engine.histories import history_pages
from perdure_server.engine.ports import Clock
from perdure_server.engine.records import (
    ActivityStory,
    WaitingReason,
    ended_activity,
    pending_activity,
)
from perdure_server.engine.requests import (
    RequestKey,
    first_answer,
    in_namespace,
    missing,
    number_key,
    request_key,
)
from perdure_server.engine.roster import Roster
from perdure_server.engine.runs import Runs
from perdure_server.engine.stimuli import answer_as
from perdure_server.store.contract import Store

_RPC = "ScheduleActivity"

R = TypeVar("R")
A = TypeVar("A", bound=Message)
_Seen = tuple[Run, ActivityInfo | None]


class Activities:
    """Schedules activities from outside, shows activities of both kinds, and changes them."""

    def __init__(
        self, store: Store, runs: Runs, *, asks: Asks, roster: Roster, clock: Clock
    ) -> None:
        self._asks = asks
        self._store = store
        self._runs = runs
        self._roster = roster
        self._clock = clock

    async def schedule(self, request: pb.ScheduleActivityRequest) -> pb.ScheduleActivityResponse:
        """Schedules an activity, once for each number.

        Raises WorkflowNotFound, WorkflowClosed and RequestIdReused.
        """
        key = request_key(_RPC, in_namespace(request))
        run_id = await self._find(request)
        try:
            return await self._schedule(run_id, request, key)
        except WorkflowClosed:
            latest = await self._find(request)
            if latest == run_id:
                raise
        # Another run followed while this one was asked.
        return await self._schedule(latest, request, key)

    async def get(self, request: pb.GetActivityRequest) -> pb.GetActivityResponse:
        """Returns an activity, by the id of any of its attempts.

        Raises ActivityNotFound and InvalidTaskToken.
        """
        token = TaskToken.decode(request.activity_id, "activity_id")
        if token.kind is not TaskKind.ACTIVITY:
            raise InvalidTaskToken("is the token of a workflow task", "activity_id")
        seen = await self._roster.explain(partial(self._look, token))
        if seen is not None:
            run, info = seen
            info = info or await self._ended(run, token)
            if info is not None:
                return pb.GetActivityResponse(activity=info)
        raise ActivityNotFound(f"there is no activity {request.activity_id!r}")

    async def pause(self, request: pb.PauseActivityRequest) -> pb.PauseActivityResponse:
        """Keeps further attempts from workers."""
        return await self._operate(request, operations.pause, pb.PauseActivityResponse)

    async def unpause(self, request: pb.UnpauseActivityRequest) -> pb.UnpauseActivityResponse:
        """Lets a paused activity go on."""
        return await self._operate(request, operations.unpause, pb.UnpauseActivityResponse)

    async def reset(self, request: pb.ResetActivityRequest) -> pb.ResetActivityResponse:
        """Counts attempts anew."""
        return await self._operate(request, operations.reset, pb.ResetActivityResponse)

    async def update_options(
        self, request: pb.UpdateActivityOptionsRequest
    ) -> pb.UpdateActivityOptionsResponse:
        """Changes options."""
        change = operations.update_options
        return await self._operate(request, change, pb.UpdateActivityOptionsResponse)

    async def _operate(
        self, request: R, operation: Callable[[Draft, R, int], Row], kind: type[A]
    ) -> A:
        """Does something to a pending activity, and answers with it as it stands then."""

        def decision(draft: Draft, now_us: int) -> Any:
            row = operation(draft, request, now_us)
            task = draft.task(TaskKind.ACTIVITY, row.seq)
            info = pending_activity(draft.run, row, task, reason=_not_known_yet, now_us=now_us)
            answer: Any = kind()
            answer.activity.CopyFrom(info)
            return answer

        answer: A = await self._asks.ask(request, decision, kind=kind)
        return answer

    async def _schedule(
        self, run_id: str, request: pb.ScheduleActivityRequest, key: RequestKey | None
    ) -> pb.ScheduleActivityResponse:
        once = [number_key(request.namespace, request.workflow_id, run_id, seq=request.seq)]

        def decision(draft: Draft, now_us: int) -> pb.ScheduleActivityResponse:
            row = decide.decide_schedule_activity(draft, request, now_us)
            task = draft.task(TaskKind.ACTIVITY, row.seq)
            info = pending_activity(draft.run, row, task, reason=_not_known_yet, now_us=now_us)
            return pb.ScheduleActivityResponse(activity=info)

        try:
            answer: Any = await self._runs.ask(run_id, decision, key, once=once)
        except WorkflowClosed:
            answer = await first_answer(self._store, [key, *once] if key else once)
            if answer is None:
                raise
        response: pb.ScheduleActivityResponse = answer_as(pb.ScheduleActivityResponse, answer)
        if response.HasField("activity"):
            return response
        return await self._standing(run_id, request.seq, key)

    async def _standing(
        self, run_id: str, seq: int, key: RequestKey | None
    ) -> pb.ScheduleActivityResponse:
        """Returns the activity of a number that was taken before, whoever took it."""
        token = TaskToken(run_id, TaskKind.ACTIVITY, -seq, 1, lease=0)
        got = await self.get(pb.GetActivityRequest(activity_id=token.encode()))
        response = pb.ScheduleActivityResponse(activity=got.activity)
        if key is None:
            return response
        # From now on this is what the request is answered with.
        answer: Any = await self._runs.ask(run_id, lambda _draft, _now_us: response, key)
        first: pb.ScheduleActivityResponse = answer_as(pb.ScheduleActivityResponse, answer)
        return first

    async def _find(self, request: pb.ScheduleActivityRequest) -> str:
        run_id = await self._store.find_run(
            request.namespace, request.workflow_id, request.run_id or None
        )
        if run_id is None:
            raise missing(request)
        return run_id

    async def _look(self, token: TaskToken, reason: WaitingReason) -> _Seen | None:
        """Returns the run, and the activity if it is pending; None when there is no such run."""
        found: asyncio.Future[_Seen | None] = asyncio.get_running_loop().create_future()

        def visit(state: RunState | None) -> None:
            if not found.done():
                found.set_result(
                    None if state is None else (state.run, self._show(state, token, reason))
                )

        self._runs.look(token.run_id, visit)
        return await found

    def _show(
        self, state: RunState, token: TaskToken, reason: WaitingReason
    ) -> ActivityInfo | None:
        row = state.activities.get(token.seq)
        if row is None:
            return None
        return pending_activity(
            state.run,
            row,
            state.tasks.get((TaskKind.ACTIVITY, token.seq)),
            reason=reason,
            now_us=self._clock.now_us(),
        )

    async def _ended(self, run: Run, token: TaskToken) -> ActivityInfo | None:
        """Returns an activity that was not pending in this run, as its history tells."""
        if not await self._was_scheduled(run, token.seq):
            return None
        story = ActivityStory()
        async for rows in history_pages(self._store, run.run_id):
            for row in rows:
                if row.kind.startswith("activity_"):
                    story.read(parse_frame(row.frame), row.kind, token.seq)
            if story.end is not None:
                break
        return ended_activity(run, story, token.encode())

    async def _was_scheduled(self, run: Run, seq: int) -> bool:
        """Whether a run has had an activity of this number, without reading its history."""
        if seq >= 0:
            return 0 < seq <= run.activity_seq_max
        key = number_key(run.namespace, run.workflow_id, run.run_id, seq=-seq)
        return await first_answer(self._store, [key]) is not None


def _not_known_yet(_task: Task) -> str:
    """A worker may get the task in the commit that schedules it."""
    return ""
