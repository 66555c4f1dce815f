"""Where a sold option can be rolled to: the next weekly expiries, at its strike or further out."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

import polars as pl

from tracker_dagster import trading_calendar
from tracker_dagster.strategy.settings import HealthSettings

#: Columns of `roll_candidates`; dollars of the whole position unless said otherwise.
ROLLS: dict[str, Any] = {
    "position_id": pl.String,
    "symbol": pl.String,
    "expiry": pl.Date,
    "strike": pl.Float64,
    "bid": pl.Float64,
    "days": pl.Int64,
    "credit": pl.Float64,
    "fees": pl.Float64,
    "cap": pl.Float64,
    "further": pl.Boolean,
}


def roll_candidates(
    positions: pl.DataFrame,
    quotes: pl.DataFrame,
    day: date,
    slot: datetime,
    settings: HealthSettings | None = None,
) -> pl.DataFrame:
    """Every contract that each sold position could be rolled to, best first.

    Bought back at the ask, sold again at the bid, with the fees of both trades paid. A candidate
    expires on one of the next weekly expiries, its strike is the position's or further out of the
    money, it is a standard contract, and its quote is two-sided, fresh and narrow enough to trade
    on. Those that bring a credit come first, by credit for each calendar day that they add: taken
    as a whole, the furthest expiry would win always. Those that cost something follow, the
    cheapest first.

    Args:
        positions: open positions; bought ones have no candidates.
        quotes: rows of option_chain, one a contract, with the chains of the positions' tickers.
        day: session.
        slot: instant of the check.
        settings: expiries to look at, what a quote must be, and fees; defaults when None.

    Returns:
        `ROLLS`: ``days`` from the position's expiry to the candidate's; ``credit`` after ``fees``,
        those of buying back and of selling again; ``cap``: the most that a share brings once
        rolled, strike and all premiums but no fees, K_new + C_open - ask + bid_new, of a
        sold put what a share comes to cost at the least, K_new less these premiums; ``further``
        whether the strike is further out of the money.
    """
    settings = settings or HealthSettings()
    sold = positions.filter(pl.col("quantity") < 0)
    if sold.is_empty() or quotes.is_empty():
        return pl.DataFrame(schema=ROLLS)
    own = quotes.select("symbol", ask_now="ask")
    wanted = (
        _next_expiries(sold, day, settings.roll_expiries)
        .join(
            sold.select(
                "position_id", "symbol", "ticker", "right", "strike", "expiry", "quantity",
                "shares", "open_price",
            ),
            on="position_id",
        )
        .join(own, on="symbol")
        .filter(pl.col("ask_now").is_not_null())
        .drop("symbol")
    )  # fmt: skip
    fresh = pl.col("quote_at").is_null() | (
        slot - pl.col("quote_at") <= timedelta(minutes=settings.max_quote_age_minutes)
    )
    tradable = quotes.filter(
        pl.col("is_standard")
        & (pl.col("quote_status") == "OK")
        & ((pl.col("ask") - pl.col("bid")) / pl.col("mid") <= settings.max_spread)
        & fresh
    ).select(
        "symbol", "right", "bid", ticker="underlying", new_expiry="expiry", new_strike="strike"
    )
    out = pl.when(pl.col("right") == "C").then(1.0).otherwise(-1.0)
    gained = pl.col("bid") - pl.col("ask_now")
    premiums = pl.col("open_price") + gained
    contracts = -pl.col("quantity")
    rolls = (
        wanted.join(tradable, on=["ticker", "right", "new_expiry"])
        .with_columns(distance=(pl.col("new_strike") - pl.col("strike")) * out)
        .filter(pl.col("distance") >= 0)
        .with_columns(
            days=(pl.col("new_expiry") - pl.col("expiry")).dt.total_days(),
            fees=(2 * settings.fee_per_contract * contracts).round(2),
            cap=(pl.col("new_strike") + premiums * out).round(6),
            further=pl.col("distance") > 0,
        )
        .with_columns(credit=(gained * pl.col("shares") * contracts - pl.col("fees")).round(2))
    )
    worth = pl.when(pl.col("credit") > 0).then(pl.col("credit") / pl.col("days"))
    return (
        rolls.sort("position_id", -worth.otherwise("credit"), "days", -pl.col("distance"), "symbol")
        .drop("expiry", "strike")
        .rename({"new_expiry": "expiry", "new_strike": "strike"})
        .select(pl.col(name).cast(dtype) for name, dtype in ROLLS.items())
    )


def chosen_roll(rolls: pl.DataFrame, *, away: bool) -> dict[str, Any] | None:
    """The candidate to show of one position's, or None where there is none.

    Args:
        rolls: rows of `roll_candidates` of the position, best first.
        away: whether the strike is to move further out where that brings a credit: the option is
            in the money, or its underlying has just run. Else, and where it does not, the same
            strike comes first.
    """
    groups = [~pl.col("further"), pl.lit(value=True)]
    if away:
        groups.insert(0, pl.col("further") & (pl.col("credit") > 0))
    for group in groups:
        some = rolls.filter(group)
        if some.height:
            return some.row(0, named=True)
    return None


def _next_expiries(sold: pl.DataFrame, day: date, count: int) -> pl.DataFrame:
    """``position_id`` and ``new_expiry``: the next weekly expiries after each position's."""
    rows = []
    for position_id, expiry in sold.select("position_id", "expiry").iter_rows():
        after = max(expiry, day)
        for _ in range(count):
            after = trading_calendar.weekly_expiry(after)
            rows.append({"position_id": position_id, "new_expiry": after})
    return pl.DataFrame(rows, schema={"position_id": pl.String, "new_expiry": pl.Date})
