"""Small hand-made markets for the strategy tests: frames with the columns of the real tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta

import numpy as np
import polars as pl

from tracker_dagster import trading_calendar
from tracker_dagster.analytics.pricing.expiry import years_to_expiry
from tracker_dagster.instruments import build_option_symbol
from tracker_dagster.schemas.book import POSITIONS
from tracker_dagster.schemas.captured import MARKET_LAST, OPTION_CHAIN
from tracker_dagster.schemas.decisions import STRUCTURE_FEATURES
from tracker_dagster.schemas.market import OPTION_DAY_AGGS, STOCK_DAY_AGGS
from tracker_dagster.schemas.reference import CORPORATE_ACTIONS, EARNINGS_CALENDAR, UNIVERSE
from tracker_dagster.strategy.picks import target_expiry
from tracker_dagster.strategy.settings import PickSettings
from tracker_dagster.strategy.suitability import suitability_rows

#: A Monday with a plain Friday expiry.
DAY = date(2025, 6, 9)
DECISION_AT = trading_calendar.decision_time(DAY)
SLOT = DECISION_AT - timedelta(minutes=5)
EXPIRY = date(2025, 6, 13)


def universe(categories: Mapping[str, str], day: date = DAY) -> pl.DataFrame:
    return UNIVERSE.conform(
        pl.DataFrame(
            {
                "trade_date": [day] * len(categories),
                "ticker": list(categories),
                "category": list(categories.values()),
                "enabled": [True] * len(categories),
                "available_at": [trading_calendar.session_on(day).open] * len(categories),
            }
        )
    )


def daily(
    prices: Mapping[str, float],
    volatilities: Mapping[str, float],
    *,
    drifts: Mapping[str, float] | None = None,
    sessions: int = 120,
    day: date = DAY,
    seed: int = 5,
) -> pl.DataFrame:
    """Closes of log-normal walks that end at ``prices`` the session before ``day``.

    The returns are standardised, so that the sample's volatility and drift are exactly those
    asked for.
    """
    days = trading_calendar.last_sessions(trading_calendar.previous_session(day), sessions)
    frames = []
    for number, (ticker, price) in enumerate(prices.items()):
        rng = np.random.default_rng([seed, number])
        noise = rng.normal(size=sessions - 1)
        noise = (noise - noise.mean()) / noise.std(ddof=1)
        returns = (
            noise * volatilities[ticker] / np.sqrt(252) + (drifts or {}).get(ticker, 0.0) / 252
        )
        path = np.concatenate([[0.0], np.cumsum(returns)])
        closes = price * np.exp(path - path[-1])
        frames.append(
            pl.DataFrame(
                {
                    "trade_date": days,
                    "ticker": [ticker] * sessions,
                    "open": closes,
                    "high": closes,
                    "low": closes,
                    "close": closes,
                    "volume": [1e6] * sessions,
                    "available_at": [trading_calendar.day_file_available_at(d) for d in days],
                }
            )
        )
    return STOCK_DAY_AGGS.conform(pl.concat(frames), source="massive_flat_file")


def suitability(
    members: pl.DataFrame,
    bars: pl.DataFrame,
    corporate_actions: pl.DataFrame | None = None,
    day: date = DAY,
) -> pl.DataFrame:
    """Rows of suitability of a day, without a curve or dividends for the premium's estimate."""
    return suitability_rows(
        members.select("ticker", "category", "enabled"),
        bars,
        corporate_actions,
        day,
        target_expiry(day, PickSettings()),
        None,
        pl.DataFrame(schema={"underlying": pl.String, "ex_date": pl.Date, "years": pl.Float64,
                             "amount": pl.Float64}),
        pl.DataFrame(schema={"underlying": pl.String, "dividend_source": pl.String}),
    )  # fmt: skip


def last_prices(
    prices: Mapping[str, float], *, slot: datetime = SLOT, day: date = DAY
) -> pl.DataFrame:
    return MARKET_LAST.conform(
        pl.DataFrame({"ticker": list(prices), "price": list(prices.values())}),
        trade_date=day,
        slot=slot,
        source="massive_snapshot",
        available_at=slot,
        price_at=slot - timedelta(seconds=20),
        status="OK",
    )


def black_scholes_call(spot: float, strike: float, years: float, vol: float) -> tuple[float, float]:
    """Value and delta, without interest or dividends."""
    from scipy.stats import norm

    deviation = vol * years**0.5
    d1 = np.log(spot / strike) / deviation + deviation / 2
    delta = norm.cdf(d1)
    return float(spot * delta - strike * norm.cdf(d1 - deviation)), float(delta)


def chain(
    prices: Mapping[str, float],
    vols: Mapping[str, float],
    *,
    day: date = DAY,
    slot: datetime = SLOT,
    expiries: Sequence[date] = (EXPIRY,),
    with_delta: bool = True,
    with_iv: bool = True,
    spread: float = 0.04,
) -> pl.DataFrame:
    """Calls and puts on a 1 % grid around each price, quoted around their Black-Scholes value."""
    rows = []
    for ticker, price in prices.items():
        step = max(0.5, round(price * 0.01 * 2) / 2)
        for expiry in expiries:
            years = years_to_expiry(slot, expiry)
            for k in range(-8, 26):
                strike = round(round(price / step) * step + k * step, 3)
                if strike <= 0:
                    continue
                value, delta = black_scholes_call(price, strike, years, vols[ticker])
                mid = max(0.02, round(value, 4))
                row = {
                    "trade_date": day,
                    "slot": slot,
                    "underlying": ticker,
                    "root": ticker,
                    "expiry": expiry,
                    "strike": float(strike),
                    "bid": mid * (1 - spread / 2),
                    "ask": mid * (1 + spread / 2),
                    "mid": mid,
                    "quote_at": slot - timedelta(seconds=30),
                    "open_interest": 500,
                    "day_volume": 100.0,
                    "implied_volatility": vols[ticker] if with_iv else None,
                    "underlying_price": price,
                }
                rows += [
                    {
                        **row,
                        "right": right,
                        "symbol": build_option_symbol(ticker, expiry, right, strike),
                        "delta": delta if with_delta and right == "C" else None,
                    }
                    for right in "CP"
                ]
    return OPTION_CHAIN.conform(
        pl.DataFrame(rows, infer_schema_length=None),
        source="massive_snapshot",
        available_at=slot,
        exercise_style="american",
        shares_per_contract=100.0,
        is_standard=True,
        quote_status="OK",
        greeks_status="OK" if with_delta else "NOT_SENT",
    )


def option_bars(chain_rows: pl.DataFrame, session: date) -> pl.DataFrame:
    """A day file of ``session`` with each contract's mid as its close."""
    return OPTION_DAY_AGGS.conform(
        chain_rows.with_columns(
            open="mid", high="mid", low="mid", close="mid", volume="day_volume"
        ).drop("trade_date", "source", "available_at"),
        trade_date=session,
        source="massive_flat_file",
        available_at=trading_calendar.day_file_available_at(session),
        is_adjusted=False,
        transactions=5,
    )


def structure(
    tickers: Sequence[str],
    *,
    unstable: Sequence[str] = (),
    bars: int = 1950,
    day: date = DAY,
    decision_at: datetime = DECISION_AT,
) -> pl.DataFrame:
    known = bars >= 120
    return STRUCTURE_FEATURES.conform(
        pl.DataFrame(
            {
                "ticker": list(tickers),
                "fft_status": [
                    "insufficient_history"
                    if not known
                    else "unstable"
                    if t in unstable
                    else "stable"
                    for t in tickers
                ],
            }
        ),
        trade_date=day,
        available_at=decision_at,
        bars_1m_count=bars,
        history_status="weekly_stable" if known else "insufficient_history",
        fractal_status="stable" if known else "insufficient_history",
    )


def no_actions(day: date = DAY) -> pl.DataFrame:
    """Corporate actions of a day on which something unrelated is known."""
    return actions([{"ticker": "ZZZZ", "action": "dividend", "ex_date": day + timedelta(days=40),
                     "cash_amount": 0.1}], day=day)  # fmt: skip


def actions(rows: Sequence[Mapping[str, object]], *, day: date = DAY) -> pl.DataFrame:
    frame = pl.DataFrame(
        [{"trade_date": day, "action_id": f"a{n}", **row} for n, row in enumerate(rows)],
        infer_schema_length=None,
    )
    return CORPORATE_ACTIONS.conform(
        frame, source="massive_rest", available_at=trading_calendar.session_on(day).open
    )


def earnings(rows: Sequence[Mapping[str, object]], *, day: date = DAY) -> pl.DataFrame:
    base = {"report_time": "amc", "status": "confirmed"}
    frame = pl.DataFrame([{**base, **row} for row in rows], infer_schema_length=None)
    return EARNINGS_CALENDAR.conform(
        frame,
        trade_date=day,
        source="csv",
        available_at=trading_calendar.session_on(day).open,
    )


def positions(rows: Sequence[Mapping[str, object]], *, day: date = DAY) -> pl.DataFrame:
    base = {
        "account": "paper",
        "right": "C",
        "quantity": -1,
        "shares": 100.0,
        "fees": 0.0,
        "status": "OPEN",
        "opened_at": DECISION_AT - timedelta(days=7),
    }
    frame = pl.DataFrame(
        [{"position_id": f"p{n}", **base, **row} for n, row in enumerate(rows)],
        infer_schema_length=None,
    )
    if frame.is_empty():
        return POSITIONS.empty()
    return POSITIONS.conform(frame, trade_date=day, available_at=DECISION_AT)
