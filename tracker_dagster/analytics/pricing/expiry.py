"""When options expire, and how many years are left, from the exchange calendar to the second."""

from __future__ import annotations

from datetime import date, datetime

import polars as pl

from tracker_dagster.instruments import AM_SETTLED_ROOTS
from tracker_dagster.trading_calendar import (
    CalendarError,
    first_session,
    last_session,
    session_on,
    session_or_previous,
)

YEAR_SECONDS = 365.0 * 24 * 3600


def expiry_instant(expiry: date, am_settled: bool = False) -> datetime:
    """The instant (UTC) at which what an option pays is fixed.

    The close of the expiration day's session, or its open for index options that settle on opening
    prices. An expiration on a day off, such as the Saturdays until February 2015, is that of the
    session before (OCC, expiration date change to Friday, 2013).

    Raises:
        CalendarError: the calendar does not reach so far.
    """
    if not first_session() <= expiry <= last_session():
        raise CalendarError(f"{expiry} is outside the exchange calendar")
    session = session_on(session_or_previous(expiry))
    return session.open if am_settled else session.close


def years_to_expiry(moment: datetime, expiry: date, am_settled: bool = False) -> float:
    """Calendar years of 365 days from ``moment`` (with a timezone) to expiry, never below zero.

    Raises:
        CalendarError: the calendar does not reach so far, or ``moment`` has no timezone.
    """
    if moment.tzinfo is None:
        raise CalendarError(f"naive datetime {moment!r}: pass one with a timezone")
    left = expiry_instant(expiry, am_settled) - moment
    return max(0.0, left.total_seconds() / YEAR_SECONDS)


def years_column(moment: datetime, contracts: pl.DataFrame) -> pl.Series:
    """`years_to_expiry` of each contract, a series ``years``; null outside the calendar.

    Args:
        moment: of valuation, with a timezone.
        contracts: ``expiry`` (date) and ``root``; each pair of a date and a settlement is looked
            up once.
    """
    keys = contracts.select("expiry", am_settled=pl.col("root").is_in(sorted(AM_SETTLED_ROOTS)))
    distinct = keys.unique()
    years = [_years_or_none(moment, *pair) for pair in distinct.iter_rows()]
    return keys.join(
        distinct.with_columns(years=pl.Series(years, dtype=pl.Float64)),
        on=keys.columns,
        how="left",
        nulls_equal=True,
        maintain_order="left",
    )["years"]


def _years_or_none(moment: datetime, expiry: date | None, am_settled: bool | None) -> float | None:
    if expiry is None or not first_session() <= expiry <= last_session():
        return None
    return years_to_expiry(moment, expiry, bool(am_settled))
