"""What a lane's call might bring where nothing is quoted: an estimate, and how it is scored."""

from __future__ import annotations

from datetime import date, datetime

import numpy as np
import polars as pl

from tracker_dagster import trading_calendar
from tracker_dagster.analytics.dividends import CORPORATE_ACTIONS, cash_dividends
from tracker_dagster.analytics.pricing import price
from tracker_dagster.analytics.pricing.dividends import escrow
from tracker_dagster.analytics.pricing.expiry import years_to_expiry
from tracker_dagster.analytics.rates import Curve, rates_for
from tracker_dagster.schemas.suitability import PREMIUM_METHODS
from tracker_dagster.strategy.known import calendar_scale, sessions_left
from tracker_dagster.strategy.settings import LaneSettings

_METHOD = PREMIUM_METHODS[0]
#: Distance, as a fraction of the strike, from which a traded call is no longer such a call.
NEAR_STRIKE = 0.05


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
        tickers: ``ticker``, ``lane``, ``last_close``, ``last_session``, ``daily_move``,
            ``stats_reason``.
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
    sessions = max(0, sessions_left(day, expiry, "day_file"))
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
    rows = rows.with_columns(
        _set_aside=pl.Series(set_aside, dtype=pl.Float64).fill_nan(None),
        _volatility=pl.col("daily_move") * calendar_scale(sessions, years),
        _reason=pl.when(pl.col("daily_move").is_null())
        .then(pl.coalesce("stats_reason", pl.lit("no volatility")))
        .when(pl.col("last_session") < trading_calendar.previous_session(day))
        .then(pl.format("the latest close known is of {}", "last_session"))
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


def score_premium_estimates(
    estimates: pl.DataFrame, option_bars: pl.DataFrame, closes: pl.DataFrame, day: date
) -> pl.DataFrame:
    """What the estimates of ``day`` were worth, against what was paid for such calls that day.

    The call that is compared is the one of the estimate's expiry, traded on ``day``, whose strike
    is nearest the estimate's. So that strikes are not compared with strikes, the estimate is first
    moved to that call's strike, all its other inputs as they were. Its error adds up from two
    parts: what the stock's move and the hours of the session made of it (``move_error_100``), and
    what the volatility was wrong by (``volatility_error_100``: the same formula at the close).

    Args:
        estimates: rows of suitability of ``day``.
        option_bars: rows of option_day_aggs of ``day``.
        closes: ``ticker``, ``close`` of ``day``, as traded.
        day: session.

    Returns:
        The columns of premium_estimate_scores that are not set by the day, one row a row of
        ``estimates``; errors are null with a ``reason`` where there is nothing to compare.
    """
    traded = option_bars.filter(
        (pl.col("trade_date") == day)
        & (pl.col("right") == "C")
        & ~pl.col("is_adjusted")
        & (pl.col("volume") > 0)
    ).select(
        ticker="underlying",
        premium_estimate_expiry="expiry",
        traded_symbol="symbol",
        traded_strike="strike",
        traded_100=pl.col("close") * 100,
        traded_volume="volume",
    )
    # In dollars, so that strikes on either side of the estimate's can be equally near.
    dollars = (pl.col("traded_strike") - pl.col("premium_estimate_strike")).abs()
    nearest = (
        estimates.join(traded, on=["ticker", "premium_estimate_expiry"])
        .with_columns(strike_distance=dollars)
        .drop_nulls("strike_distance")
        .sort("ticker", "strike_distance", "traded_strike", "traded_symbol")
        .unique("ticker", keep="first", maintain_order=True)
        .select("ticker", "strike_distance", *(n for n in traded.columns if n.startswith("traded")))
    )
    away = pl.col("strike_distance") / pl.col("premium_estimate_strike")
    rows = (
        estimates.join(nearest, on="ticker", how="left", maintain_order="left")
        .join(
            closes.select("ticker", underlying_close="close").unique("ticker", keep="first"),
            on="ticker",
            how="left",
            maintain_order="left",
        )
        .with_columns(
            reason=pl.when(pl.col("premium_estimate_100").is_null())
            .then(pl.format("no estimate: {}", "premium_estimate_reason"))
            .when(pl.col("traded_symbol").is_null())
            .then(pl.lit("no call of the expiry traded"))
            .when(away > NEAR_STRIKE)
            .then(
                pl.format(
                    "the nearest strike traded, {}, is {} % away",
                    "traded_strike",
                    (away * 100).round(1),
                )
            )
        )
    )
    compared = pl.col("reason").is_null()
    rows = rows.with_columns(
        pl.when(compared).then(name).alias(name)
        for name in rows.columns
        if name.startswith("traded_")
    )
    rows = rows.with_columns(
        estimate_at_traded_100=_value_100(rows, rows["traded_strike"]),
        estimate_at_close_100=_value_100(_at_the_close(rows, day), rows["traded_strike"]),
    )
    error = pl.col("estimate_at_traded_100") - pl.col("traded_100")
    return rows.with_columns(
        estimate_100="premium_estimate_100",
        estimate_strike="premium_estimate_strike",
        expiry="premium_estimate_expiry",
        method="premium_estimate_method",
        underlying_move=pl.col("underlying_close") / pl.col("last_close") - 1,
        error_100=error,
        error_pct=error / pl.col("traded_100"),
        error_yield=error / (pl.col("last_close") * 100),
        move_error_100=pl.col("estimate_at_traded_100") - pl.col("estimate_at_close_100"),
        volatility_error_100=pl.col("estimate_at_close_100") - pl.col("traded_100"),
    )


def _at_the_close(estimates: pl.DataFrame, day: date) -> pl.DataFrame:
    """The inputs of the estimates as they are at the close: price, time, and one session less."""
    (expiry,) = estimates["premium_estimate_expiry"].unique() if estimates.height else (day,)
    years = years_to_expiry(trading_calendar.session_on(day).close, expiry)
    sessions = trading_calendar.sessions_from_to(day, expiry)
    return estimates.with_columns(
        last_close="underlying_close",
        premium_estimate_years=pl.lit(years),
        premium_estimate_volatility=pl.col("daily_move") * calendar_scale(sessions, years),
    )


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
