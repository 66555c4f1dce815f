"""What a lane's call might bring where nothing is quoted: an estimate, and how it is scored."""

from __future__ import annotations

from datetime import date, datetime

import numpy as np
import polars as pl

from tracker_dagster.analytics.dividends import CORPORATE_ACTIONS, cash_dividends
from tracker_dagster.analytics.pricing import price
from tracker_dagster.analytics.pricing.dividends import escrow
from tracker_dagster.analytics.pricing.expiry import years_to_expiry
from tracker_dagster.analytics.rates import Curve, rates_for
from tracker_dagster.schemas.suitability import PREMIUM_METHODS
from tracker_dagster.strategy.known import sessions_left
from tracker_dagster.strategy.settings import LaneSettings

_METHOD = PREMIUM_METHODS[0]


def premium_estimates(
    tickers: pl.DataFrame,
    day: date,
    expiry: date,
    decided_at: datetime,
    curve: Curve | None,
    dividends: pl.DataFrame,
    dividend_sources: pl.DataFrame,
    settings: LaneSettings,
) -> pl.DataFrame:
    """``tickers`` with the premium of the call that each one's lane aims at, as an estimate.

    Black-Scholes on the latest close, with the variance that the last 21 sessions had in a day
    times the sessions left, at the strike that the expected move to the expiry points at. Declared
    dividends are taken off the spot. It is no quote: the market asks more than the realised
    volatility in most weeks, and `score_premium_estimates` says by how much it was wrong.

    Mended (weekly tracker, section 4.5): that estimate took 7 of 252 days for a week, which mixes
    calendar and trading days, and put a floor of 1 % under the answer.

    Args:
        tickers: ``ticker``, ``lane``, ``last_close``, ``daily_move``, ``stats_reason``.
        day: session that the estimate is for.
        expiry: of the call.
        decided_at: time to the expiry is counted from here.
        curve: zero rates; None where unknown.
        dividends: ``underlying``, ``ex_date``, ``years``, ``amount``, as of ``decided_at``.
        dividend_sources: ``underlying``, ``dividend_source``: what is known of them.
        settings: what each lane aims at.

    Returns:
        The same rows with the columns ``premium_estimate_*`` of suitability; where anything is
        missing the estimate is null and ``premium_estimate_reason`` says what.
    """
    sessions = sessions_left(day, expiry, "day_file")
    years = years_to_expiry(decided_at, expiry)
    rate = float("nan") if curve is None else float(rates_for(curve, years))
    multiples = {lane: rule.move_multiple for lane, rule in settings.rules.items()}
    rows = tickers.join(
        dividend_sources.select(ticker="underlying", dividend_source="dividend_source"),
        on="ticker",
        how="left",
        maintain_order="left",
    ).with_columns(
        _strike=pl.col("last_close")
        * (
            1
            + pl.col("lane").replace_strict(multiples, return_dtype=pl.Float64)
            * pl.col("daily_move")
            * sessions**0.5
        )
    )
    cash = cash_dividends(rows["ticker"], dividends).aligned((rows.height,))
    set_aside = escrow(cash, np.full(rows.height, years), np.full(rows.height, rate)).value
    volatility = pl.col("daily_move") * (sessions / years) ** 0.5 if years > 0 else pl.lit(None)
    rows = rows.with_columns(
        _set_aside=pl.Series(set_aside, dtype=pl.Float64).fill_nan(None),
        _volatility=volatility,
        _reason=pl.when(pl.col("daily_move").is_null())
        .then(pl.coalesce("stats_reason", pl.lit("no volatility")))
        .when(pl.col("daily_move") == 0)
        .then(pl.lit("closes of the last 21 sessions do not vary"))
        .when(pl.lit(years <= 0))
        .then(pl.lit("no time is left to the expiry"))
        .when(pl.lit(not np.isfinite(rate)))
        .then(pl.lit(curve.limit if curve else "no rate is known"))
        .when(pl.col("dividend_source").ne_missing(CORPORATE_ACTIONS))
        .then(
            pl.format(
                "dividends before the expiry are not known: {}",
                pl.col("dividend_source").fill_null("not asked for"),
            )
        ),
    )
    known = pl.col("_reason").is_null()
    rows = rows.with_columns(
        premium_estimate_strike=pl.when(known).then("_strike"),
        premium_estimate_expiry=pl.lit(expiry),
        premium_estimate_method=pl.when(known).then(pl.lit(_METHOD)),
        premium_estimate_volatility=pl.when(known).then("_volatility"),
        premium_estimate_years=pl.lit(years),
        premium_estimate_rate=pl.lit(rate).fill_nan(None),
        premium_estimate_dividends=pl.when(known).then("_set_aside"),
        premium_estimate_reason="_reason",
    )
    return rows.with_columns(
        premium_estimate_100=_value_100(rows, rows["premium_estimate_strike"])
    ).drop("dividend_source", "_strike", "_set_aside", "_volatility", "_reason")


def _value_100(estimates: pl.DataFrame, strikes: pl.Series) -> pl.Series:
    """Value of one contract at other strikes, all else as in the estimates; null stays null."""
    numbers = {
        name: estimates[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
        for name in (
            "last_close",
            "premium_estimate_years",
            "premium_estimate_rate",
            "premium_estimate_volatility",
            "premium_estimate_dividends",
        )
    }
    # A few thousand rows: compiled code would take longer to load than to run.
    values = price(
        numbers["last_close"] - numbers["premium_estimate_dividends"],
        strikes.cast(pl.Float64).fill_null(np.nan).to_numpy(),
        numbers["premium_estimate_years"],
        numbers["premium_estimate_rate"],
        0.0,
        numbers["premium_estimate_volatility"],
        is_call=True,
        backend="numpy",
    )
    return pl.Series(values * 100, dtype=pl.Float64).fill_nan(None)
