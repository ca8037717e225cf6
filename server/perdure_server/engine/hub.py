"""Owns the live end of watches.

Committed events in the order of commits, to those whose filter they match. Between them go notices:
what is told to those who watch a namespace and stands in no history.

A watcher that falls behind loses its place here and reads from the store again; no event is lost.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from perdure.v1.history_pb2 import HistoryEvent
from perdure_server.core import limits
from perdure_server.core.changeset import RunChange
from perdure_server.core.frames import event_frame, parse_frame
from perdure_server.core.model import EventRow, Run
from perdure_server.core.times import to_timestamp
from perdure_server.store.contract import Position, WatchedEvent


@dataclass(slots=True, frozen=True)
class WatchFilter:
    """Which events a watcher wants: those that match every field that is set."""

    namespace: str
    workflow_id: str | None = None
    run_id: str | None = None
    workflow_type: str | None = None
    kinds: frozenset[str] = frozenset()

    def matches(self, event: WatchedEvent) -> bool:
        """Whether the watcher wants an event."""
        return (
            event.namespace == self.namespace
            and self.workflow_id in (None, event.workflow_id)
            and self.run_id in (None, event.run_id)
            and self.workflow_type in (None, event.workflow_type)
            and (not self.kinds or event.row.kind in self.kinds)
        )


@dataclass(slots=True, eq=False)
class Subscription:
    """One watcher's place at the live end.

    `lagged` is set when events were dropped: read from the store again.
    """

    filter: WatchFilter
    events: deque[WatchedEvent] = field(default_factory=deque)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    lagged: bool = False

    def offer(self, event: WatchedEvent) -> None:
        """Takes an event in if the filter wants it."""
        if not self.filter.matches(event):
            return
        if len(self.events) >= limits.WATCH_BACKLOG_MAX:
            self.events.clear()
            self.lagged = True
        if not self.lagged:
            self.events.append(event)
        self.arrived.set()


class Hub:
    """All live watchers, by what they watch."""

    def __init__(self) -> None:
        self._subscriptions: dict[tuple[str, str | None], dict[Subscription, None]] = {}
        """In the order in which they came, which is that in which they hear of an event."""

    def subscribe(self, wanted: WatchFilter) -> Subscription:
        """Returns a new subscription; events committed from now on reach it."""
        subscription = Subscription(wanted)
        key = (wanted.namespace, wanted.workflow_id)
        self._subscriptions.setdefault(key, {})[subscription] = None
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Ends a subscription."""
        key = (subscription.filter.namespace, subscription.filter.workflow_id)
        subscriptions = self._subscriptions.get(key, {})
        subscriptions.pop(subscription, None)
        if not subscriptions:
            self._subscriptions.pop(key, None)

    @property
    def is_watched(self) -> bool:
        """Whether anybody watches."""
        return bool(self._subscriptions)

    def offer(self, event: WatchedEvent) -> None:
        """Offers an event, whoever committed it, to the watchers."""
        watchers = [
            watcher
            for key in ((event.namespace, None), (event.namespace, event.workflow_id))
            for watcher in self._subscriptions.get(key, ())
        ]
        _offer_to(watchers, event)

    def publish(self, changes: Sequence[RunChange], first: Position) -> None:
        """Offers the events of a commit to the watchers."""
        if not self._subscriptions:
            return
        index = first.index
        for change in changes:
            watchers = [
                *self._subscriptions.get((change.run.namespace, None), ()),
                *self._subscriptions.get((change.run.namespace, change.run.workflow_id), ()),
            ]
            if watchers:
                self._offer(change, Position(first.epoch, first.commit, index), watchers)
            index += len(change.events)

    @staticmethod
    def _offer(change: RunChange, first: Position, watchers: Sequence[Subscription]) -> None:
        began_at_us = _began(change.run) if change.begins else None
        if began_at_us is not None and not change.events:
            # It stands where the event before it does: whoever resumes there misses no event.
            _tell(watchers, _event(change.run, _notice(began_at_us), first, -1))
        for offset, row in enumerate(change.events):
            event = _event(change.run, row, first, offset)
            _offer_to(watchers, event if offset else replace(event, began_at_us=began_at_us))


def notices_of(event: WatchedEvent) -> Iterator[WatchedEvent]:
    """Yields the notices that are told before an event, in the place of the event before it."""
    kind, at_us = event.row.kind, event.row.at_us
    place = replace(
        event, position=replace(event.position, index=event.position.index - 1), began_at_us=None
    )
    if event.began_at_us is not None:
        yield replace(place, row=_notice(event.began_at_us))
    if kind == "workflow_started":
        started = parse_frame(event.row.frame).workflow_started
        if started.schedule_name and started.first_run_id == event.run_id:
            yield replace(place, row=_notice(at_us, "schedule_triggered"))
    if kind == "workflow_continued_as_new":
        told = parse_frame(event.row.frame)
        told.seq = 0
        row = EventRow(0, "workflow_continued", at_us, event_frame(told))
        yield replace(place, row=row)


def _offer_to(watchers: Sequence[Subscription], event: WatchedEvent) -> None:
    """Offers an event, and its notices before it."""
    if not watchers:
        return
    for notice in notices_of(event):
        _tell(watchers, notice)
    for watcher in watchers:
        watcher.offer(event)


def _tell(watchers: Sequence[Subscription], notice: WatchedEvent) -> None:
    """Offers a notice to those who watch more than one run."""
    for watcher in watchers:
        if watcher.filter.run_id is None:
            watcher.offer(notice)


def is_notice(event: WatchedEvent) -> bool:
    """Whether an event stands in no history. It has the position of the event before it."""
    return event.row.seq == 0


def _began(run: Run) -> int:
    return run.started_at_us or run.updated_at_us


def _notice(at_us: int, kind: str = "workflow_running") -> EventRow:
    frame = event_frame(HistoryEvent(timestamp=to_timestamp(at_us)))
    return EventRow(0, kind, at_us, frame)


def _event(run: Run, row: EventRow, first: Position, offset: int) -> WatchedEvent:
    return WatchedEvent(
        position=Position(first.epoch, first.commit, first.index + offset),
        namespace=run.namespace,
        workflow_id=run.workflow_id,
        run_id=run.run_id,
        workflow_type=run.workflow_type,
        row=row,
    )
