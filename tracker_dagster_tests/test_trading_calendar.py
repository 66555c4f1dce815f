"""The calendar against exchange_calendars, published holiday lists and hand-picked days."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.generate_sessions import TARGET, rows
from tracker_dagster import trading_calendar as cal

ET = ZoneInfo("America/New_York")


def et(year, month, day, hour=0, minute=0):
    return datetime(year, month, day, hour, minute, tzinfo=ET)


@pytest.mark.slow
def test_session_file_is_what_exchange_calendars_says():
    assert TARGET.read_text().splitlines()[1:] == rows()


@pytest.mark.feature(14)
def test_sessions_per_year_are_those_of_the_exchange():
    counts = {
        year: len(cal.sessions_between(date(year, 1, 1), date(year, 12, 31)))
        for year in range(2021, 2028)
    }
    assert counts == {2021: 252, 2022: 251, 2023: 250, 2024: 252, 2025: 250, 2026: 251, 2027: 251}


def test_mourning_day_and_hurricane_have_no_session():
    assert not cal.is_session(date(2025, 1, 9))
    assert not cal.is_session(date(2012, 10, 29))
    assert not cal.is_session(date(2012, 10, 30))


@pytest.mark.feature(14)
@pytest.mark.parametrize("day", ["2023-07-03", "2024-12-24", "2025-11-28", "2026-11-27"])
def test_early_closes_end_at_one(day):
    session = cal.session_on(date.fromisoformat(day))
    assert session.is_early_close
    assert session.close.astimezone(ET).hour == 13
    assert session.minutes == 210


@pytest.mark.parametrize("day", ["2026-07-02", "2027-07-02", "2021-12-23", "2023-12-22"])
def test_days_that_look_like_half_days_are_full(day):
    assert not cal.session_on(date.fromisoformat(day)).is_early_close


def test_open_moves_with_daylight_saving():
    assert cal.session_on(date(2026, 3, 6)).open == datetime(2026, 3, 6, 14, 30, tzinfo=UTC)
    assert cal.session_on(date(2026, 3, 9)).open == datetime(2026, 3, 9, 13, 30, tzinfo=UTC)
    assert cal.session_on(date(2026, 11, 2)).open == datetime(2026, 11, 2, 14, 30, tzinfo=UTC)


@pytest.mark.feature(14)
@pytest.mark.parametrize(
    ("after", "expiry"),
    [
        ("2026-03-30", "2026-04-02"),  # Good Friday
        ("2026-04-02", "2026-04-10"),  # never the day itself
        ("2026-11-20", "2026-11-27"),  # a Friday asks for the next one
        ("2026-12-21", "2026-12-24"),  # Christmas on a Friday
        ("2026-12-31", "2027-01-08"),  # New Year on a Friday: the 31st was that week's expiry
        ("2025-07-02", "2025-07-03"),
    ],
)
def test_weekly_expiry_moves_off_holidays_and_is_never_today(after, expiry):
    assert cal.weekly_expiry(date.fromisoformat(after)) == date.fromisoformat(expiry)


@pytest.mark.parametrize(
    ("year", "month", "expiry"),
    [(2022, 4, "2022-04-14"), (2025, 4, "2025-04-17"), (2026, 6, "2026-06-18"),
     (2027, 6, "2027-06-17"), (2026, 11, "2026-11-20")],
)  # fmt: skip
def test_monthly_expiry_moves_off_holidays(year, month, expiry):
    assert cal.monthly_expiry(year, month) == date.fromisoformat(expiry)


def test_day_file_is_out_at_eleven_next_calendar_day():
    friday = date(2026, 11, 20)
    assert cal.day_file_available_at(friday) == et(2026, 11, 21, 11)
    assert cal.last_published_session(et(2026, 11, 21, 10, 59)) == date(2026, 11, 19)
    assert cal.last_published_session(et(2026, 11, 21, 11)) == friday
    assert cal.last_published_session(et(2026, 11, 23, 12)) == friday


def test_slots_of_a_full_and_a_half_day():
    full = cal.capture_slots(date(2026, 11, 20), 15)
    assert len(full) == 26
    assert (full[0], full[-1]) == (et(2026, 11, 20, 9, 45), et(2026, 11, 20, 16))
    assert len(cal.capture_slots(date(2026, 11, 27), 5)) == 42
    assert et(2026, 11, 27, 12, 50) in cal.chain_slots(date(2026, 11, 27))


def test_a_due_slot_expires_and_the_closing_one_too():
    day = date(2026, 11, 20)
    slots, tolerance = cal.chain_slots(day), timedelta(minutes=15)
    assert cal.due_slot(slots, et(2026, 11, 20, 9, 31), tolerance) is None
    assert cal.due_slot(slots, et(2026, 11, 20, 15, 50), tolerance) == et(2026, 11, 20, 15, 50)
    assert cal.due_slot(slots, et(2026, 11, 20, 15, 52), tolerance) == et(2026, 11, 20, 15, 50)
    assert cal.due_slot(slots, et(2026, 11, 20, 16, 15), tolerance) == et(2026, 11, 20, 16)
    assert cal.due_slot(slots, et(2026, 11, 20, 16, 16), tolerance) is None


def test_naive_datetimes_are_refused():
    with pytest.raises(cal.CalendarError, match="naive"):
        cal.current_session(datetime(2026, 11, 20, 12))


@given(
    st.datetimes(datetime(2004, 1, 2), datetime(2034, 12, 1)).map(lambda d: d.replace(tzinfo=UTC))
)
def test_sessions_around_any_moment_are_in_order(moment):
    current, complete = cal.current_session(moment), cal.last_complete_session(moment)
    assert cal.session_on(current).open <= moment
    assert cal.session_on(complete).close <= moment
    assert complete in {current, cal.previous_session(current)}
    assert cal.session_on(cal.next_session(current)).open > moment
    assert cal.is_open(moment) == (current != complete)
