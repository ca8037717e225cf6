"""Owns watches: what stands in the store, then what is committed, without a gap between the two."""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator

from perdure.v1.watch_service_pb2 import (
    WatchRequest,
    WatchResponse,
    WatchWorkflowRequest,
    WatchWorkflowResponse,
)
from perdure_server.core.errors import CursorExpired, InvalidCursor, WorkflowNotFound
from perdure_server.core.frames import parse_frame
from perdure_server.core.model import EventRow
from perdure_server.engine.hub import Hub, Subscription, WatchFilter
from perdure_server.engine.requests import in_namespace
from perdure_server.store.contract import Position, Store, WatchedEvent

_PAGE = 500
_PAGE_BYTES = 1024 * 1024
_CLOSING = frozenset(
    {
        "workflow_completed",
        "workflow_failed",
        "workflow_cancelled",
        "workflow_terminated",
        "workflow_timed_out",
    }
)


class Watches:
    """The use cases of WatchService."""

    def __init__(self, store: Store, hub: Hub) -> None:
        self._store = store
        self._hub = hub

    async def watch(self, request: WatchRequest) -> AsyncIterator[WatchResponse]:
        """Yields a cursor alone at once, then committed events; resumes after `request.after`.

        Raises InvalidCursor, and CursorExpired for a cursor of another epoch.
        """
        wanted = WatchFilter(
            namespace=in_namespace(request).namespace,
            workflow_id=request.workflow_id or None,
            workflow_type=request.workflow_type or None,
            kinds=frozenset(request.kinds),
        )
        position = self._resume(request.after) if request.after else None
        subscription = self._hub.subscribe(wanted)
        try:
            if position is None:
                position = await self._store.last_position()
            yield WatchResponse(cursor=encode_cursor(position))
            async for event in self._follow(subscription, position):
                yield _response(event)
        finally:
            self._hub.unsubscribe(subscription)

    async def watch_workflow(
        self, request: WatchWorkflowRequest
    ) -> AsyncIterator[WatchWorkflowResponse]:
        """Yields the history of one run as it grows, to its closing event.

        Raises WorkflowNotFound.
        """
        in_namespace(request)
        run_id = await self._store.find_run(
            request.namespace, request.workflow_id, request.run_id or None
        )
        if run_id is None:
            raise WorkflowNotFound(
                f"there is no workflow {request.workflow_id!r} in namespace {request.namespace!r}"
            )
        wanted = WatchFilter(request.namespace, request.workflow_id, run_id)
        subscription = self._hub.subscribe(wanted)
        try:
            async for row in self._grow(subscription, run_id, request.after_seq):
                yield WatchWorkflowResponse(event=parse_frame(row.frame), run_id=run_id)
        finally:
            self._hub.unsubscribe(subscription)

    def _resume(self, cursor: str) -> Position:
        position = decode_cursor(cursor)
        if position.epoch != self._store.epoch:
            raise CursorExpired("the cursor is from before the database was copied or restored")
        return position

    async def _follow(
        self, subscription: Subscription, position: Position
    ) -> AsyncIterator[WatchedEvent]:
        """Reads from the store until nothing is left there, then lives on what is published."""
        while True:
            subscription.lagged = False
            page = await self._store.read_events(position, limit=_PAGE)
            for event in page:
                position = event.position
                if subscription.filter.matches(event):
                    yield event
            if len(page) == _PAGE:
                continue
            async for event in self._live(subscription, position):
                position = event.position
                yield event

    @staticmethod
    async def _live(subscription: Subscription, position: Position) -> AsyncIterator[WatchedEvent]:
        """Yields what is published after `position`, until the watcher has lagged."""
        while not subscription.lagged:
            if not subscription.events:
                subscription.arrived.clear()
                await subscription.arrived.wait()
                continue
            event = subscription.events.popleft()
            if event.position > position:
                yield event

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


def encode_cursor(position: Position) -> str:
    """Returns a cursor: opaque, url-safe."""
    text = f"1.{position.epoch}.{position.commit}.{position.index}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> Position:
    """Returns the position behind a cursor. Raises InvalidCursor."""
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
        version, epoch, commit, index = text.split(".")
        position = Position(int(epoch), int(commit), int(index))
    except (ValueError, binascii.Error) as error:
        raise InvalidCursor("the cursor is not one of ours; send it as it was received") from error
    if version != "1":
        raise InvalidCursor("the cursor is of another version; watch without one")
    return position


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
