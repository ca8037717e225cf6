"""Owns the due times of schedules in memory: each expression is read once, and the last answers are
kept, since many schedules share both.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from perdure.v1.schedule_pb2 import Schedule
from perdure_server.core.due_times import DueTimes, Times, due_times, times_of
from perdure_server.core.schedule import salt_of
from perdure_server.core.times import from_duration

_EXPRESSIONS_MAX: Final = 2_000
_ANSWERS_MAX: Final = 4

_Key = tuple[str, str, int, int]


class Calendar:
    """Makes the due times of schedules."""

    def __init__(self) -> None:
        self._known: OrderedDict[_Key, _Remembering] = OrderedDict()

    def due_times_of(self, schedule: Schedule) -> DueTimes:
        """Returns the due times of a stored schedule."""
        spec = schedule.spec
        key = (
            spec.cron_expr,
            spec.timezone,
            from_duration(spec.interval),
            from_duration(spec.interval_offset),
        )
        times = self._known.get(key)
        if times is None:
            times = self._known[key] = _Remembering(times_of(spec))
            if len(self._known) > _EXPRESSIONS_MAX:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(key)
        return due_times(spec, salt_of(schedule), times)


class _Remembering:
    """Times whose last answers are kept."""

    def __init__(self, times: Times) -> None:
        self._times = times
        self._answers: OrderedDict[int, int | None] = OrderedDict()

    def next_after(self, after_us: int) -> int | None:
        """Returns the first instant after a given one."""
        if after_us not in self._answers:
            self._answers[after_us] = self._times.next_after(after_us)
            if len(self._answers) > _ANSWERS_MAX:
                self._answers.popitem(last=False)
        return self._answers[after_us]
