"""Owns what is read page by page: runs, newest first, and the history of one, either way round."""

from __future__ import annotations

from collections.abc import Sequence

from perdure.v1 import workflow_service_pb2 as pb
from perdure.v1.workflow_pb2 import WorkflowStatus
from perdure_server.core import limits
from perdure_server.core.errors import InvalidPageToken, WorkflowNotFound
from perdure_server.core.filters.conditions import Compared, Condition, Order, conjuncts, every
from perdure_server.core.filters.fields import FIELDS
from perdure_server.core.filters.reading import equal_to, read_filter, read_name, read_order
from perdure_server.core.filters.syntax import Operator
from perdure_server.core.frames import field
from perdure_server.core.model import EventRow, RunStatus
from perdure_server.engine.pages import name_before, token_after
from perdure_server.engine.places import is_by_id, page_token, place_of, read_page_token, shown
from perdure_server.engine.records import workflow_of
from perdure_server.engine.requests import in_namespace
from perdure_server.store.contract import ListFilter, Place, RunSummary, Store

_RECORD_BYTES = 2 * limits.ID_BYTES_MAX
"""Room for what a listed run carries besides its input and its end."""
_SKIP = 500
"""Runs that an offset passes over in one read: their inputs are read along."""
_HISTORY_FIELD = pb.GetWorkflowHistoryResponse.HISTORY_FIELD_NUMBER
_HISTORY_BYTES = limits.OUTGOING_BATCH_BYTES_MAX - limits.PAYLOAD_BYTES_MAX // 2
_CHILDREN = "children"
_STEP_FIRST, _STEP_MAX = 32, 1_024
"""Events read at once from the end of a history: few for a short page, many for a long one."""
_DIGITS_MAX = 18
"""So many digits fit into every database."""


class Lists:
    """Pages of runs and of histories."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def runs(self, request: pb.ListWorkflowsRequest, now_us: int) -> pb.ListWorkflowsResponse:
        """Lists runs, newest first unless sorted. Raises InvalidPageToken and InvalidFilter.

        An offset counts from the start of the list, so a page token has it behind it already.
        """
        size = request.page_size or limits.PAGE_SIZE_DEFAULT
        where = _where(request, now_us)
        after = read_page_token(request.page_token, where.order)
        if request.offset and after is None:
            after = await self._skip(where, request.offset)
        found = await self._store.list_runs(where, after=after, limit=size + 1)
        page = _that_fit(found[:size])
        more = len(page) < len(found)
        return pb.ListWorkflowsResponse(
            workflows=[workflow_of(summary) for summary in page],
            next_page_token=page_token(where.order, page[-1].run) if more else "",
        )

    async def count(
        self, request: pb.CountWorkflowsRequest, now_us: int
    ) -> pb.CountWorkflowsResponse:
        """Counts runs, all together and by value. Raises InvalidFilter."""
        condition, _ = read_filter(request.filter, now_us=now_us)
        where = ListFilter(in_namespace(request).namespace, condition=condition)
        if not request.group_by:
            return pb.CountWorkflowsResponse(count=await self._store.count_matching(where))
        by = read_name(request.group_by)
        groups = await self._store.count_groups(where, by, limit=limits.COUNT_GROUPS_MAX)
        return pb.CountWorkflowsResponse(
            count=await self._store.count_matching(where),
            groups=[pb.WorkflowGroup(value=shown(by, g.value), count=g.count) for g in groups],
        )

    async def children(
        self, run_id: str, request: pb.ListChildrenRequest
    ) -> pb.ListChildrenResponse:
        """Lists the children of a run, oldest first. Raises InvalidPageToken."""
        size = request.page_size or limits.PAGE_SIZE_DEFAULT
        after = name_before(_CHILDREN, request.page_token)
        found = await self._store.list_children(run_id, after=after, limit=size + 1)
        page = _that_fit(found[:size])
        more = len(page) < len(found)
        return pb.ListChildrenResponse(
            children=[workflow_of(summary) for summary in page],
            next_page_token=token_after(_CHILDREN, page[-1].run.run_id) if more else "",
        )

    async def history(self, run_id: str, request: pb.GetWorkflowHistoryRequest) -> bytes:
        """Returns an encoded GetWorkflowHistoryResponse: the stored frames, joined.

        Raises InvalidPageToken.
        """
        token = _event_of(request.page_token)
        length = await self._length(run_id)
        limit = request.page_size or limits.HISTORY_EVENTS_MAX
        if request.order == pb.HistoryOrder.HISTORY_ORDER_DESC:
            before = length + 1 if token is None else min(token, length + 1)
            rows = await self._newest(run_id, before, limit)
            more = bool(rows) and rows[-1].seq > 1
        else:
            rows = await self._store.load_history(
                run_id, after_seq=token or 0, limit=limit, max_bytes=_HISTORY_BYTES
            )
            more = bool(rows) and rows[-1].seq < length
        page = pb.GetWorkflowHistoryResponse(
            next_page_token=str(rows[-1].seq) if more else "", run_id=run_id
        )
        frames = b"".join([row.frame for row in rows])
        return field(_HISTORY_FIELD, frames) + page.SerializeToString()

    async def _skip(self, where: ListFilter, offset: int) -> Place | None:
        """Returns the place behind which a list goes on after `offset` runs."""
        after: Place | None = None
        while offset:
            passed = await self._store.list_runs(where, after=after, limit=min(offset, _SKIP))
            if not passed:
                break
            after = place_of(where.order, passed[-1].run)
            offset -= len(passed)
        return after

    async def _length(self, run_id: str) -> int:
        summary = await self._store.summarize_run(run_id)
        if summary is None:
            raise WorkflowNotFound(f"there is no run {run_id}")
        return summary.run.history_length

    async def _newest(self, run_id: str, before: int, limit: int) -> list[EventRow]:
        """Returns the events before one, newest first, that fit into one message; at least one."""
        rows: list[EventRow] = []
        size, step = 0, _STEP_FIRST
        while before > 1 and len(rows) < limit:
            after = max(before - 1 - min(step, limit - len(rows)), 0)
            for row in reversed(await self._between(run_id, after, before)):
                size += len(row.frame)
                if rows and size > _HISTORY_BYTES:
                    return rows
                rows.append(row)
            before, step = after + 1, min(2 * step, _STEP_MAX)
        return rows

    async def _between(self, run_id: str, after: int, before: int) -> list[EventRow]:
        """Returns the events between two, ascending."""
        rows: list[EventRow] = []
        while after < before - 1:
            part = await self._store.load_history(
                run_id, after_seq=after, limit=before - 1 - after, max_bytes=_HISTORY_BYTES
            )
            if not part:
                break
            rows += part
            after = part[-1].seq
        return rows


def _that_fit(page: Sequence[RunSummary]) -> list[RunSummary]:
    """Returns the first runs of a page whose inputs and ends fit into one message; at least one."""
    size = 0
    fit: list[RunSummary] = []
    for summary in page:
        size += len(summary.started) + len(summary.closed or b"") + _RECORD_BYTES
        if fit and size > limits.OUTGOING_BATCH_BYTES_MAX:
            break
        fit.append(summary)
    return fit


def _where(request: pb.ListWorkflowsRequest, now_us: int) -> ListFilter:
    condition, order = read_filter(request.filter, now_us=now_us)
    if request.order_by:
        order = read_order(request.order_by)
    if order is None and not is_by_id(request.page_token) and _has_latest(condition):
        # Run ids have no index that ends there: by them a walk would pass all that is newer.
        order = Order(FIELDS["created_at"], descending=True)
    return ListFilter(
        namespace=in_namespace(request).namespace,
        status=_status(request.status),
        workflow_type=request.workflow_type or None,
        condition=every(condition, *equal_to(request.search_attributes)),
        order=order,
    )


def _has_latest(condition: Condition | None) -> bool:
    """Whether runs are asked for that began before an instant."""
    return any(
        isinstance(part, Compared)
        and part.field == FIELDS["created_at"]
        and part.operator in {Operator.BELOW, Operator.UP_TO}
        for part in conjuncts(condition)
    )


def _event_of(page_token: str) -> int | None:
    """Returns the event next to which a page of a history begins. Raises InvalidPageToken."""
    if not page_token:
        return None
    if not (page_token.isascii() and page_token.isdecimal()) or len(page_token) > _DIGITS_MAX:
        raise _bad_page_token()
    return int(page_token)


def _bad_page_token() -> InvalidPageToken:
    return InvalidPageToken("send the token of the last page as it was received", "page_token")


def _status(status: WorkflowStatus) -> RunStatus | None:
    if status == WorkflowStatus.WORKFLOW_STATUS_UNSPECIFIED:
        return None
    return RunStatus(WorkflowStatus.Name(status).removeprefix("WORKFLOW_STATUS_"))
