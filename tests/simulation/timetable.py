"""Schedules of a world: what their owners do, and what must hold for each due time."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from random import Random

from perdure.errors import InvalidScheduleError, ScheduleNotFoundError
from perdure.v1.schedule_pb2 import OverlapPolicy, Schedule
from perdure.v1.schedule_service_pb2 import (
    CreateScheduleRequest,
    DeleteScheduleRequest,
    PauseScheduleRequest,
    ResumeScheduleRequest,
    TriggerScheduleRequest,
)
from perdure_server.core.limits import SECOND_US
from perdure_server.core.schedule import workflow_id_of
from perdure_server.core.times import from_timestamp, to_timestamp
from tests.simulation.lineage import by_workflow, events_of
from tests.support.model_contents import Contents
from tests.support.sim_client import Promises, SimClient
from tests.support.virtual_loop import Wall, pause

_ALL_RUN = frozenset(
    {OverlapPolicy.OVERLAP_POLICY_ALLOW_ALL, OverlapPolicy.OVERLAP_POLICY_BUFFER_ALL}
)
"""With these policies no due time is left out."""
_CALM = "calm"
"""In the name of a schedule that nobody touches once it is there."""


class Owner:
    """A client that has one schedule."""

    def __init__(self, random: Random, clients: Sequence[SimClient], wall: Wall) -> None:
        self._random = random
        self._clients = clients
        self._wall = wall

    async def work(self, number: int, span_s: float) -> None:
        """Creates a schedule that ends after a while, and does this and that to it."""
        random = self._random
        await pause(random.uniform(0, span_s / 2))
        is_calm = random.random() < 0.5
        request = CreateScheduleRequest(
            name=f"{_CALM if is_calm else 'moved'}-{number}", request_id="create"
        )
        spec = request.spec
        spec.workflow_type = random.choice(["sequence", "nudged", "saga"])
        spec.input.data = b"1"
        spec.interval.FromSeconds(random.randint(1, 4))
        spec.overlap_policy = random.choice(OverlapPolicy.values())
        ends_us = self._wall.now_us() + int(span_s * SECOND_US)
        spec.end_at.CopyFrom(to_timestamp(ends_us))
        if random.random() < 0.3:
            spec.jitter.FromMilliseconds(900)
        try:
            await self._ask("create_schedule", request)
        except InvalidScheduleError:
            return  # The clock was moved behind its end.
        for _ in range(0 if is_calm else random.randrange(1, 5)):
            await pause(random.uniform(0, 4))
            with suppress(ScheduleNotFoundError):
                await self._touch(request.name)

    async def _touch(self, name: str) -> None:
        match self._random.randrange(5):
            case 0 | 1:
                await self._ask("pause_schedule", PauseScheduleRequest(name=name))
                await pause(self._random.uniform(0, 4))
                await self._ask("resume_schedule", ResumeScheduleRequest(name=name))
            case 2 | 3:
                number = self._random.choice(OverlapPolicy.values())
                trigger = TriggerScheduleRequest(name=name, request_id=f"now-{number}")
                trigger.overlap_policy = number
                await self._ask("trigger_schedule", trigger)
            case _:
                await self._ask("delete_schedule", DeleteScheduleRequest(name=name))

    async def _ask(self, kind: str, request: object) -> None:
        await self._random.choice(self._clients).ask(kind, request)


def is_over(contents: Contents) -> bool:
    """Whether no schedule will start anything any more."""
    records = [Schedule.FromString(row.record) for row in contents.schedules.values()]
    return not any(each.waiting or each.HasField("next_run_at") for each in records)


def check_schedules(promises: Promises, contents: Contents) -> None:
    """Each due time has at most one workflow, which names it, and what was left out was to be."""
    workflows = by_workflow(contents)
    started: dict[str, list[int]] = {}
    for workflow_id, runs in workflows.items():
        event = events_of(contents.runs[runs[0].run_id])[0].workflow_started
        if event.schedule_name:
            due_us = from_timestamp(event.schedule_due_at)
            assert workflow_id == workflow_id_of(event.schedule_name, due_us), event
            assert len(runs) == 1, runs
            started.setdefault(event.schedule_name, []).append(due_us)
    for row in contents.schedules.values():
        schedule = Schedule.FromString(row.record)
        due = sorted(started.get(schedule.name, []))
        assert schedule.run_count == len(due), (schedule, due)
        if schedule.name.startswith(_CALM):
            check_due_times(schedule, due)
    for kind, _, answer in promises.answered:
        if kind == "trigger_schedule":
            told = answer.run  # type: ignore[attr-defined]
            assert not told.run_id or told.run_id in contents.runs, told


def check_due_times(schedule: Schedule, due: Sequence[int]) -> None:
    """Every multiple of the interval had its workflow, unless another was still at work then."""
    spec = schedule.spec
    step_us = spec.interval.ToMicroseconds()
    first_us = from_timestamp(schedule.created_at) // step_us * step_us + step_us
    wanted = range(first_us, from_timestamp(spec.end_at) + 1, step_us)
    if spec.overlap_policy in _ALL_RUN:
        assert list(due) == list(wanted), (schedule, due, list(wanted))
    else:
        assert set(due) <= set(wanted), (schedule, due)
