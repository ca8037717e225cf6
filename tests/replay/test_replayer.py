"""`replay` takes a history or its export, and says what is wrong with either."""

from __future__ import annotations

import json

import pytest

from perdure import activity, workflow
from perdure._replay.replayer import replay
from perdure.errors import HistoryError
from perdure.v1.history_pb2 import History
from tests.replay.rig import Rig


@activity
async def tick() -> None: ...


@workflow
async def shop() -> None:
    await tick()
    await tick()


def test_it_gives_the_commands_that_come_next():
    rig = Rig(shop)
    rig.run()
    rig.complete(1)
    history = History(events=rig.events)
    for form in (history, rig.export(), json.dumps(rig.export())):
        (command,) = replay(form, [shop])
        assert command.schedule_activity.seq == 2


def test_it_needs_the_workflow_and_the_first_event():
    rig = Rig(shop)
    with pytest.raises(LookupError, match=r"type 'shop'; given are \[\]"):
        replay(History(events=rig.events), [])
    rig.run()
    for events in ([], rig.events[1:]):
        with pytest.raises(HistoryError, match="opens with WorkflowStarted"):
            replay(History(events=events), [shop])
