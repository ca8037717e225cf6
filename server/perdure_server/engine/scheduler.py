"""Owns the serving of schedules: at the exact instant, and when a workflow that one waits for ends.

The database is the truth: whoever serves a schedule reads it and how its workflows stand, decides,
and commits the schedule with the runs that it starts. Two servers that serve one at once start
nothing twice: the second is refused by the version, and by the workflow's id. What is held in
memory only says when to look again, and is found again from the store.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, Final

from perdure.v1.workflow_service_pb2 import CancelWorkflowRequest
from perdure_server.core import decide, limits
from perdure_server.core.changeset import Changeset, ScheduleChange
from perdure_server.core.draft import Draft
from perdure_server.core.errors import (
    DomainError,
    RunContended,
    StaleVersion,
    StoreError,
    WorkflowAlreadyExists,
    WorkflowClosed,
    WorkflowNotFound,
)
from perdure_server.core.model import RequestRecord, Run, ScheduleKey, ScheduleRow
from perdure_server.core.schedule import Turn, record_of
from perdure_server.core.start import Occasion
from perdure_server.engine.alarms import Alarms
from perdure_server.engine.background import Background
from perdure_server.engine.calendar import Calendar
from perdure_server.engine.committer import Committer, Outcome
from perdure_server.engine.ports import Clock
from perdure_server.engine.runs import Runs
from perdure_server.engine.stimuli import Stimulus
from perdure_server.store.contract import LatestRun, Store

_log = logging.getLogger(__name__)

_RETRY_US: Final = limits.SECOND_US
_LANES_MAX: Final = 2
"""Groups served at once: one is read and decided while the other is being committed."""
_BROKEN_US: Final = 60 * limits.SECOND_US
"""How soon a schedule that cannot be understood any more is looked at again."""

Latest = Mapping[tuple[str, str], LatestRun]


@dataclass(slots=True, frozen=True)
class _Watched:
    """What a schedule waits for: workflows that have to end, and their runs as far as known."""

    workflows: set[tuple[str, str]]
    run_ids: set[str]


class Scheduler:
    """Serves the schedules of a store."""

    def __init__(
        self,
        store: Store,
        runs: Runs,
        committer: Committer,
        *,
        clock: Clock,
        background: Background,
    ) -> None:
        self.calendar = Calendar()
        self._store = store
        self._runs = runs
        self._committer = committer
        self._clock = clock
        self._background = background
        self._alarms = Alarms[ScheduleKey](clock, lambda key, _due: self.look(key))
        self._window = Alarms[str](clock, lambda _key, _due: self._load())
        self._last: ScheduleRow | None = None
        """The last schedule of the window; None when the window has all."""
        self._filling = False
        self._ready: dict[ScheduleKey, None] = {}
        self._serving: set[ScheduleKey] = set()
        self._lanes = 0
        """How many groups are being served."""
        self._watched: dict[ScheduleKey, _Watched] = {}
        self._waiting: dict[tuple[str, str], ScheduleKey] = {}
        self._waiting_by_run: dict[str, ScheduleKey] = {}

    async def rebuild(self) -> None:
        """Takes up what the store holds, also what another server left. Raises StoreUnavailable."""
        self._last = None
        await self._fill()
        await self.audit()

    def close(self) -> None:
        """Serves nothing more."""
        self._alarms.close()
        self._window.close()

    def next_us(self) -> int | None:
        """Returns the earliest instant at which a schedule is served."""
        return self._alarms.next_us()

    def look(self, key: ScheduleKey) -> None:
        """Serves a schedule now, if there is anything to do."""
        self._ready[key] = None
        if self._lanes < _LANES_MAX:
            self._lanes += 1
            self._background.spawn(self._serve_all(), "serve schedules")

    def closed(self, run: Run) -> None:
        """Notes that a run has closed here."""
        key = self._waiting.get((run.namespace, run.workflow_id))
        if key is not None:
            self.look(key)

    def foreign(self, closed: Iterable[str] | None) -> None:
        """Notes that runs have closed on other servers, or with None, that any may have."""
        for run_id in list(self._waiting_by_run) if closed is None else closed:
            key = self._waiting_by_run.get(run_id)
            if key is not None:
                self.look(key)

    async def sweep(self, before_us: int) -> None:
        """Serves what some server should have served before an instant."""
        found = await self._store.due_schedules(after=None, limit=limits.SCHEDULES_AT_ONCE)
        for row in found:
            if row.serve_at_us is not None and row.serve_at_us <= before_us:
                self.look(row.key)

    async def audit(self) -> None:
        """Looks at the schedules that wait for a workflow and are not watched here."""
        after: ScheduleKey | None = None
        while True:
            found = await self._store.waiting_schedules(after=after, limit=limits.SCHEDULES_AT_ONCE)
            for row in found:
                if row.key not in self._watched:
                    self.look(row.key)
            if len(found) < limits.SCHEDULES_AT_ONCE:
                return
            after = found[-1].key

    def turn(self, row: ScheduleRow, **asked: Any) -> Turn:
        """Returns a turn of a schedule. Raises InvalidSchedule."""
        times = self.calendar.due_times_of(record_of(row))
        return Turn(row, times, now_us=self._clock.now_us(), **asked)

    async def latest(self, turns: Iterable[Turn]) -> Latest:
        """Returns how the workflows stand that turns need to know of. Raises StoreUnavailable."""
        wanted = {
            (turn.schedule.namespace, workflow_id): None
            for turn in turns
            for workflow_id in turn.workflow_ids()
        }
        return await self._store.latest_runs(list(wanted)) if wanted else {}

    def drafts(self, turn: Turn) -> list[Draft]:
        """Returns the runs that a decided turn starts, in the order of its starts."""
        made: list[Draft] = []
        for due_us in turn.starts:
            draft = decide.decide_start(
                turn.start_request(due_us),
                new=self._runs.next_run(),
                generation=1,
                now_us=self._clock.now_us(),
                occasion=Occasion(turn.schedule.name, due_us),
            )
            made.append(draft)
        return made

    async def commit_turn(
        self,
        turn: Turn,
        latest: Latest,
        drafts: Sequence[Draft],
        requests: Sequence[RequestRecord] = (),
    ) -> None:
        """Commits a turn with the runs that it starts, then does what follows from it.

        Raises StaleVersion, WorkflowAlreadyExists, RequestRecorded and StoreError.
        """
        row = turn.row
        also = Changeset(
            requests=list(requests), schedules=[ScheduleChange(row, turn.before.version)]
        )
        run_ids = {(each.run.namespace, each.run.workflow_id): each.run.run_id for each in drafts}
        known = {key: run.run_id for key, run in latest.items()} | run_ids
        follow = partial(self._follow, turn, row, known)
        if drafts:
            await self._create(drafts, also, follow)
        else:
            await self._submit(also, follow)

    async def commit_row(
        self, change: ScheduleChange, requests: Sequence[RequestRecord] = ()
    ) -> None:
        """Commits what somebody made of a schedule. Raises as `commit_turn`."""
        changeset = Changeset(requests=list(requests), schedules=[change])
        await self._submit(changeset, partial(self._changed, change))

    def _changed(self, change: ScheduleChange) -> None:
        if change.deletes:
            self._forget(change.row.key)
        else:
            self._note(change.row, {})
            if change.row.waits:
                self.look(change.row.key)

    async def _submit(self, changeset: Changeset, follow: Callable[[], None]) -> None:
        """Commits; `follow` is called when that stands, even if whoever asked for it has left."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done(outcome: Outcome) -> None:
            if isinstance(outcome, Exception):
                _settle(future, outcome)
                return
            try:
                follow()
            finally:
                _settle(future)

        self._committer.submit(changeset, done)
        await future

    async def _create(
        self, drafts: Sequence[Draft], also: Changeset, follow: Callable[[], None]
    ) -> None:
        """Does the same with runs that begin."""
        first, *others = drafts
        for draft in others:
            draft.settle(self._clock.now_us(), self._runs.next_run())
        first.next_runs.extend(others)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def created(_answer: Any) -> None:
            try:
                follow()
            finally:
                _settle(future)

        stimulus = Stimulus(lambda _draft, _now_us: None, created, partial(_settle, future))
        self._runs.create(first, stimulus, also)
        await future

    async def _serve_all(self) -> None:
        try:
            while keys := self._next_keys():
                self._serving.update(keys)
                try:
                    await self._serve(keys)
                except Exception:  # noqa: BLE001 - else none of them would be served again
                    _log.exception("schedules could not be served, trying again")
                    self._again(keys, _BROKEN_US)
                finally:
                    self._serving.difference_update(keys)
        finally:
            self._lanes -= 1

    def _next_keys(self) -> list[ScheduleKey]:
        """Returns a group to be served; what is being served stays for whoever does that."""
        free = (key for key in self._ready if key not in self._serving)
        keys = list(islice(free, limits.SCHEDULES_AT_ONCE))
        for key in keys:
            del self._ready[key]
        return keys

    async def _serve(self, keys: Sequence[ScheduleKey]) -> None:
        turns: list[Turn] = []
        try:
            rows = await self._store.load_schedules(keys)
            for row in rows:
                self._begin(row, turns)
            latest = await self.latest(turns)
        except DomainError as error:
            _log.warning("schedules could not be read, trying again: %s", error)
            self._again(keys, _RETRY_US)
            return
        for key in set(keys) - {row.key for row in rows}:
            self._forget(key)
        await asyncio.gather(*(self._take(turn, latest) for turn in turns))

    def _begin(self, row: ScheduleRow, turns: list[Turn]) -> None:
        try:
            turns.append(self.turn(row))
        except DomainError as error:
            # What was valid when it came may not be on this server, or with other time zones.
            _log.error("the schedule %s cannot be served: %s", row.name, error)
            self._again([row.key], _BROKEN_US)

    async def _take(self, turn: Turn, latest: Latest) -> None:
        key = turn.before.key
        try:
            turn.decide(statuses_of(turn, latest))
            if turn.changed:
                await self.commit_turn(turn, latest, self.drafts(turn))
            else:
                self._follow(turn, turn.before, {each: r.run_id for each, r in latest.items()})
        except (StaleVersion, WorkflowAlreadyExists):
            self.look(key)
        except (StoreError, RunContended):
            self._again([key], _RETRY_US)
        except Exception:  # noqa: BLE001 - one schedule must not take the others along
            _log.exception("the schedule %s could not be served", key[1])
            self._again([key], _BROKEN_US)

    def _follow(self, turn: Turn, row: ScheduleRow, run_ids: Mapping[tuple[str, str], str]) -> None:
        """Sets the alarm, watches what the schedule waits for, and ends whom it has to end."""
        self._note(row, run_ids)
        if turn.again:
            self.look(row.key)
        workflow_ids, by_force = turn.others()
        for workflow_id in workflow_ids:
            run_id = run_ids.get((row.namespace, workflow_id))
            if run_id is not None:
                job = self._end(row.key, run_id, by_force=by_force)
                self._background.spawn(job, f"end {workflow_id}")

    def _note(self, row: ScheduleRow, run_ids: Mapping[tuple[str, str], str]) -> None:
        if row.serve_at_us is None:
            self._alarms.clear(row.key)
        elif self._filling or self._last is None or row.serve_at_us <= _instant(self._last):
            self._alarms.set(row.key, row.serve_at_us)
        before = self._unwatch(row.key)
        if not row.waits:
            return
        workflows = {(row.namespace, each) for each in record_of(row).running}
        watched = _Watched(workflows, {run_ids[each] for each in workflows if each in run_ids})
        self._watched[row.key] = watched
        self._waiting.update(dict.fromkeys(watched.workflows, row.key))
        self._waiting_by_run.update(dict.fromkeys(watched.run_ids, row.key))
        if before is None or not (workflows and before.run_ids >= watched.run_ids):
            # What ended before it was watched is seen by looking once more.
            self.look(row.key)

    def _unwatch(self, key: ScheduleKey) -> _Watched | None:
        watched = self._watched.pop(key, None)
        if watched is not None:
            for workflow in watched.workflows:
                self._waiting.pop(workflow, None)
            for run_id in watched.run_ids:
                self._waiting_by_run.pop(run_id, None)
        return watched

    def _forget(self, key: ScheduleKey) -> None:
        self._alarms.clear(key)
        self._unwatch(key)

    def _again(self, keys: Iterable[ScheduleKey], after_us: int) -> None:
        for key in keys:
            self._alarms.set(key, self._clock.now_us() + after_us)

    async def _end(self, key: ScheduleKey, run_id: str, *, by_force: bool) -> None:
        """Asks a run to end, or ends it, for one that waits; it has then closed or will."""
        reason = f"the schedule {key[1]!r} starts another workflow"

        def decision(draft: Draft, now_us: int) -> None:
            if by_force:
                decide.decide_terminate(draft, reason, now_us)
            else:
                decide.decide_cancel(draft, CancelWorkflowRequest(reason=reason), now_us)

        try:
            await self._runs.ask(run_id, decision)
        except (WorkflowNotFound, WorkflowClosed):
            self.look(key)
        except DomainError as error:
            _log.warning("a workflow of a schedule could not be ended, trying again: %s", error)
            self._again([key], _RETRY_US)

    def _load(self) -> None:
        self._background.spawn(self._refill(), "load schedules")

    async def _refill(self) -> None:
        try:
            await self._fill()
        except DomainError as error:
            _log.warning("schedules could not be loaded, trying again: %s", error)
            self._window.set("window", self._clock.now_us() + _RETRY_US)

    async def _fill(self) -> None:
        self._filling = True
        try:
            found = await self._store.due_schedules(after=self._last, limit=limits.SCHEDULE_WINDOW)
        finally:
            self._filling = False
        self._last = found[-1] if len(found) == limits.SCHEDULE_WINDOW else None
        for row in found:
            self._alarms.set(row.key, _instant(row))
        if self._last is not None:
            self._window.set("window", _instant(self._last))


def statuses_of(turn: Turn, latest: Latest) -> dict[str, Any]:
    """Returns the status of each workflow that a turn needs to know of."""
    namespace = turn.schedule.namespace
    found = {each: latest.get((namespace, each)) for each in turn.workflow_ids()}
    return {each: run.status for each, run in found.items() if run is not None}


def _instant(row: ScheduleRow) -> int:
    assert row.serve_at_us is not None
    return row.serve_at_us


def _settle(future: asyncio.Future[None], error: Exception | None = None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
