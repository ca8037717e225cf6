"""Owns what follows a commit, in one place and one order.

Alarms, tasks, watchers, waiters, notices.

Before the commit it leases tasks to sessions (see `dispatch`); nothing is told to anyone before the
commit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from perdure_server.core.changeset import Changeset, RunChange
from perdure_server.core.draft import CancelNotice
from perdure_server.core.model import Message, Run, TaskKind, TimerKind
from perdure_server.core.state import RunState
from perdure_server.engine.alarms import Alarms
from perdure_server.engine.dispatch import Dispatcher, Match
from perdure_server.engine.kept import tell
from perdure_server.engine.outcomes import Outcomes
from perdure_server.engine.results import Results
from perdure_server.engine.session import TaskKey
from perdure_server.engine.timers import Timers
from perdure_server.store.contract import Committed, Position

Matches = list[Match]
Notify = Callable[[str, CancelNotice], None]
Send = Callable[[Sequence[Message]], None]
Publish = Callable[[Sequence[RunChange], Position], None]


class Aftermath:
    """Tells everyone whom a commit concerns."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        *,
        timers: Timers,
        leases: Alarms[TaskKey],
        publish: Publish,
        results: Results,
        outcomes: Outcomes,
        notify: Notify,
        send: Send,
        closed: Callable[[Run], None],
    ) -> None:
        self._dispatcher = dispatcher
        self._timers = timers
        self._leases = leases
        self._publish = publish
        self._results = results
        self._outcomes = outcomes
        self._notify = notify
        self._send = send
        self._closed = closed

    def prepare(self, changes: Sequence[RunChange]) -> Matches:
        """Leases the tasks that changes create, before they are committed."""
        for change in changes:
            change.stops = self._may_stop_others(change)
        return self._dispatcher.match(changes)

    def abandon(self, matches: Matches) -> None:
        """Takes the leases back; the changes were refused."""
        self._dispatcher.abandon(matches)

    def closing(
        self,
        run: Run,
        timers: Sequence[tuple[TimerKind, int]],
        tasks: Sequence[tuple[TaskKind, int]],
    ) -> None:
        """Forgets the alarms of a run that closed."""
        for timer_kind, seq in timers:
            self._timers.clear(run.run_id, timer_kind, seq)
        for task_kind, seq in tasks:
            self._leases.clear((run.run_id, task_kind, seq))

    def apply(
        self,
        changeset: Changeset,
        states: Sequence[RunState],
        matches: Matches,
        *,
        notices: Sequence[tuple[str, CancelNotice]],
        outcome: Committed,
    ) -> None:
        """Follows a commit: `states` are the runs of the changeset as it left them."""
        by_run = {state.run.run_id: state for state in states}
        self._publish(changeset.changes, outcome.first)
        for change in changeset.changes:
            if not change.closes:
                self._arm(change)
        self._dispatcher.committed(changeset.changes)
        for match in matches:
            self._dispatcher.push(match.session, by_run[match.task.run_id], match.task)
        for run_id, notice in notices:
            self._notify(run_id, notice)
        for change in changeset.changes:
            if change.events and not change.closes:
                tell(self._dispatcher, by_run[change.run.run_id])
            if change.messages:
                self._send(change.messages)
            if change.put_updates:
                self._outcomes.told(change.run.run_id, change.put_updates)
            if change.closes:
                self._results.closed(change.run, change.events[-1].frame)
                self._closed(change.run)

    def _may_stop_others(self, change: RunChange) -> bool:
        """Whether sessions that this server does not have may hold what a change ends or stops.

        Not only what is known to be held counts: another server may have leased it just now.
        """
        run_id = change.run.run_id
        for kind, seq in change.changed_tasks:
            if self._dispatcher.holder((run_id, kind, seq)) is None:
                return True
        activities = change.put_activities
        return bool(activities) and any(each.cancel_requested for each in activities.values())

    def _arm(self, change: RunChange) -> None:
        run_id = change.run.run_id
        for timer_kind, seq in change.del_timers:
            self._timers.clear(run_id, timer_kind, seq)
        for timer in change.put_timers.values():
            self._timers.set(timer)
        for kind, seq in change.del_tasks:
            self._leases.clear((run_id, kind, seq))
        for task in change.put_tasks.values():
            key = (run_id, task.kind, task.seq)
            if task.lease_until_us is None:
                self._leases.clear(key)
            else:
                self._leases.set(key, task.lease_until_us)
