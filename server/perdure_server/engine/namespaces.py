"""Owns the use cases of NamespaceService."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from perdure.v1 import namespace_service_pb2 as pb
from perdure_server.core import decide, limits
from perdure_server.core.draft import Draft
from perdure_server.core.errors import (
    NamespaceAlreadyExists,
    NamespaceInUse,
    NamespaceNotFound,
    WorkflowClosed,
    WorkflowNotFound,
)
from perdure_server.core.model import Namespace, RunStatus
from perdure_server.core.times import from_duration, to_duration, to_timestamp
from perdure_server.engine.pages import name_before, token_after
from perdure_server.engine.ports import Clock
from perdure_server.engine.runs import Runs
from perdure_server.store.contract import Store

_OPEN: Final = tuple(status for status in RunStatus if not status.is_closed)
_PAGES: Final = "namespaces"
_REASON: Final = "the namespace was deleted"


class Namespaces:
    """The use cases of NamespaceService. `workers` counts the workers of a namespace by queue."""

    def __init__(
        self,
        store: Store,
        runs: Runs,
        *,
        workers: Callable[[str], Awaitable[Mapping[str, int]]],
        clock: Clock,
    ) -> None:
        self._store = store
        self._runs = runs
        self._workers = workers
        self._clock = clock

    async def create(self, request: pb.CreateNamespaceRequest) -> pb.CreateNamespaceResponse:
        """Creates a namespace. Raises NamespaceAlreadyExists."""
        retention_us = _retention(request)
        namespace = Namespace(request.name, self._clock.now_us(), retention_us)
        if not await self._store.insert_namespace(namespace):
            raise NamespaceAlreadyExists(f"the namespace {request.name!r} exists already")
        return pb.CreateNamespaceResponse(namespace=_shown(namespace))

    async def update(self, request: pb.UpdateNamespaceRequest) -> pb.UpdateNamespaceResponse:
        """Says how long a namespace keeps closed runs. Raises NamespaceNotFound."""
        namespace = await self._store.set_retention(request.name, _retention(request))
        if namespace is None:
            raise _missing(request.name)
        return pb.UpdateNamespaceResponse(namespace=_shown(namespace))

    async def list(self, request: pb.ListNamespacesRequest) -> pb.ListNamespacesResponse:
        """Lists the namespaces that were created, by name. Raises InvalidPageToken."""
        size = request.page_size or limits.PAGE_SIZE_DEFAULT
        after = name_before(_PAGES, request.page_token)
        found = await self._store.list_namespaces(after=after, limit=size + 1)
        return pb.ListNamespacesResponse(
            namespaces=map(_shown, found[:size]),
            next_page_token=token_after(_PAGES, found[size - 1].name) if len(found) > size else "",
        )

    async def get(self, request: pb.GetNamespaceRequest) -> pb.GetNamespaceResponse:
        """Counts what a namespace holds. Raises NamespaceNotFound."""
        counts = await self._store.count_runs(request.name)
        workers = sum((await self._workers(request.name)).values())
        schedules = await self._store.count_schedules(request.name)
        is_used = counts or workers or schedules
        if not is_used and await self._store.find_namespace(request.name) is None:
            raise _missing(request.name)
        stats = pb.NamespaceStats(
            namespace=request.name,
            total_workflows=sum(counts.values()),
            workers=workers,
            schedules=schedules,
        )
        for status, count in counts.items():
            setattr(stats, status.lower(), count)
        return pb.GetNamespaceResponse(stats=stats)

    async def delete(self, request: pb.DeleteNamespaceRequest) -> pb.DeleteNamespaceResponse:
        """Deletes a namespace, with `force` also its schedules and its runs.

        Its row goes last, so that what a crash interrupts can be asked for again. Raises
        NamespaceInUse and NamespaceNotFound.
        """
        name = request.name
        if name == limits.NAMESPACE_DEFAULT:
            raise NamespaceInUse(f"the namespace {name!r} always exists and cannot be deleted")
        count = sum((await self._store.count_runs(name)).values())
        schedules = await self._store.count_schedules(name)
        if (count or schedules) and not request.force:
            raise NamespaceInUse(_in_use(name, count, schedules))
        while await self._store.delete_schedules(name, limit=limits.DELETE_SCHEDULES_MAX):
            pass
        if count:
            await self._delete_runs(name, count)
        if not await self._store.delete_namespace(name) and not (count or schedules):
            raise _missing(name)
        return pb.DeleteNamespaceResponse()

    async def _delete_runs(self, namespace: str, count: int) -> None:
        """Terminates and deletes the runs of a namespace in small steps, until none is left.

        `count` runs stood at the beginning. When twice as many are gone and there still are some,
        they come faster than they go.
        """
        left = 2 * count + limits.DELETE_RUNS_MAX
        while left > 0:
            await self._terminate_some(namespace)
            deleted = await self._store.delete_closed_runs(
                namespace,
                before_us=limits.END_OF_TIME_US,
                limit=limits.DELETE_RUNS_MAX,
                max_events=limits.DELETE_EVENTS_MAX,
                max_bytes=limits.DELETE_BYTES_MAX,
            )
            self._runs.forget_closed(namespace)
            if not deleted and not await self._store.count_runs(namespace):
                return
            left -= max(deleted, 1)
        raise NamespaceInUse(
            f"workflows are started in namespace {namespace!r} all the time: stop what starts them,"
            " then delete it again"
        )

    async def _terminate_some(self, namespace: str) -> None:
        for status in _OPEN:
            run_ids = await self._store.run_ids(namespace, status, limit=limits.DELETE_RUNS_MAX)
            await self._terminate(run_ids)

    async def _terminate(self, run_ids: Sequence[str]) -> None:
        asked = (self._runs.ask(run_id, _terminated) for run_id in run_ids)
        # One that closed by itself meanwhile is as good.
        for outcome in await asyncio.gather(*asked, return_exceptions=True):
            if isinstance(outcome, BaseException) and not isinstance(
                outcome, WorkflowNotFound | WorkflowClosed
            ):
                raise outcome


def _terminated(draft: Draft, now_us: int) -> None:
    decide.decide_terminate(draft, _REASON, now_us)


def _shown(namespace: Namespace) -> pb.Namespace:
    shown = pb.Namespace(name=namespace.name, created_at=to_timestamp(namespace.created_at_us))
    if namespace.retention_us is not None:
        shown.retention.CopyFrom(to_duration(namespace.retention_us))
    return shown


def _retention(request: pb.CreateNamespaceRequest | pb.UpdateNamespaceRequest) -> int | None:
    """Returns how long closed runs are kept; None for ever, which a span of zero means too."""
    return from_duration(request.retention) or None


def _missing(name: str) -> NamespaceNotFound:
    return NamespaceNotFound(f"there is no namespace {name!r}")


def _in_use(name: str, runs: int, schedules: int) -> str:
    held = [_count(runs, "run"), _count(schedules, "schedule")]
    what = " and ".join(each for each in held if each)
    them = "it" if runs + schedules == 1 else "them"
    return f"the namespace {name!r} has {what}; delete it with force to delete {them} too"


def _count(count: int, thing: str) -> str:
    return f"{count} {thing}{'' if count == 1 else 's'}" if count else ""
