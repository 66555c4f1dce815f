"""What was known at a decision, and how long it had: the one place that cuts rows by time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

import polars as pl

from tracker_dagster import trading_calendar


def known_at(frame: pl.DataFrame, decision_at: datetime, day: date) -> pl.DataFrame:
    """Rows available by ``decision_at`` and of no later session than ``day``.

    Columns that the frame does not have (``available_at``, ``slot``, ``trade_date``) do not cut.
    """
    for column, limit in (
        ("available_at", decision_at),
        ("slot", decision_at),
        ("trade_date", day),
    ):
        if column in frame.columns:
            frame = frame.filter(pl.col(column) <= limit)
    return frame


@dataclass(frozen=True, slots=True)
class Calendar:
    """What one source of a reference calendar said, as far as it was known at a decision.

    Attributes:
        rows: each ticker's rows of the latest session that has any.
        whole_on: the latest session whose answer was known as a whole: a ticker without a row
            since then has none. None where there is no such session.
        is_seen: whether the source was asked at all within the age, even if too late.
    """

    rows: pl.DataFrame
    whole_on: date | None
    is_seen: bool


def calendar_at(
    rows: pl.DataFrame,
    collections: pl.DataFrame | None,
    decision_at: datetime,
    day: date,
    max_age_days: int,
) -> Calendar:
    """The calendar that a decision may rest on.

    Args:
        rows: of one reference table, of any sessions; later ones and unknown ones do not count.
        collections: rows of reference_collections that tell of it; None where nothing is said
            about it: then each session that has rows counts as whole.
        decision_at: what came later is not used.
        day: session of the decision.
        max_age_days: older sessions count as none.
    """
    oldest = day - timedelta(days=max_age_days)
    recent = known_at(rows, decision_at, day).filter(pl.col("trade_date") >= oldest)
    asked = rows if collections is None else collections
    asked = asked.filter(pl.col("trade_date").is_between(oldest, day))
    whole_on = known_at(asked, decision_at, day)["trade_date"].max()
    if isinstance(whole_on, date):
        recent = recent.filter(pl.col("trade_date") >= whole_on)
    else:
        whole_on = None
    return Calendar(
        recent.filter(pl.col("trade_date") == pl.col("trade_date").max().over("ticker")),
        whole_on,
        is_seen=bool(recent.height or asked.height),
    )


def daily_bars(bars: pl.DataFrame, decision_at: datetime, day: date, before: date) -> pl.DataFrame:
    """Daily bars known at the decision and of sessions before ``before``, one a ticker and day."""
    rows = known_at(bars, decision_at, day).filter(pl.col("trade_date") < before)
    order = ["ticker", "trade_date", *(["source"] if "source" in rows.columns else [])]
    return rows.sort(order).unique(["ticker", "trade_date"], keep="first", maintain_order=True)


def sessions_left(day: date, expiry: date, basis: str) -> int:
    """Sessions from the decision to the expiry.

    A snapshot is taken when the session is all but over; on the ``day_file`` basis, decided in
    the morning, the session itself still lies ahead.
    """
    return trading_calendar.sessions_from_to(day, expiry) + (basis == "day_file")


def calendar_scale(sessions: int, years: float) -> float:
    """What a session's deviation is multiplied with to be a volatility per calendar year.

    Prices move in sessions, and option models count calendar time: over ``sessions`` that take
    ``years`` the variance must be that of the sessions, whatever weekends lie between.

    Args:
        sessions: sessions from the decision to the expiry.
        years: calendar time of it, ACT/365.

    Returns:
        The root of sessions a year; 0 where no time is left.
    """
    return (sessions / years) ** 0.5 if years > 0 else 0.0
