"""What was known at a decision, and how long it had: the one place that cuts rows by time."""

from __future__ import annotations

from datetime import date, datetime

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


def latest_snapshot(
    frame: pl.DataFrame | None, decision_at: datetime, day: date, max_age_days: int
) -> pl.DataFrame | None:
    """The rows of the latest session of a reference table, or None where it is too old."""
    if frame is None:
        return None
    rows = known_at(frame, decision_at, day)
    latest = rows["trade_date"].max() if len(rows) else None
    if not isinstance(latest, date) or (day - latest).days > max_age_days:
        return None
    return rows.filter(pl.col("trade_date") == latest)


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
