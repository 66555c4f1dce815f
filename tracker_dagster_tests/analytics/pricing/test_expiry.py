"""Years to expiry against clocks and calendars written out by hand."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from tracker_dagster.analytics.pricing.expiry import (
    expiry_instant,
    years_column,
    years_to_expiry,
)
from tracker_dagster.trading_calendar import CalendarError, monthly_expiry

NEW_YORK = ZoneInfo("America/New_York")
MINUTE = 1 / (365 * 24 * 60)


def new_york(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=NEW_YORK)


@pytest.mark.parametrize(
    ("expiry", "am_settled", "instant"),
    [
        # An ordinary Friday, in summer and in winter time.
        (date(2026, 7, 17), False, datetime(2026, 7, 17, 20, 0, tzinfo=UTC)),
        (date(2026, 11, 20), False, datetime(2026, 11, 20, 21, 0, tzinfo=UTC)),
        # The day after Thanksgiving, Christmas Eve and 3 July 2025 close at 13:00.
        (date(2026, 11, 27), False, datetime(2026, 11, 27, 18, 0, tzinfo=UTC)),
        (date(2025, 12, 24), False, datetime(2025, 12, 24, 18, 0, tzinfo=UTC)),
        (date(2025, 7, 3), False, datetime(2025, 7, 3, 17, 0, tzinfo=UTC)),
        # Monthly options expired on Saturdays until 2015: AAPL of 18 January 2014.
        (date(2014, 1, 18), False, datetime(2014, 1, 17, 21, 0, tzinfo=UTC)),
        (date(2014, 6, 21), False, datetime(2014, 6, 20, 20, 0, tzinfo=UTC)),
        # SPX of that Saturday settled on Friday's opening prices.
        (date(2014, 1, 18), True, datetime(2014, 1, 17, 14, 30, tzinfo=UTC)),
        # SPX on a third Friday, VIX on its Wednesday, in both clocks.
        (date(2026, 11, 20), True, datetime(2026, 11, 20, 14, 30, tzinfo=UTC)),
        (date(2026, 10, 21), True, datetime(2026, 10, 21, 13, 30, tzinfo=UTC)),
        # Good Friday: the Thursday before.
        (date(2026, 4, 3), False, datetime(2026, 4, 2, 20, 0, tzinfo=UTC)),
        (date(2026, 4, 3), True, datetime(2026, 4, 2, 13, 30, tzinfo=UTC)),
        # Half days open at the usual time.
        (date(2026, 11, 27), True, datetime(2026, 11, 27, 14, 30, tzinfo=UTC)),
    ],
)
def test_instant(expiry, am_settled, instant):
    assert expiry_instant(expiry, am_settled) == instant


def test_hours_and_minutes_count():
    """Three and a half hours are not a day, nor half an hour of it."""
    expiry = date(2026, 11, 20)
    assert years_to_expiry(new_york(2026, 11, 20, 12, 30), expiry) == pytest.approx(210 * MINUTE)
    assert years_to_expiry(new_york(2026, 11, 20, 15, 59), expiry) == pytest.approx(MINUTE)
    assert years_to_expiry(new_york(2026, 11, 19, 16, 0), expiry) == pytest.approx(1 / 365)
    half_day = years_to_expiry(datetime(2025, 7, 3, 14, 0, tzinfo=UTC), date(2025, 7, 3))
    assert half_day == pytest.approx(3 / 24 / 365)


def test_never_below_zero():
    expiry = date(2026, 11, 20)
    assert years_to_expiry(new_york(2026, 11, 20, 16, 0), expiry) == 0.0
    assert years_to_expiry(new_york(2026, 11, 21, 10, 0), expiry) == 0.0
    assert years_to_expiry(new_york(2026, 11, 20, 9, 30), expiry, am_settled=True) == 0.0
    assert years_to_expiry(new_york(2026, 11, 20, 9, 29), expiry, am_settled=True) > 0.0


def test_weeks_in_which_the_clocks_change():
    """An hour less in March, an hour more in November, whatever zone the moment is given in."""
    spring = new_york(2026, 3, 6, 16, 0)
    assert years_to_expiry(spring, date(2026, 3, 13)) == pytest.approx((7 * 24 - 1) / 24 / 365)
    autumn = new_york(2026, 10, 30, 16, 0)
    assert years_to_expiry(autumn, date(2026, 11, 6)) == pytest.approx((7 * 24 + 1) / 24 / 365)
    for zone in (UTC, ZoneInfo("Asia/Tokyo")):
        assert years_to_expiry(autumn.astimezone(zone), date(2026, 11, 6)) == years_to_expiry(
            autumn, date(2026, 11, 6)
        )


def test_a_naive_moment_or_a_day_past_the_calendar_is_an_error():
    with pytest.raises(CalendarError, match="naive"):
        years_to_expiry(datetime(2026, 11, 19, 12, 0), date(2026, 11, 20))
    for expiry in (date(2036, 1, 18), date(2003, 9, 9)):
        with pytest.raises(CalendarError, match="outside"):
            expiry_instant(expiry)


def test_column_is_the_scalar_of_every_row():
    moment = new_york(2026, 11, 18, 15, 45)
    third_friday = monthly_expiry(2026, 12)
    rows = [
        ("SPX", third_friday),
        ("SPXW", third_friday),
        ("SPX", third_friday),
        ("VIX", date(2026, 11, 18)),
        ("VIXW", date(2026, 11, 25)),
        ("AAPL", date(2026, 11, 27)),
        ("XSP", date(2026, 11, 20)),
        ("NDX", date(2026, 11, 20)),
        ("NDXP", date(2026, 11, 20)),
    ]
    contracts = pl.DataFrame(rows, schema=["root", "expiry"], orient="row")
    years = years_column(moment, contracts)
    mornings = {"SPX", "NDX", "RUT", "VIX", "VIXW", "DJX"}
    assert years.name == "years"
    assert years.to_list() == [
        years_to_expiry(moment, expiry, root in mornings) for root, expiry in rows
    ]
    assert years[0] == pytest.approx(years[1] - 6.5 / 24 / 365)
    assert years[3] == 0.0


def test_column_is_null_where_the_calendar_ends():
    contracts = pl.DataFrame(
        {"root": ["A", "B", None], "expiry": [date(2040, 1, 20), None, date(2026, 11, 20)]},
        schema={"root": pl.String, "expiry": pl.Date},
    )
    moment = new_york(2026, 11, 19, 16, 0)
    assert years_column(moment, contracts).to_list() == [None, None, pytest.approx(1 / 365)]
    assert years_column(moment, contracts.clear()).to_list() == []


def test_column_keeps_the_order_of_many_rows():
    moment = new_york(2026, 11, 2, 12, 0)
    days = [date(2026, 11, 3) + timedelta(days=n * 7919 % 700) for n in range(5000)]
    contracts = pl.DataFrame({"root": ["AAPL"] * 5000, "expiry": days})
    expected = {day: years_to_expiry(moment, day) for day in set(days)}
    assert years_column(moment, contracts).to_list() == [expected[day] for day in days]
