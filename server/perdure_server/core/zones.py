"""Owns the way between instants and the local times of a time zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from perdure_server.core.errors import InvalidSchedule
from perdure_server.core.limits import SECOND_US, TIME_ZONE_BYTES_MAX

_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - local times carry no zone here
_EPOCH_UTC: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_BETWEEN_CHANGES_US: Final = 7 * 86_400 * SECOND_US
"""No zone changes its clocks twice within so long; what looks less often might miss a change."""
_NOT_OF_THE_WORLD: Final = ("right/", "posix/", "localtime", "posixrules", "Factory")
"""Files beside the zones: they count leap seconds, or mean another zone on each machine."""


def find_zone(name: str) -> ZoneInfo:
    """Returns a time zone by its name, as `Europe/Berlin`. Raises InvalidSchedule."""
    problem = f"{name[:TIME_ZONE_BYTES_MAX]!r} is no time zone; give a name like 'Europe/Berlin'"
    if len(name) > TIME_ZONE_BYTES_MAX or name.startswith(_NOT_OF_THE_WORLD):
        raise InvalidSchedule(problem, "timezone")
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidSchedule(problem, "timezone") from error


def local_time(zone: ZoneInfo, at_us: int) -> datetime:
    """Returns what clocks in a zone show at an instant."""
    return (_EPOCH_UTC + at_us * _MICROSECOND).astimezone(zone).replace(tzinfo=None)


def instant_of(zone: ZoneInfo, local: datetime) -> int:
    """Returns the instant of a local time.

    Of one that exists twice the first, of one that does not exist the next valid instant.
    """
    at_us = _instant(zone, local, fold=0)
    if local_time(zone, at_us) == local:
        return at_us
    # Within the gap, the offset from before it leads behind it, and the one from after it before.
    change_us = next_change(zone, _instant(zone, local, fold=1), until_us=at_us)
    assert change_us is not None
    return change_us


def offset_us(zone: ZoneInfo, at_us: int) -> int:
    """Returns how far clocks in a zone are ahead of UTC at an instant."""
    offset = (_EPOCH_UTC + at_us * _MICROSECOND).astimezone(zone).utcoffset()
    assert offset is not None
    return offset // _MICROSECOND


def us_of_local(local: datetime) -> int:
    """Returns the microseconds of a local time: its instant and the offset together."""
    return (local - _EPOCH) // _MICROSECOND


def next_change(zone: ZoneInfo, after_us: int, *, until_us: int) -> int | None:
    """Returns the first instant within a span at which the offset is another than before it."""
    low_us, offset = after_us, offset_us(zone, after_us)
    while low_us < until_us:
        high_us = min(low_us + _BETWEEN_CHANGES_US, until_us)
        if offset_us(zone, high_us) != offset:
            return _first_other(zone, low_us, high_us, offset=offset)
        low_us = high_us
    return None


def _first_other(zone: ZoneInfo, low_us: int, high_us: int, *, offset: int) -> int:
    """Halves a span at whose end the offset is another than at its beginning."""
    while high_us - low_us > 1:
        middle_us = (low_us + high_us) // 2
        if offset_us(zone, middle_us) == offset:
            low_us = middle_us
        else:
            high_us = middle_us
    return high_us


def _instant(zone: ZoneInfo, local: datetime, *, fold: int) -> int:
    return (local.replace(tzinfo=zone, fold=fold) - _EPOCH_UTC) // _MICROSECOND
