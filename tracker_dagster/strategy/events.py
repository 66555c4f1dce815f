"""Earnings, ex-dividend dates and splits between a decision and an expiry."""

from __future__ import annotations

from datetime import date, datetime

import polars as pl

from tracker_dagster.strategy.known import latest_snapshot

#: Category whose members report no earnings.
FUNDS = "ETF"


def earnings_flags(
    tickers: pl.DataFrame,
    earnings: pl.DataFrame | None,
    day: date,
    expiry: date,
    decision_at: datetime,
    max_age_days: int,
) -> pl.DataFrame:
    """``ticker``, ``earnings_in_period`` and ``earnings_note`` for each of ``tickers``.

    A report before the open of the decision day is behind us; one after the close of the
    expiration day comes too late to matter. A calendar that knows other tickers but has no date
    for this one says no; where there is no calendar the flag is null. Funds do not report.

    Args:
        tickers: ``ticker``, ``category``.
        earnings: rows of earnings_calendar, or None.
        day: session of the decision.
        expiry: last day of the period.
        decision_at: what came later is not used.
        max_age_days: an older calendar counts as none.
    """
    calendar = latest_snapshot(earnings, decision_at, day, max_age_days)
    base = tickers.select("ticker", "category")
    is_fund = pl.col("category") == FUNDS
    if calendar is None:
        return base.select(
            "ticker",
            earnings_in_period=pl.when(is_fund).then(pl.lit(value=False)),
            earnings_note=pl.when(is_fund)
            .then(pl.lit("funds report no earnings"))
            .otherwise(pl.lit("no earnings calendar known")),
        )
    dates = calendar.filter(
        pl.col("report_date").is_between(day, expiry)
        & ~((pl.col("report_date") == day) & (pl.col("report_time") == "bmo"))
        & ~((pl.col("report_date") == expiry) & (pl.col("report_time") == "amc"))
    )
    first = (
        dates.sort("report_date", "report_time", "status")
        .unique("ticker", keep="first", maintain_order=True)
        .select(
            "ticker",
            found=pl.format("{} {} ({})", "report_date", "report_time", "status"),
        )
    )
    return base.join(first, on="ticker", how="left").select(
        "ticker",
        earnings_in_period=pl.col("found").is_not_null(),
        earnings_note=pl.col("found").fill_null(
            pl.when(is_fund)
            .then(pl.lit("funds report no earnings"))
            .otherwise(pl.lit(f"none listed through {expiry}"))
        ),
    )


def corporate_action_flags(
    tickers: pl.DataFrame,
    actions: pl.DataFrame | None,
    day: date,
    expiry: date,
    decision_at: datetime,
    max_age_days: int,
) -> pl.DataFrame:
    """``ex_dividend_in_period``, its note, and ``split_in_period`` for each of ``tickers``.

    The period begins after ``day``: who buys on the ex-date has no right to the dividend.
    All three are null, with the reason in the note, where no corporate actions are known.
    """
    known = latest_snapshot(actions, decision_at, day, max_age_days)
    base = tickers.select("ticker")
    if known is None:
        return base.with_columns(
            ex_dividend_in_period=pl.lit(None, dtype=pl.Boolean),
            ex_dividend_note=pl.lit("no corporate actions known"),
            split_in_period=pl.lit(None, dtype=pl.Boolean),
        )
    period = known.filter((pl.col("ex_date") > day) & (pl.col("ex_date") <= expiry))
    dividends = (
        period.filter(pl.col("action") == "dividend")
        .sort("ex_date", "action_id")
        .unique("ticker", keep="first", maintain_order=True)
        .select("ticker", found=pl.format("{} ({} USD)", "ex_date", "cash_amount"))
    )
    splits = period.filter(pl.col("action") == "split").select("ticker").unique()
    return base.join(dividends, on="ticker", how="left").select(
        "ticker",
        ex_dividend_in_period=pl.col("found").is_not_null(),
        ex_dividend_note=pl.col("found").fill_null(f"none known through {expiry}"),
        split_in_period=pl.col("ticker").is_in(splits["ticker"].implode()),
    )
