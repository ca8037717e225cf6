"""Owns the engine as a whole: what is built from what, and in which order it starts and stops."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, cast

from perdure_server.core import decide
from perdure_server.core.changeset import RunChange
from perdure_server.core.draft import Draft
from perdure_server.core.errors import DomainError, ShuttingDown
from perdure_server.core.model import Message, Run, Timer
from perdure_server.engine.aftermath import Aftermath
from perdure_server.engine.alarms import Alarms
from perdure_server.engine.background import Background
from perdure_server.engine.cluster import Cluster, Parts
from perdure_server.engine.committer import Committer
from perdure_server.engine.dispatch import Dispatcher, Visit
from perdure_server.engine.errands import Errands
from perdure_server.engine.feeder import Feeder
from perdure_server.engine.heartbeats import Heartbeats
from perdure_server.engine.hub import Hub
from perdure_server.engine.inbox import Inbox
from perdure_server.engine.keys import Keys
from perdure_server.engine.lanes import Lanes
from perdure_server.engine.namespaces import Namespaces
from perdure_server.engine.outcomes import Outcomes
from perdure_server.engine.peers import Peers
from perdure_server.engine.polls import Polls
from perdure_server.engine.ports import Clock, Ids
from perdure_server.engine.presence import Presence
from perdure_server.engine.queries import Queries
from perdure_server.engine.questions import Questions
from perdure_server.engine.queues import Queues
from perdure_server.engine.reports import Reports
from perdure_server.engine.results import Results
from perdure_server.engine.retention import Retention
from perdure_server.engine.roster import Roster
from perdure_server.engine.runs import Runs
from perdure_server.engine.scheduler import Scheduler
from perdure_server.engine.schedules import Schedules
from perdure_server.engine.session import Held, TaskKey
from perdure_server.engine.sessions import Sessions
from perdure_server.engine.standing import Standing
from perdure_server.engine.starts import Starts
from perdure_server.engine.stimuli import Stimulus, may_pass
from perdure_server.engine.timers import DueTimer, Timers
from perdure_server.engine.watches import Watches
from perdure_server.engine.words import Words
from perdure_server.engine.work import WorkStreams
from perdure_server.engine.workers import Workers
from perdure_server.engine.workflows import Workflows
from perdure_server.store.contract import Position, Store
from perdure_server.store.shared import SharedStore, is_shared

_log = logging.getLogger(__name__)

_RETRY_US = 1_000_000
"""How soon what the engine does by itself is tried again after the store refused it."""


class Engine:
    """Runs workflows over a store that is open. `start` once, then `drain` and `stop` once.

    `workers_return` says whether workers of an earlier process may still live: then their leases
    stand for 10 seconds. Workers that lived in the engine's own process died with it.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        ids: Ids,
        *,
        workers_return: bool = True,
        set_time: Callable[[int], None] = lambda _now_us: None,
    ) -> None:
        self._workers_return = workers_return
        shared = cast("SharedStore", store) if is_shared(store) else None
        self._store = store
        self._clock = clock
        self._background = Background()
        self._hub = Hub()
        self._results = results = Results()
        self._outcomes = Outcomes()
        self._feeder = Feeder(store, self._hub, clock=clock, background=self._background)
        self._peers = Peers()
        self.standing = Standing()
        if shared is not None:
            self._peers = Cluster(
                shared,
                clock=clock,
                ids=ids,
                background=self._background,
                set_time=set_time,
                standing=self.standing,
                parts=self._parts,
            )
        self._committer = Committer(store, self._peers.doubt)
        self._leases = Alarms[TaskKey](clock, self._lease_due)
        self._retries = Alarms[Callable[[], None]](clock, lambda again, _due: again())
        self._timers = Timers(store, clock=clock, background=self._background, ring=self._timer_due)
        self._lanes = Lanes()
        self._dispatcher = Dispatcher(
            store,
            self._lanes,
            clock=clock,
            background=self._background,
            leases=self._leases,
            visit=self._visit,
            lose=self._task_lost,
        )
        self.sessions = Sessions(
            self._dispatcher, clock=clock, lose=self._task_lost, release=self._peers.release
        )
        aftermath = Aftermath(
            self._dispatcher,
            timers=self._timers,
            leases=self._leases,
            publish=self._hub.publish if shared is None else self._feed,
            results=results,
            outcomes=self._outcomes,
            notify=self.sessions.notify,
            send=self._deliver,
            closed=self._run_closed,
        )
        self._runs = Runs(
            store,
            self._committer,
            aftermath,
            clock=clock,
            ids=ids,
            background=self._background,
            shared=shared,
        )
        self._inbox = Inbox(
            store,
            self._runs,
            clock=clock,
            background=self._background,
            drop=self._committer.submit,
        )
        self._scheduler = Scheduler(
            store, self._runs, self._committer, clock=clock, background=self._background
        )
        self._build_doors(results, ids)

    def _build_doors(self, results: Results, ids: Ids) -> None:
        store, runs, clock, background = self._store, self._runs, self._clock, self._background
        self._heartbeats = Heartbeats(runs, clock)
        reports = Reports(
            runs,
            self._dispatcher,
            store=store,
            heartbeats=self._heartbeats,
            background=background,
        )
        self._polls = Polls(self._dispatcher, clock=clock, lose=self._task_lost, peers=self._peers)
        words = Words(store, clock=clock, background=background)
        self._presence = Presence(store, self.sessions, words, clock=clock)
        self._roster = roster = Roster(
            store,
            self.sessions,
            self._lanes,
            words=words,
            peers=self._peers,
            clock=clock,
            background=background,
        )
        server_id = ids.worker_id()
        questions = Questions(self._lanes, server_id)
        shared = cast("SharedStore", store) if is_shared(store) else None
        self._errands = (
            Errands(shared, self._peers, questions, background=background) if shared else None
        )
        self.queries = Queries(store, runs, questions, errands=self._errands)
        streams = WorkStreams(
            self.sessions,
            self._dispatcher,
            reports,
            clock=clock,
            server_id=server_id,
            peers=self._peers,
            questions=questions,
        )
        self.workers = Workers(
            store=store,
            runs=runs,
            sessions=self.sessions,
            dispatcher=self._dispatcher,
            reports=reports,
            heartbeats=self._heartbeats,
            streams=streams,
            polls=self._polls,
            roster=roster,
            clock=clock,
            ids=ids,
        )
        self.workflows = Workflows(
            store,
            runs,
            starts=Starts(store, runs, clock=clock, ids=ids, background=background),
            results=results,
            outcomes=self._outcomes,
            roster=roster,
            clock=clock,
            background=background,
        )
        self.watches = Watches(store, self._hub, self._peers)
        self.namespaces = Namespaces(store, runs, workers=roster.by_queue, clock=clock)
        self.schedules = Schedules(store, self._scheduler, clock=clock)
        self._retention = Retention(store, runs, clock=clock, background=background)
        self.queues = Queues(store, workers=roster.by_queue, clock=clock)
        self.keys = Keys(store, clock=clock, ids=ids, background=background)

    async def start(self) -> None:
        """Takes up what the store holds: API keys, leases, ready tasks, timers and schedules.

        Raises StoreUnavailable.
        """
        self._background.spawn(self._committer.run(), "commit")
        await self.keys.load()
        self.sessions.start()
        if not self._runs.are_shared:
            await self._take_up_tasks()
            await self._inbox.rebuild()
        await self._timers.rebuild()
        await self._scheduler.rebuild()
        await self._peers.start()
        await self._roster.start(workers_return=self._workers_return)
        self._retention.start()

    async def check(self) -> None:
        """Returns when the store can be read. Raises StoreUnavailable."""
        await self._store.last_position()

    def turn_away(self, error: DomainError) -> None:
        """Refuses the polls that wait: another server may have what they wait for."""
        self._polls.turn_away(error)

    async def drain(self) -> None:
        """Ends the worker streams, the polls and the waits for results.

        What workers hold stays leased. Calls that do not wait go on.
        """
        leaving = ShuttingDown("the server is stopping; connect again")
        self.sessions.close(leaving)
        self._polls.close(leaving)
        self.workflows.close(leaving)
        self.queries.close(leaving)

    async def stop(self) -> None:
        """Commits what is under way and ends every background task."""
        self._leases.close()
        self._retries.close()
        self._timers.close()
        self._scheduler.close()
        self._dispatcher.close()
        self._heartbeats.close()
        self._roster.close()
        self._retention.close()
        self._inbox.close()
        await self._committer.flush()
        await self._peers.stop()
        await self._background.close()

    def is_quiet(self) -> bool:
        """Whether nothing is under way.

        No commit, no claim, no load, no query, no task that a worker holds.
        """
        return (
            self._committer.is_idle
            and self._background.count <= 1
            and not self.queries.under_way
            and not any(session.held for session in self.sessions.all())
        )

    def next_alarm_us(self) -> int | None:
        """Returns the earliest instant at which the engine will do something by itself."""
        instants = [
            self._leases.next_us(),
            self._timers.next_us(),
            self._scheduler.next_us(),
            self._dispatcher.next_us(),
            self._retries.next_us(),
            self._inbox.next_us(),
        ]
        return min((instant for instant in instants if instant is not None), default=None)

    async def _take_up_tasks(self) -> None:
        """Takes up every task in the store: no other server has any of them."""
        leased = await self._store.leased_tasks()
        self.sessions.adopt(leased)
        for task in leased:
            if task.lease_until_us is not None:
                self._leases.set((task.run_id, task.kind, task.seq), task.lease_until_us)
        if not self._workers_return:
            self.sessions.forsake()
        await self._dispatcher.rebuild()

    def _parts(self) -> Parts:
        return Parts(
            sessions=self.sessions,
            dispatcher=self._dispatcher,
            runs=self._runs,
            results=self._results,
            outcomes=self._outcomes,
            timers=self._timers,
            scheduler=self._scheduler,
            leases=self._leases,
            keys=self.keys,
            feeder=self._feeder,
            presence=self._presence,
            inbox=self._inbox,
            take_note=self._take_note,
            lose=self._task_lost,
        )

    def _take_note(self, note: bytes) -> None:
        if self._errands is not None:
            self._errands.heard(note)

    def _feed(self, changes: Sequence[RunChange], _first: Position) -> None:
        if any(change.events for change in changes):
            self._feeder.wake()

    def _deliver(self, messages: Sequence[Message]) -> None:
        # The runs are built before the inbox, which stimulates them.
        self._inbox.deliver(messages)

    def _run_closed(self, run: Run) -> None:
        # Built before what serves schedules, which starts runs.
        self._scheduler.closed(run)

    def _visit(self, run_id: str, visit: Visit, *, fresh: bool = False) -> None:
        # The dispatcher is built before the runs, which push through it.
        self._runs.visit(run_id, visit, fresh=fresh)

    def _timer_due(self, timer: Timer) -> None:
        due = DueTimer(timer, self._timers, self._runs.next_run())
        self._runs.stimulate(timer.run_id, Stimulus(due.decide, due.done, due.refused))

    def _lease_due(self, key: TaskKey, _due_us: int) -> None:
        run_id, kind, seq = key
        ended: list[int] = []

        def decision(draft: Draft, now_us: int) -> None:
            # Another server may have prolonged the lease: then it is decided once more.
            ended.clear()
            task = draft.task(kind, seq)
            if task is None:
                return
            decide.decide_lease_expired(draft, kind, seq, task.lease, now_us=now_us)
            after = draft.task(kind, seq)
            if after is None or after.session_id is None:
                ended.append(task.lease)
            elif after.lease_until_us is not None:
                # The lease was prolonged, or the clock set back, since the alarm rang.
                self._leases.set(key, after.lease_until_us)

        def again() -> None:
            self._leases.set(key, self._clock.now_us() + _RETRY_US)

        def done(_answer: Any) -> None:
            for lease in ended:
                self._dispatcher.finished(key, lease)

        self._heartbeats.flush(key)
        self._do(run_id, decision, again, done)

    def _task_lost(self, held: Held) -> None:
        run_id, kind, seq = held.key

        def decision(draft: Draft, now_us: int) -> None:
            decide.decide_task_lost(
                draft, kind, seq, held.lease, delivered=held.delivered, now_us=now_us
            )

        def again() -> None:
            self._retries.set(lambda: self._task_lost(held), self._clock.now_us() + _RETRY_US)

        self._heartbeats.flush(held.key)
        self._do(run_id, decision, again)

    def _do(
        self,
        run_id: str,
        decision: Callable[[Draft, int], None],
        again: Callable[[], None],
        done: Callable[[Any], None] = lambda _answer: None,
    ) -> None:
        """Stimulates a run for the engine's own reasons; tries again when the store refuses."""

        def refused(error: Exception) -> None:
            if may_pass(error, run_id):
                again()

        self._runs.stimulate(run_id, Stimulus(decision, done, refused))
