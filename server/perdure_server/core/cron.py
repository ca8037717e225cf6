"""Owns cron expressions: what one may say, and the local times that it gives.

`croniter` reads the fields and finds the times. Its own handling of time zones is not used: it is
given local times only, and `due_times` makes instants of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from croniter import CroniterError, croniter

from perdure_server.core.errors import InvalidSchedule
from perdure_server.core.limits import CRON_BYTES_MAX

_FIELD: Final = "cron_expr"
_NAMED: Final = MappingProxyType(
    {
        "@hourly": "0 * * * *",
        "@daily": "0 0 * * *",
        "@midnight": "0 0 * * *",
        "@weekly": "0 0 * * 0",
        "@monthly": "0 0 1 * *",
        "@yearly": "0 0 1 1 *",
        "@annually": "0 0 1 1 *",
    }
)
_UNIX_FIELDS: Final = 5
_FIELDS: Final = (5, 6, 7)
_WEEKDAYS: Final = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_NO_WEEKDAY: Final = re.compile(r"/\d+|#\d+", re.ASCII)
"""Numbers in the field of weekdays that count something else."""
_BY_CHANCE: Final = re.compile(r"[hr](\(|/|$)", re.ASCII)
"""Begins what `croniter` replaces by a number of its own choice."""
_START: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - local times carry no zone here
_JUST_BEFORE: Final = timedelta(microseconds=1)


@dataclass(slots=True, frozen=True)
class Cron:
    """A cron expression that can be understood."""

    fields: tuple[str, ...]
    """In lower case, as it was given: five, six or seven."""
    finder: croniter
    """Is told with every question where to begin."""

    @property
    def has_fixed_hour(self) -> bool:
        """Whether the hour field names hours, and neither all nor steps of them."""
        hour = self.fields[1 if len(self.fields) == _UNIX_FIELDS else 2]
        return "*" not in hour and "/" not in hour

    def next_after(self, local: datetime) -> datetime | None:
        """Returns the first local time after a given one; None when there is none."""
        try:
            return self.finder.get_next(datetime, start_time=local)
        except (CroniterError, OverflowError, ValueError):
            return None

    def next_from(self, local: datetime) -> datetime | None:
        """Returns the first local time that is not before a given one."""
        return self.next_after(local - _JUST_BEFORE)


def parse_cron(text: str) -> Cron:
    """Returns the expression behind a text. Raises InvalidSchedule."""
    if len(text.encode()) > CRON_BYTES_MAX:
        raise InvalidSchedule(f"is longer than {CRON_BYTES_MAX} bytes", _FIELD)
    lower = text.strip().lower()
    if lower.startswith("@") and lower not in _NAMED:
        raise InvalidSchedule(f"{text!r} is not one of {', '.join(_NAMED)}", _FIELD)
    fields = tuple(_NAMED.get(lower, lower).split())
    if len(fields) not in _FIELDS:
        raise InvalidSchedule(
            f"{text!r} has {len(fields)} fields; give five (minute hour day month weekday), six"
            " (second first) or seven (year last)",
            _FIELD,
        )
    if any(_BY_CHANCE.match(part) for field in fields for part in field.split(",")):
        raise InvalidSchedule(f"{text!r} leaves a field to chance; give a number", _FIELD)
    if len(fields) > _UNIX_FIELDS:
        _refuse_numbered_weekdays(fields[5])
    try:
        return Cron(fields, _finder(fields))
    except (CroniterError, ValueError, TypeError, KeyError, IndexError) as error:
        problem = f"{text!r} is no cron expression: {error}"
        raise InvalidSchedule(problem, _FIELD) from error


def _finder(fields: tuple[str, ...]) -> croniter:
    is_unix = len(fields) == _UNIX_FIELDS
    return croniter(
        " ".join(fields),
        _START,
        day_or=is_unix,
        implement_cron_bug=is_unix,
        second_at_beginning=not is_unix,
    )


def _refuse_numbered_weekdays(field: str) -> None:
    number = re.search(r"\d+", _NO_WEEKDAY.sub("", field), re.ASCII)
    if number is None:
        return
    value = int(number.group())
    from_zero, from_one = _WEEKDAYS[value % 7], _WEEKDAYS[(value - 1) % 7]
    raise InvalidSchedule(
        f"the weekday {value} is {from_zero} where Sunday is 0 and {from_one} where Sunday is 1;"
        " write the name",
        _FIELD,
    )
