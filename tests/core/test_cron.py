"""What a cron expression may say, and which local times it gives."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure_server.core.cron import parse_cron
from perdure_server.core.errors import InvalidSchedule

BEGIN = datetime(2026, 1, 1)  # noqa: DTZ001 - local times carry no zone here; a Thursday


def times(text: str, count: int) -> list[str]:
    cron, at, found = parse_cron(text), BEGIN, []
    for _ in range(count):
        following = cron.next_after(at)
        if following is None:
            break
        at = following
        found.append(at.isoformat(" "))
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30 2 * * *", ["2026-01-01 02:30:00", "2026-01-02 02:30:00"]),
        ("*/20 * * * *", ["2026-01-01 00:20:00", "2026-01-01 00:40:00"]),
        ("0 0 * * 1", ["2026-01-05 00:00:00", "2026-01-12 00:00:00"]),
        ("0 0 * * 0", ["2026-01-04 00:00:00", "2026-01-11 00:00:00"]),
        ("0 0 * * 7", ["2026-01-04 00:00:00", "2026-01-11 00:00:00"]),
        ("0 0 ? * MON", ["2026-01-05 00:00:00", "2026-01-12 00:00:00"]),
        # Of five fields either day matches, as cron has it.
        ("0 0 13 * 5", ["2026-01-02 00:00:00", "2026-01-09 00:00:00", "2026-01-13 00:00:00"]),
        # With six or seven both must.
        ("0 0 0 13 * fri", ["2026-02-13 00:00:00", "2026-03-13 00:00:00"]),
        ("0 0 0 13 * fri 2027", ["2027-08-13 00:00:00"]),
        ("15 30 2 * * *", ["2026-01-01 02:30:15", "2026-01-02 02:30:15"]),
        ("*/30 * * * * ?", ["2026-01-01 00:00:30", "2026-01-01 00:01:00"]),
        ("0 0 0 ? * mon-wed", ["2026-01-05 00:00:00", "2026-01-06 00:00:00"]),
        ("0 0 0 ? * fri#2", ["2026-01-09 00:00:00", "2026-02-13 00:00:00"]),
        ("0 0 0 ? * mon-fri/2", ["2026-01-02 00:00:00", "2026-01-05 00:00:00"]),
        ("0 0 12 1 1 ? 2026-2027", ["2026-01-01 12:00:00", "2027-01-01 12:00:00"]),
        ("0 0 0 L * ?", ["2026-01-31 00:00:00", "2026-02-28 00:00:00"]),
        ("@hourly", ["2026-01-01 01:00:00", "2026-01-01 02:00:00"]),
        ("@Daily", ["2026-01-02 00:00:00", "2026-01-03 00:00:00"]),
        ("@midnight", ["2026-01-02 00:00:00", "2026-01-03 00:00:00"]),
        ("@weekly", ["2026-01-04 00:00:00", "2026-01-11 00:00:00"]),
        ("@monthly", ["2026-02-01 00:00:00", "2026-03-01 00:00:00"]),
        ("@yearly", ["2027-01-01 00:00:00", "2028-01-01 00:00:00"]),
        ("@annually", ["2027-01-01 00:00:00", "2028-01-01 00:00:00"]),
        ("0 0 29 2 *", ["2028-02-29 00:00:00", "2032-02-29 00:00:00"]),
        ("0 0 30 2 *", []),
        ("0 0 0 1 1 ? 2020", []),
    ],
)
def test_the_times(text: str, expected: list[str]) -> None:
    assert times(text, max(len(expected), 1)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "*",
        "* * * *",
        "* * * * * * * *",
        "61 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * * 13 *",
        "* * * * 8",
        "*/0 * * * *",
        "a * * * *",
        "r * * * *",
        "h * * * *",
        "1,r(1-5) * * * *",
        "é * * * *",
        "@reboot",
        "@every 5m",
        "0 0 0 ? * MONDAY",
        "0 0 0 1 1 ? 1969",
        "0 0 0 1 1 ? 2100",
        "0 0 0 0 0 0 0",
        "* * * * * " + "9" * 5000,
        "* * * * " + "1," * 200 + "1",
    ],
)
def test_what_is_no_expression_is_refused(text: str) -> None:
    with pytest.raises(InvalidSchedule) as caught:
        parse_cron(text)
    assert caught.value.field == "cron_expr"


@pytest.mark.parametrize(
    ("text", "readings"),
    [
        ("0 0 0 ? * 2", ("TUE", "MON")),
        ("0 0 0 ? * 1", ("MON", "SUN")),
        ("0 0 0 ? * 7", ("SUN", "SAT")),
        ("0 0 0 ? * 0 2027", ("SUN", "SAT")),
        ("0 0 0 ? * mon,6", ("SAT", "FRI")),
        ("0 0 0 ? * 5#2", ("FRI", "THU")),
        ("0 0 0 ? * L5", ("FRI", "THU")),
    ],
)
def test_a_numbered_weekday_of_six_or_seven_fields_is_refused_with_both_readings(
    text: str, readings: tuple[str, str]
) -> None:
    with pytest.raises(InvalidSchedule, match=f"{readings[0]}.*{readings[1]}") as caught:
        parse_cron(text)
    assert caught.value.field == "cron_expr"


@pytest.mark.parametrize(
    ("text", "fixed"),
    [
        ("0 2 * * *", True),
        ("*/5 1-3,7 * * *", True),
        ("0 * * * *", False),
        ("0 */2 * * *", False),
        ("0 1,4/2 * * *", False),
        ("* 0 2 * * *", True),
        ("0 0 * * * *", False),
        ("0 0 */6 * * ? *", False),
        ("@daily", True),
        ("@hourly", False),
    ],
)
def test_whether_the_hour_is_fixed(text: str, fixed: bool) -> None:
    assert parse_cron(text).has_fixed_hour == fixed


def test_a_time_counts_as_the_first_from_itself_on() -> None:
    assert parse_cron("0 0 * * *").next_from(BEGIN) == BEGIN


FIELD = st.one_of(
    st.sampled_from(
        ["*", "?", "0", "1", "59", "*/7", "1-5", "mon", "L", "W", "#", "1,2", "H", "R"]
    ),
    st.text(max_size=6),
)


@given(st.lists(FIELD, min_size=4, max_size=8).map(" ".join))
def test_no_text_does_worse_than_being_refused(text: str) -> None:
    try:
        cron = parse_cron(text)
    except InvalidSchedule:
        return
    following = cron.next_after(BEGIN)
    assert following is None or following > BEGIN
