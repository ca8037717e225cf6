from __future__ import annotations

import pytest

from perdure_server.core.model import Run, RunStatus
from perdure_server.core.run import (
    COMMAND_KINDS,
    RUN_TRANSITIONS,
    TASK_ACCEPTED,
    TASK_WANTED,
    apply,
)
from tests.support.histories import START_US, a_run

OPEN = (RunStatus.PENDING, RunStatus.RUNNING, RunStatus.PAUSED)
CLOSED = [status for status in RunStatus if status not in OPEN]


OPERATIONS = {
    "activity_options_updated",
    "activity_paused",
    "activity_unpaused",
    "activity_reset",
}


def standing(status: RunStatus | None) -> Run:
    """A run of this status with two events; None for one without a history."""
    if status is None:
        return a_run()
    return a_run(status=status, history_length=2, history_bytes=50, stimulus_seq=2, seen_seq=1)


@pytest.mark.parametrize(("row", "after"), RUN_TRANSITIONS.items(), ids=str)
def test_each_row_leads_where_it_says(row: tuple[RunStatus | None, str], after: RunStatus) -> None:
    before, kind = row
    run = standing(before)
    if kind == "workflow_unpaused":
        run.started_at_us = START_US
    length, size = run.history_length, run.history_bytes
    stimulus = run.stimulus_seq
    apply(run, kind, length + 1, at_us=START_US + 9, size=30)
    assert run.status is after
    assert run.updated_at_us == START_US + 9
    assert run.closed_at_us == (START_US + 9 if after.is_closed else None)
    assert run.cancel_requested is (kind == "workflow_cancel_requested")
    if kind == TASK_ACCEPTED:
        assert (run.history_length, run.history_bytes) == (length, size)
        assert run.seen_seq == length + 1
        assert run.started_at_us == START_US + 9
    elif kind == TASK_WANTED:
        assert (run.history_length, run.history_bytes) == (length, size)
        assert run.stimulus_seq == length + 1
        assert run.seen_seq == 1
    else:
        assert (run.history_length, run.history_bytes) == (length + 1, size + 30)
        unheard = COMMAND_KINDS | {"workflow_paused", "workflow_unpaused", *OPERATIONS}
        expected = stimulus if kind in unheard else length + 1
        assert run.stimulus_seq == expected


@pytest.mark.parametrize("status", [None, *RunStatus])
def test_an_event_without_a_row_changes_nothing(status: RunStatus | None) -> None:
    kinds = {kind for _, kind in RUN_TRANSITIONS}
    for kind in sorted(kind for kind in kinds if (status, kind) not in RUN_TRANSITIONS):
        run = standing(status)
        with pytest.raises(KeyError):
            apply(run, kind, 3, at_us=START_US + 9, size=30)
        assert run == standing(status)


@pytest.mark.parametrize("status", CLOSED)
def test_terminal_is_terminal(status: RunStatus) -> None:
    assert status.is_closed
    assert not [row for row in RUN_TRANSITIONS if row[0] is status]


def test_instants_never_decrease() -> None:
    run = standing(RunStatus.RUNNING)
    apply(run, "signal_received", 3, at_us=START_US - 5, size=1)
    assert run.updated_at_us == START_US


def test_the_code_starts_once() -> None:
    run = standing(RunStatus.PENDING)
    apply(run, TASK_ACCEPTED, 1, at_us=START_US + 1)
    apply(run, TASK_ACCEPTED, 2, at_us=START_US + 2)
    assert run.started_at_us == START_US + 1


def test_a_copy_is_equal_and_its_own() -> None:
    run = standing(RunStatus.RUNNING)
    copy = run.copy()
    assert copy == run
    copy.version += 1
    assert copy != run
