"""Which instants a schedule has, above all where clocks are changed."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from perdure.v1.schedule_pb2 import ScheduleSpec
from perdure_server.core.due_times import DueTimes, due_times
from perdure_server.core.errors import InvalidSchedule
from perdure_server.core.limits import SECOND_US

DAY_US = 86_400 * SECOND_US


def us(text: str) -> int:
    """Returns an instant written as `2026-03-29 01:00`, in UTC."""
    at = datetime.fromisoformat(text).replace(tzinfo=UTC)
    return int(at.timestamp()) * SECOND_US


def shown(at_us: int) -> str:
    return datetime.fromtimestamp(at_us / SECOND_US, UTC).strftime("%Y-%m-%d %H:%M")


def cron(expr: str, zone: str = "UTC", **fields: object) -> DueTimes:
    return due_times(ScheduleSpec(cron_expr=expr, timezone=zone, **fields), "s")


def instants(times: DueTimes, begin: str, end: str) -> list[str]:
    """Returns the instants after `begin` and up to `end`."""
    found = []
    for at_us in times.all_after(us(begin)):
        if at_us > us(end):
            break
        found.append(shown(at_us))
    return found


# 2026: Berlin goes from +1 to +2 on March 29 at 01:00 UTC and back on October 25 at 01:00 UTC.
# New York goes from -5 to -4 on March 8 at 07:00 UTC and back on November 1 at 06:00 UTC.


def test_a_nightly_schedule_in_berlin_over_both_changes_of_2026() -> None:
    nightly = cron("30 2 * * *", "Europe/Berlin")
    assert instants(nightly, "2026-03-27 00:00", "2026-03-31 12:00") == [
        "2026-03-27 01:30",
        "2026-03-28 01:30",
        "2026-03-29 01:00",  # 02:30 does not exist: 03:00 in summer time is the next valid instant
        "2026-03-30 00:30",
        "2026-03-31 00:30",
    ]
    assert instants(nightly, "2026-10-23 12:00", "2026-10-27 12:00") == [
        "2026-10-24 00:30",
        "2026-10-25 00:30",  # 02:30 exists twice: the first
        "2026-10-26 01:30",
        "2026-10-27 01:30",
    ]


def test_a_nightly_schedule_in_new_york_over_both_changes_of_2026() -> None:
    nightly = cron("30 2 * * *", "America/New_York")
    assert instants(nightly, "2026-03-06 12:00", "2026-03-10 12:00") == [
        "2026-03-07 07:30",
        "2026-03-08 07:00",
        "2026-03-09 06:30",
        "2026-03-10 06:30",
    ]
    early = cron("30 1 * * *", "America/New_York")
    assert instants(early, "2026-10-30 12:00", "2026-11-03 12:00") == [
        "2026-10-31 05:30",
        "2026-11-01 05:30",
        "2026-11-02 06:30",
        "2026-11-03 06:30",
    ]


@pytest.mark.parametrize(
    ("zone", "change", "expected"),
    [
        (
            "Europe/Berlin",
            "2026-03-29",
            ["23:30", "00:00", "00:30", "01:00", "01:30", "02:00", "02:30", "03:00"],
        ),
        (
            "Europe/Berlin",
            "2026-10-25",
            ["23:30", "00:00", "00:30", "01:00", "01:30", "02:00", "02:30", "03:00"],
        ),
    ],
)
def test_half_hours_run_on_elapsed_time(zone: str, change: str, expected: list[str]) -> None:
    begin = us(f"{change} 00:00") - 31 * 60 * SECOND_US
    found = islice(cron("*/30 * * * *", zone).all_after(begin), len(expected))
    assert [shown(at_us)[-5:] for at_us in found] == expected


def test_every_hour_runs_on_elapsed_time_in_new_york_too() -> None:
    hourly = cron("@hourly", "America/New_York")
    for day in ("2026-03-08", "2026-11-01"):
        found = instants(hourly, f"{day} 03:59", f"{day} 09:00")
        assert found == [f"{day} {hour:02}:00" for hour in range(4, 10)]


def test_a_step_of_hours_takes_the_instants_at_which_the_clock_shows_it() -> None:
    steps = cron("0 */2 * * *", "Europe/Berlin")
    assert instants(steps, "2026-03-28 22:00", "2026-03-29 05:00") == [
        "2026-03-28 23:00",  # 00:00
        "2026-03-29 02:00",  # 04:00, since there is no 02:00
        "2026-03-29 04:00",  # 06:00
    ]
    assert instants(steps, "2026-10-24 21:00", "2026-10-25 05:00") == [
        "2026-10-24 22:00",  # 00:00
        "2026-10-25 00:00",  # 02:00 in summer time
        "2026-10-25 01:00",  # 02:00 in winter time
        "2026-10-25 03:00",  # 04:00
        "2026-10-25 05:00",  # 06:00
    ]


def test_several_times_within_the_gap_are_one_instant() -> None:
    several = cron("0,20,40 2-3 * * *", "Europe/Berlin")
    assert instants(several, "2026-03-29 00:00", "2026-03-29 01:45") == [
        "2026-03-29 01:00",
        "2026-03-29 01:20",
        "2026-03-29 01:40",
    ]


def test_of_a_doubled_hour_the_first_pass_counts_where_the_hour_is_fixed() -> None:
    several = cron("0,30 2,3 * * *", "Europe/Berlin")
    assert instants(several, "2026-10-24 23:00", "2026-10-25 04:00") == [
        "2026-10-25 00:00",
        "2026-10-25 00:30",
        "2026-10-25 02:00",
        "2026-10-25 02:30",
    ]
    # Asked within the second pass, what the first one had does not come again.
    assert instants(several, "2026-10-25 01:10", "2026-10-25 02:00") == ["2026-10-25 02:00"]


def test_the_last_time_of_all_can_come_twice() -> None:
    last = cron("0 30 */2 25 10 ? 2026", "Europe/Berlin")
    assert instants(last, "2026-10-25 20:00", "2030-01-01 00:00") == ["2026-10-25 21:30"]
    assert instants(last, "2026-10-25 21:30", "2030-01-01 00:00") == []
    at_the_fold = cron("0 30 2/22 25 10 ? 2026", "Europe/Berlin")
    assert instants(at_the_fold, "2026-10-25 00:00", "2030-01-01 00:00") == [
        "2026-10-25 00:30",
        "2026-10-25 01:30",
    ]


def test_a_change_long_before_the_next_time_is_passed() -> None:
    yearly = cron("0 */12 1 7 *", "Europe/Berlin")
    assert instants(yearly, "2026-01-01 00:00", "2026-12-31 00:00") == [
        "2026-06-30 22:00",
        "2026-07-01 10:00",
    ]


def test_a_zone_that_changes_at_midnight_and_by_half_an_hour() -> None:
    assert instants(cron("0 0 * * *", "Asia/Beirut"), "2026-03-27 00:00", "2026-03-30 12:00") == [
        "2026-03-27 22:00",
        "2026-03-28 22:00",  # 00:00 does not exist on March 29
        "2026-03-29 21:00",
    ]
    howe = cron("15 2 * * *", "Australia/Lord_Howe")
    assert instants(howe, "2026-10-02 20:00", "2026-10-04 20:00") == [
        "2026-10-03 15:30",  # 02:15 does not exist on October 4: 02:30 in summer time
        "2026-10-04 15:15",
    ]


def test_an_interval_is_counted_from_1970_whatever_the_clocks_show() -> None:
    spec = ScheduleSpec(
        interval=Duration(seconds=3600), interval_offset=Duration(seconds=600), timezone="UTC"
    )
    times = due_times(spec, "s")
    assert instants(times, "2026-03-29 00:10", "2026-03-29 03:00") == [
        "2026-03-29 01:10",
        "2026-03-29 02:10",
    ]
    assert times.next_after(us("2026-03-29 00:10") - 1) == us("2026-03-29 00:10")


def test_the_bounds_of_a_schedule() -> None:
    times = cron(
        "0 0 * * *",
        start_at=Timestamp(seconds=us("2026-02-03 00:00") // SECOND_US),
        end_at=Timestamp(seconds=us("2026-02-05 00:00") // SECOND_US),
    )
    assert instants(times, "2026-01-01 00:00", "2027-01-01 00:00") == [
        "2026-02-03 00:00",
        "2026-02-04 00:00",
        "2026-02-05 00:00",
    ]


def test_the_jitter_is_the_same_each_time_and_below_the_next_due_time() -> None:
    times = cron("* * * * *", jitter=Duration(seconds=20))
    dues = list(islice(times.all_after(us("2026-01-01 00:00")), 50))
    late = [times.serve_at(due) - due for due in dues]
    assert late == [times.serve_at(due) - due for due in dues]
    assert len(set(late)) > 40
    assert all(0 <= each < 20 * SECOND_US for each in late)
    other = due_times(
        ScheduleSpec(cron_expr="* * * * *", timezone="UTC", jitter=Duration(seconds=20)), "other"
    )
    assert [other.serve_at(due) - due for due in dues] != late


def test_a_large_jitter_never_overtakes() -> None:
    times = cron("* * * * *", jitter=Duration(seconds=7200))
    dues = list(islice(times.all_after(us("2026-01-01 00:00")), 50))
    served = [times.serve_at(due) for due in dues]
    assert served == sorted(served)
    last = cron("0 0 0 1 1 ? 2027", jitter=Duration(seconds=7200))
    due = us("2027-01-01 00:00")
    assert due < last.serve_at(due) < due + 7200 * SECOND_US


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"timezone": "UTC"}, "cron_expr"),
        ({"timezone": "UTC", "cron_expr": "x"}, "cron_expr"),
        ({"timezone": "Mars/Olympus", "cron_expr": "@daily"}, "timezone"),
        ({"timezone": "../etc/passwd", "cron_expr": "@daily"}, "timezone"),
        ({"timezone": "Europe", "cron_expr": "@daily"}, "timezone"),
        ({"timezone": "a\0b", "cron_expr": "@daily"}, "timezone"),
        ({"timezone": "localtime", "cron_expr": "@daily"}, "timezone"),
        ({"timezone": "right/UTC", "cron_expr": "@daily"}, "timezone"),
        ({"timezone": "A" * 65, "cron_expr": "@daily"}, "timezone"),
        ({"timezone": "UTC", "interval": Duration(seconds=0)}, "interval"),
        ({"timezone": "UTC", "interval": Duration(nanos=999_999_999)}, "interval"),
        (
            {"timezone": "UTC", "cron_expr": "@daily", "interval": Duration(seconds=9)},
            "interval",
        ),
        (
            {"timezone": "UTC", "cron_expr": "@daily", "interval_offset": Duration(seconds=9)},
            "interval_offset",
        ),
        (
            {
                "timezone": "UTC",
                "interval": Duration(seconds=9),
                "interval_offset": Duration(seconds=9),
            },
            "interval_offset",
        ),
        (
            {
                "timezone": "UTC",
                "cron_expr": "@daily",
                "start_at": Timestamp(seconds=10),
                "end_at": Timestamp(seconds=9),
            },
            "end_at",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(fields: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidSchedule) as caught:
        due_times(ScheduleSpec(**fields), "s")
    assert caught.value.field == field


@given(
    st.sampled_from(["30 2 * * *", "*/7 * * * *", "0 */3 * * *", "15 0,23 * * mon", "5 4 31 * *"]),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Africa/Casablanca"]),
    st.integers(min_value=us("2026-01-01 00:00"), max_value=us("2028-01-01 00:00")),
)
def test_due_times_come_one_after_another_wherever_one_begins(
    expr: str, zone: str, begin_us: int
) -> None:
    times = cron(expr, zone)
    found = list(islice(times.all_after(begin_us), 4))
    assert found == sorted(set(found))
    assert found[0] > begin_us
    # Whoever asks between two of them is told the second.
    assert times.next_after((found[0] + found[1]) // 2) == found[1]
    assert times.next_after(found[1] - 1) == found[1]
