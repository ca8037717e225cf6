"""Owns reading a stored history to its end, page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator

from perdure_server.core.limits import OUTGOING_BATCH_BYTES_MAX
from perdure_server.core.model import EventRow
from perdure_server.store.contract import Store

_PAGE = 1_000


async def history_pages(
    store: Store, run_id: str, *, after_seq: int = 0
) -> AsyncIterator[list[EventRow]]:
    """Yields the events of a run after one, ascending; none of a run that does not exist."""
    seq = after_seq
    while rows := await store.load_history(
        run_id, after_seq=seq, limit=_PAGE, max_bytes=OUTGOING_BATCH_BYTES_MAX
    ):
        yield rows
        seq = rows[-1].seq
