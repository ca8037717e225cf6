"""Every kind of event is read when a run is made again from its history, or says nothing of it."""

from __future__ import annotations

import pytest

from perdure.v1.history_pb2 import HistoryEvent
from perdure_server.core.rebuild import _READERS

KINDS = {field.name for field in HistoryEvent.DESCRIPTOR.oneofs_by_name["event"].fields}
CLOSING = "closes the run, and a run that begins again takes over nothing that is closed"
UNREAD = {
    "signal_received": "stands in the history alone: no row and no counter tells of it",
    "workflow_reset": "tells where the history comes from",
    "activity_reset": "changes attempts, which begin anew in any case",
    "workflow_completed": CLOSING,
    "workflow_failed": CLOSING,
    "workflow_cancelled": CLOSING,
    "workflow_terminated": CLOSING,
    "workflow_timed_out": CLOSING,
    "workflow_continued_as_new": CLOSING,
}
"""Kinds without a reader, each with the reason."""


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_has_a_reader_or_a_reason(kind: str) -> None:
    assert (kind in _READERS) != (kind in UNREAD)


def test_nothing_is_read_that_is_never_recorded() -> None:
    assert _READERS.keys() | UNREAD.keys() == KINDS
