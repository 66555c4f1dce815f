"""Covered calls of the next expiries, ranked by what they pay a day. Looks; decides nothing."""

from __future__ import annotations

from datetime import date

import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from tracker_dagster.trading_calendar import weekly_expiry


class CallRankingSettings(BaseModel):
    """Which calls are ranked; a limit on what is not known turns nothing down, and is named.

    Attributes:
        max_spread: most (ask - bid) / mid.
        min_open_interest: least open interest, contracts.
        min_delta: least delta.
        max_delta: most delta.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_spread: float = Field(default=0.25, gt=0)
    min_open_interest: int = Field(default=1, ge=0)
    min_delta: float = Field(default=0.15, ge=0, le=1)
    max_delta: float = Field(default=0.45, ge=0, le=1)


def next_expiries(day: date, count: int) -> list[date]:
    """The next ``count`` weekly expiries strictly after ``day``, holidays heeded.

    Raises:
        ValueError: ``count`` is not above zero.
    """
    if count < 1:
        raise ValueError(f"the number of expiries must be one or more, not {count}")
    found = [weekly_expiry(day)]
    while len(found) < count:
        found.append(weekly_expiry(found[-1]))
    return found


def rank_calls(
    chain: pl.DataFrame,
    prices: pl.DataFrame,
    day: date,
    *,
    expiries: int = 2,
    per_ticker: int = 5,
    greeks: pl.DataFrame | None = None,
    settings: CallRankingSettings | None = None,
) -> pl.DataFrame:
    """The best calls of each ticker over the next expiries, by yield a calendar day.

    Mended against the rule this follows (weekly tracker, section 4.9): expiries are those of the
    calendar; the price is the stock's, never the strike; only standard contracts at or out of the
    money; a call that expires on the day itself is none; ties go to the larger open interest.

    Args:
        chain: rows of option_chain of one slot.
        prices: ``ticker``, ``price`` of the slot, US dollars a share.
        day: session of the slot.
        expiries: how many weekly expiries.
        per_ticker: most calls of a ticker, over all expiries.
        greeks: ``symbol``, ``delta`` of ours, taken where the vendor has none.
        settings: limits; defaults when None.

    Returns:
        ``ticker, rank, symbol, expiry, dte, strike, price, bid, ask, mid, spread_pct, delta,
        open_interest, otm_pct, premium_yield`` (mid / price), ``yield_per_day``,
        ``annualised_yield``, ``not_checked`` (limits whose input is not known; null when none),
        sorted by ticker and rank.

    Raises:
        ValueError: a number of expiries or of calls that is not above zero.
    """
    if per_ticker < 1:
        raise ValueError(f"the number of calls must be one or more, not {per_ticker}")
    limits = settings or CallRankingSettings()
    ours = pl.DataFrame(schema={"symbol": pl.String, "_ours": pl.Float64})
    if greeks is not None:
        ours = greeks.select("symbol", _ours="delta").unique("symbol")
    calls = (
        chain.filter(
            (pl.col("right") == "C")
            & pl.col("expiry").is_in(next_expiries(day, expiries))
            & pl.col("is_standard")
            & (pl.col("quote_status") == "OK")
        )
        .rename({"underlying": "ticker"})
        .join(prices.select("ticker", "price").drop_nulls().unique("ticker"), on="ticker")
        .join(ours, on="symbol", how="left")
        .with_columns(
            delta=pl.coalesce("delta", "_ours"),
            dte=(pl.col("expiry") - day).dt.total_days(),
            spread_pct=(pl.col("ask") - pl.col("bid")) / pl.col("mid"),
            otm_pct=pl.col("strike") / pl.col("price") - 1,
            premium_yield=pl.col("mid") / pl.col("price"),
        )
        .with_columns(yield_per_day=pl.col("premium_yield") / pl.col("dte"))
        .with_columns(annualised_yield=365 * pl.col("yield_per_day"))
    )
    unknown = [
        pl.when(pl.col(name).is_null()).then(pl.lit(name)) for name in ("delta", "open_interest")
    ]
    wanted = (
        (pl.col("otm_pct") >= 0)
        & (pl.col("spread_pct") <= limits.max_spread)
        & (pl.col("open_interest").fill_null(limits.min_open_interest) >= limits.min_open_interest)
        & pl.col("delta").fill_null(limits.min_delta).is_between(limits.min_delta, limits.max_delta)
    )
    return (
        calls.filter(wanted)
        .sort(
            "ticker",
            "yield_per_day",
            "open_interest",
            "symbol",
            descending=[False, True, True, False],
            nulls_last=True,
        )
        .with_columns(
            rank=pl.int_range(1, pl.len() + 1).over("ticker"),
            not_checked=pl.concat_str(unknown, separator=", ", ignore_nulls=True),
        )
        .filter(pl.col("rank") <= per_ticker)
        .with_columns(
            not_checked=pl.when(pl.col("not_checked") != "").then("not_checked"),
        )
        .select(
            "ticker", "rank", "symbol", "expiry", "dte", "strike", "price", "bid", "ask", "mid",
            "spread_pct", "delta", "open_interest", "otm_pct", "premium_yield", "yield_per_day",
            "annualised_yield", "not_checked",
        )
    )  # fmt: skip
