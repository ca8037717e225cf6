"""Owns the due times of a schedule: which instants its spec gives, and how late each is served."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol
from zoneinfo import ZoneInfo

from perdure.v1.schedule_pb2 import ScheduleSpec
from perdure_server.core.cron import Cron, parse_cron
from perdure_server.core.errors import InvalidSchedule
from perdure_server.core.limits import SCHEDULE_TIME_US_MAX, SECOND_US
from perdure_server.core.times import from_duration, from_timestamp
from perdure_server.core.zones import (
    find_zone,
    instant_of,
    local_time,
    next_change,
    offset_us,
    us_of_local,
)

_DAY_US: Final = 86_400 * SECOND_US
_FRACTION_BITS: Final = 64


class Times(Protocol):
    """Gives instants, one after another."""

    def next_after(self, after_us: int) -> int | None:
        """Returns the first instant after a given one; None when there is none."""


@dataclass(slots=True, frozen=True)
class CronTimes:
    """The instants of a cron expression in a time zone."""

    cron: Cron
    zone: ZoneInfo

    def next_after(self, after_us: int) -> int | None:
        """Returns the first instant after a given one."""
        if self.cron.has_fixed_hour:
            return self._by_the_clock(after_us)
        return self._by_elapsed_time(after_us)

    def _by_the_clock(self, after_us: int) -> int | None:
        """Takes each local time once: the next valid instant, or the first of two."""
        local = self.cron.next_after(local_time(self.zone, after_us))
        while local is not None:
            at_us = instant_of(self.zone, local)
            if at_us > after_us:
                return at_us
            # The clock was set back: this local time had its instant the first time round.
            local = self.cron.next_after(local)
        return None

    def _by_elapsed_time(self, after_us: int) -> int | None:
        """Takes each instant at which the clock shows a time of the expression.

        Between two changes of the clock, local times and instants go side by side.
        """
        offset = offset_us(self.zone, after_us)
        local = self.cron.next_after(local_time(self.zone, after_us))
        while True:
            # After the last local time of all, only a clock that was set back can show one again.
            until_us = after_us + _DAY_US if local is None else us_of_local(local) - offset
            change_us = next_change(self.zone, after_us, until_us=until_us)
            if change_us is None:
                return None if local is None else until_us
            after_us, offset = change_us, offset_us(self.zone, change_us)
            local = self.cron.next_from(local_time(self.zone, change_us))
            if local is not None and us_of_local(local) - offset == change_us:
                return change_us


@dataclass(slots=True, frozen=True)
class IntervalTimes:
    """The instants that are a multiple of a span since 1970, moved by an offset."""

    every_us: int
    offset_us: int

    def next_after(self, after_us: int) -> int | None:
        """Returns the first instant after a given one."""
        passed = (after_us - self.offset_us) // self.every_us
        return (passed + 1) * self.every_us + self.offset_us


@dataclass(slots=True, frozen=True)
class DueTimes:
    """The due times of one schedule, within its bounds. `salt` makes its delays its own."""

    times: Times
    start_us: int
    end_us: int
    jitter_us: int
    salt: str

    def next_after(self, after_us: int) -> int | None:
        """Returns the first due time after an instant; None when there is none."""
        due_us = self.times.next_after(max(after_us, self.start_us - 1))
        return None if due_us is None or due_us > self.end_us else due_us

    def serve_at(self, due_us: int) -> int:
        """Returns when a due time is served: it is late by its jitter, but before the next one."""
        if not self.jitter_us:
            return due_us
        following_us = self.times.next_after(due_us)
        room_us = self.jitter_us
        if following_us is not None:
            room_us = min(room_us, following_us - due_us - 1)
        seed = f"{self.salt}\0{due_us}".encode()
        digest = hashlib.blake2b(seed, digest_size=_FRACTION_BITS // 8).digest()
        return due_us + (room_us * int.from_bytes(digest) >> _FRACTION_BITS)

    def all_after(self, after_us: int) -> Iterator[int]:
        """Yields due times after an instant."""
        due_us = self.next_after(after_us)
        while due_us is not None:
            yield due_us
            due_us = self.next_after(due_us)


def due_times(spec: ScheduleSpec, salt: str, times: Times | None = None) -> DueTimes:
    """Returns the due times of a spec, by `times` if its own are known. Raises InvalidSchedule."""
    start_us = from_timestamp(spec.start_at) if spec.HasField("start_at") else 0
    end_us = SCHEDULE_TIME_US_MAX
    if spec.HasField("end_at"):
        end_us = min(end_us, from_timestamp(spec.end_at))
    if end_us < start_us:
        raise InvalidSchedule("is before start_at", "end_at")
    return DueTimes(times or times_of(spec), start_us, end_us, from_duration(spec.jitter), salt)


def times_of(spec: ScheduleSpec) -> Times:
    """Returns the instants of a spec, without its bounds. Raises InvalidSchedule."""
    zone = find_zone(spec.timezone)
    if spec.HasField("interval"):
        if spec.cron_expr:
            raise InvalidSchedule("stands beside cron_expr; give one of the two", "interval")
        return _interval(spec)
    if spec.HasField("interval_offset"):
        raise InvalidSchedule("moves an interval, and there is none", "interval_offset")
    if not spec.cron_expr:
        raise InvalidSchedule("is required, or an interval", "cron_expr")
    return CronTimes(parse_cron(spec.cron_expr), zone)


def _interval(spec: ScheduleSpec) -> IntervalTimes:
    every_us, moved_us = from_duration(spec.interval), from_duration(spec.interval_offset)
    if every_us < SECOND_US:
        raise InvalidSchedule(f"is {every_us / SECOND_US} s; at least 1 s", "interval")
    if moved_us >= every_us:
        raise InvalidSchedule("is not less than the interval", "interval_offset")
    return IntervalTimes(every_us, moved_us)
