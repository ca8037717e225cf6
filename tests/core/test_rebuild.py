"""Events are read when a run is made again from its history, or as far as they are new."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.v1.history_pb2 import HistoryEvent
from perdure_server.core.rebuild import _READERS, renew
from perdure_server.core.state import RunState
from tests.core.test_properties import Chance

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


@settings(deadline=None, derandomize=True, max_examples=60)
@given(seed=st.integers(0, 2**32), steps=st.integers(0, 80), later=st.integers(0, 80))
def test_a_run_of_which_only_what_is_new_was_read_is_the_run(
    seed: int, steps: int, later: int
) -> None:
    chance = Chance(seed)
    for _ in range(steps):
        chance.step()
    known = deepcopy(chance.life.state)
    for _ in range(later):
        chance.step()
    state = chance.life.state
    found = replace(state, children={}, tail=chance.life.rows[known.run.history_length :])
    before = deepcopy(known)
    renewed = renew(known, found)
    assert known == before
    assert without_policies(renewed) == without_policies(state)


def without_policies(state: RunState) -> RunState:
    """The event of a child that could not be started tells no policy, and nobody asks for one."""
    rows = state.children.values()
    children = {row.seq: row if row.child_run_id else replace(row, policy="") for row in rows}
    return replace(state, children=children)
