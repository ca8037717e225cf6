from __future__ import annotations

from perdure_server.core.changeset import Changeset, ScheduleChange
from perdure_server.core.model import Lane, RequestRecord, ScheduleRow, TaskKind
from tests.core.life import Life, complete, schedule

LANE = Lane("main", "default", TaskKind.WORKFLOW, "checkout")


def test_lanes_are_those_of_tasks_that_nobody_holds() -> None:
    life = Life()
    opening = life.draft.change()
    assert Changeset([opening]).lanes() == {LANE}
    life.work(schedule(1), schedule(2, "ship"))
    scheduling = life.draft.change()
    assert {lane.type for lane in Changeset([opening, scheduling]).lanes()} == {
        "charge",
        "checkout",
        "ship",
    }
    scheduling.put_tasks[TaskKind.ACTIVITY, 1].session_id = "s-1"
    assert {lane.type for lane in Changeset([scheduling]).lanes()} == {"ship"}


def test_a_run_that_closes_leaves_no_task() -> None:
    life = Life()
    life.work(complete())
    assert Changeset([life.draft.change()]).lanes() == set()


def test_one_takes_over_what_stands_beside_the_runs_of_another() -> None:
    request = RequestRecord("main", "w", "A", "r", b"", b"", 1)
    change = ScheduleChange(ScheduleRow("main", "s", 2, None, False, b""), 1)
    one, other = Changeset(), Changeset(requests=[request], schedules=[change])
    one.absorb(other)
    assert (one.requests, one.schedules) == ([request], [change])
