"""Owns the list of task queues: what waits in each, and who serves it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from perdure.v1 import admin_service_pb2 as pb
from perdure_server.core import limits
from perdure_server.core.times import to_duration
from perdure_server.engine.pages import name_before, token_after
from perdure_server.engine.ports import Clock
from perdure_server.engine.requests import in_namespace
from perdure_server.store.contract import QueueDepth, Store

_PAGES: Final = "queues"


class Queues:
    """The task queues. `workers` counts the workers of a namespace by queue."""

    def __init__(
        self, store: Store, *, workers: Callable[[str], Awaitable[Mapping[str, int]]], clock: Clock
    ) -> None:
        self._store = store
        self._workers = workers
        self._clock = clock

    async def list(self, request: pb.ListQueuesRequest) -> pb.ListQueuesResponse:
        """Lists the queues that have tasks or workers, by name. Raises InvalidPageToken."""
        namespace = in_namespace(request).namespace
        after = name_before(_PAGES, request.page_token)
        now_us = self._clock.now_us()
        found = await self._store.queue_depths(namespace, now_us)
        depths = {depth.queue: depth for depth in found}
        workers = await self._workers(namespace)
        names = sorted(name for name in depths.keys() | workers.keys() if name > after)
        size = request.page_size or limits.PAGE_SIZE_DEFAULT
        page = names[:size]
        return pb.ListQueuesResponse(
            queues=[_shown(name, depths.get(name), workers.get(name, 0), now_us) for name in page],
            next_page_token=token_after(_PAGES, page[-1]) if len(names) > size else "",
        )


def _shown(name: str, depth: QueueDepth | None, workers: int, now_us: int) -> pb.QueueInfo:
    info = pb.QueueInfo(queue=name, workers=workers)
    if depth is None:
        return info
    info.pending_workflow_tasks = depth.pending_workflow_tasks
    info.running_workflow_tasks = depth.running_workflow_tasks
    info.pending_activities = depth.pending_activities
    info.running_activities = depth.running_activities
    if depth.ready_since_us is not None:
        info.oldest_pending.CopyFrom(to_duration(now_us - depth.ready_since_us))
    return info
