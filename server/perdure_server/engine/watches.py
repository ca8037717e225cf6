"""Owns watches: what stands in the store, then what is committed, without a gap between the two."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

from perdure.v1.watch_service_pb2 import (
    WatchRequest,
    WatchResponse,
    WatchWorkflowRequest,
    WatchWorkflowResponse,
)
from perdure_server.core import limits
from perdure_server.core.errors import CursorExpired, InvalidCursor, WorkflowNotFound
from perdure_server.core.frames import parse_frame
from perdure_server.core.model import EventRow
from perdure_server.engine.hub import Hub, Subscription, WatchFilter, is_notice, notices_of
from perdure_server.engine.peers import Peers
from perdure_server.engine.requests import in_namespace
from perdure_server.store.contract import Position, Store, WatchedEvent

_PAGE = 500
_PAGE_BYTES = 1024 * 1024
_DIGITS_MAX = 18
"""So many digits fit into every database."""
_CURSOR = re.compile(r"1\.([0-9]{1,18})\.([0-9]{1,18})\.(-1|[0-9]{1,18})")
"""The first character is the version of the form; -1 stands before the first event of a commit."""
_CLOSING = frozenset(
    {
        "workflow_completed",
        "workflow_failed",
        "workflow_cancelled",
        "workflow_terminated",
        "workflow_timed_out",
    }
)


@dataclass(slots=True)
class _Place:
    """How far a watcher of a namespace has been told."""

    subscription: Subscription
    position: Position


class Watches:
    """The use cases of WatchService."""

    def __init__(self, store: Store, hub: Hub, peers: Peers) -> None:
        self._store = store
        self._peers = peers
        self._hub = hub

    async def watch(self, request: WatchRequest) -> AsyncIterator[WatchResponse]:
        """Yields a cursor alone at once, then committed events; resumes after `request.after`.

        Raises InvalidCursor, and CursorExpired for a cursor of another epoch, or
        one after which something was deleted.
        """
        wanted = WatchFilter(
            namespace=in_namespace(request).namespace,
            workflow_id=request.workflow_id or None,
            workflow_type=request.workflow_type or None,
            kinds=frozenset(request.kinds),
        )
        resumed = await self._resume(wanted, request.after) if request.after else None
        subscription = self._hub.subscribe(wanted)
        try:
            await self._peers.follow()
            position = resumed or await self._store.last_position()
            yield WatchResponse(cursor=encode_cursor(position))
            place = _Place(subscription, position)
            async for event in self._follow(place, live=resumed is None):
                yield _response(event)
        finally:
            self._hub.unsubscribe(subscription)

    async def watch_workflow(
        self, request: WatchWorkflowRequest
    ) -> AsyncIterator[WatchWorkflowResponse]:
        """Yields a cursor alone at once, then the history of one run to its closing event.

        Raises WorkflowNotFound, and InvalidCursor for a cursor that is not of this workflow.
        """
        in_namespace(request)
        run_id, seq = await self._begin(request)
        wanted = WatchFilter(request.namespace, request.workflow_id, run_id)
        subscription = self._hub.subscribe(wanted)
        try:
            await self._peers.follow()
            yield _of_run(request, run_id, seq)
            async for row in self._grow(subscription, run_id, seq):
                answer = _of_run(request, run_id, row.seq)
                answer.kind = row.kind
                answer.event.CopyFrom(parse_frame(row.frame))
                yield answer
        finally:
            self._hub.unsubscribe(subscription)

    async def _begin(self, request: WatchWorkflowRequest) -> tuple[str, int]:
        """Returns the run to watch and the event to begin after."""
        named, seq = request.run_id, request.after_seq
        if request.after:
            named, seq = decode_run_cursor(request.after)
        run_id = await self._find(request, named)
        if run_id is None:
            if request.after and await self._find(request, "") is not None:
                raise _foreign_cursor()
            raise WorkflowNotFound(
                f"there is no workflow {request.workflow_id!r} in namespace {request.namespace!r}"
            )
        if request.after:
            summary = await self._store.summarize_run(run_id)
            if summary is not None and seq > summary.run.history_length:
                raise _foreign_cursor()
        return run_id, seq

    async def _find(self, request: WatchWorkflowRequest, run_id: str) -> str | None:
        return await self._store.find_run(request.namespace, request.workflow_id, run_id or None)

    async def _resume(self, wanted: WatchFilter, cursor: str) -> Position:
        position = decode_cursor(cursor)
        if position.epoch != self._store.epoch:
            raise CursorExpired("the cursor is from before the database was copied or restored")
        namespace = await self._store.find_namespace(wanted.namespace)
        if namespace is not None:
            expired = (namespace.expired_commit, namespace.expired_index)
            if (position.commit, position.index) < expired:
                raise CursorExpired(
                    "what came after the cursor was deleted: the namespace keeps closed runs for a"
                    " while only; read what there is and watch from now on"
                )
        return position

    async def _follow(self, place: _Place, *, live: bool) -> AsyncIterator[WatchedEvent]:
        """Reads from the store until nothing is left there, then lives on what is published.

        `live`: everything after the place is published to it; only who lags reads.
        """
        if live:
            async for event in _live(place):
                yield event
        while True:
            async for event in self._stored(place):
                yield event
            async for event in _live(place):
                yield event

    async def _stored(self, place: _Place) -> AsyncIterator[WatchedEvent]:
        """Yields what the store has after a place. What is published from then on is kept."""
        place.subscription.lagged = False
        whole = True
        while whole:
            page = await self._store.read_events(place.position, limit=_PAGE)
            for told in [told for event in page for told in (*notices_of(event), event)]:
                place.position = told.position
                if place.subscription.filter.matches(told):
                    yield told
            whole = len(page) == _PAGE

    async def _grow(
        self, subscription: Subscription, run_id: str, seq: int
    ) -> AsyncIterator[EventRow]:
        """Reads what stands, then reads again whenever something of the run was committed."""
        while True:
            subscription.arrived.clear()
            subscription.events.clear()
            page = await self._store.load_history(
                run_id, after_seq=seq, limit=_PAGE, max_bytes=_PAGE_BYTES
            )
            for row in page:
                seq = row.seq
                yield row
                if row.kind in _CLOSING:
                    return
            if not page:
                if await self._is_over(run_id, seq):
                    return
                await subscription.arrived.wait()

    async def _is_over(self, run_id: str, seq: int) -> bool:
        summary = await self._store.summarize_run(run_id)
        return summary is None or (
            summary.run.status.is_closed and seq >= summary.run.history_length
        )


async def _live(place: _Place) -> AsyncIterator[WatchedEvent]:
    """Yields what is published after a place, until the watcher has lagged.

    A notice that stands right there belongs to the event that comes next.
    """
    subscription = place.subscription
    while not subscription.lagged:
        if not subscription.events:
            subscription.arrived.clear()
            await subscription.arrived.wait()
            continue
        event = subscription.events.popleft()
        if event.position > place.position or (
            is_notice(event) and event.position == place.position
        ):
            place.position = event.position
            yield event


def encode_cursor(position: Position) -> str:
    """Returns a cursor: opaque, url-safe."""
    text = f"1.{position.epoch}.{position.commit}.{position.index}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> Position:
    """Returns the position behind a cursor. Raises InvalidCursor."""
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
    except (ValueError, binascii.Error):
        text = ""
    match = _CURSOR.fullmatch(text)
    if match is None:
        problem = "the cursor is not one of ours; send it as it was received, or watch without one"
        raise InvalidCursor(problem, "after")
    epoch, commit, index = match.groups()
    return Position(int(epoch), int(commit), int(index))


def decode_run_cursor(cursor: str) -> tuple[str, int]:
    """Returns the run and the event behind a cursor of one run. Raises InvalidCursor."""
    run_id, _, seq = cursor.rpartition(":")
    if (
        not 0 < len(run_id) <= limits.ID_BYTES_MAX
        or not (seq.isascii() and seq.isdecimal())
        or len(seq) > _DIGITS_MAX
    ):
        raise _foreign_cursor()
    return run_id, int(seq)


def _foreign_cursor() -> InvalidCursor:
    return InvalidCursor(
        "the cursor is not one of this workflow; send it as it was received", "after"
    )


def _of_run(request: WatchWorkflowRequest, run_id: str, seq: int) -> WatchWorkflowResponse:
    return WatchWorkflowResponse(
        cursor=f"{run_id}:{seq}",
        namespace=request.namespace,
        workflow_id=request.workflow_id,
        run_id=run_id,
    )


def _response(event: WatchedEvent) -> WatchResponse:
    return WatchResponse(
        cursor=encode_cursor(event.position),
        kind=event.row.kind,
        namespace=event.namespace,
        workflow_id=event.workflow_id,
        run_id=event.run_id,
        workflow_type=event.workflow_type,
        event=parse_frame(event.row.frame),
    )
