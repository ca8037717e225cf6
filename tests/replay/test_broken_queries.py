"""Queries that raise where nobody has asked: for the snapshot that follows each task."""

from __future__ import annotations

from perdure import query, signal, workflow
from perdure._workflow import workflow_of
from tests.replay.rig import Rig

never = signal("never")


def test_a_query_that_raises_is_logged_once_for_each_kind_of_error(caplog):
    errors = [ValueError("1"), ValueError("2"), KeyError("3"), ValueError("4")]
    left = iter(errors)

    @workflow
    class Broken:
        async def run(self) -> None:
            await never.wait()

        @query
        def bad(self) -> str:
            raise next(left)

    rig = Rig(workflow_of(Broken))
    rig.run()
    assert [rig.machine.snapshot() for _ in errors] == [None] * 4
    assert [record.exc_info[1] for record in caplog.records] == [errors[0], errors[2]]
    assert "raised KeyError, so the snapshot of the run has no such value" in caplog.text
