"""What shocks of the market would bring or cost each account: the book valued again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime

import polars as pl

from tracker_dagster.schemas.portfolio_risk import (
    ALL_REAL,
    ALL_TICKERS,
    MOVES,
    PORTFOLIO_STRESS,
)
from tracker_dagster.strategy.portfolio_legs import model_values
from tracker_dagster.strategy.portfolio_risk import KEYS, PAPER, Book, portfolio_risk

#: Each scenario's move of the market, and what is added to each volatility (0.10: ten points).
SHOCKS: Mapping[str, tuple[float, float]] = {
    "down_5": (-0.05, 0.0),
    "down_10": (-0.10, 0.0),
    "down_20": (-0.20, 0.0),
    "vol_up_10": (0.0, 0.10),
    "vol_down_10": (0.0, -0.10),
    "down_10_vol_up_10": (-0.10, 0.10),
}


def portfolio_stress(book: Book, day: date, slot: datetime) -> pl.DataFrame:
    """Rows of portfolio_stress: every scenario and kind of move, by account and ticker.

    Options are valued again at the moved spot and volatility, against their value at neither, by
    the same model: the gap between model and quote is in no result. By beta, a fall of the market
    moves each underlying by its beta times as much, but never below a hundredth of its price.
    A total in which one ticker cannot be told is null, with that ticker as its reason.

    Args:
        book: of `valued_book`.
        day: session.
        slot: instant of the book.
    """
    if book.tickers.is_empty():
        return PORTFOLIO_STRESS.empty()
    scenarios = pl.DataFrame(
        [
            {"scenario": name, "move": move, "shock": shock, "volatility_points": points}
            for name, (shock, points) in SHOCKS.items()
            for move in MOVES
        ]
    )
    by_beta = pl.col("beta") * pl.col("shock")
    rows = (
        book.tickers.join(scenarios, how="cross")
        .with_columns(
            spot_move=pl.when((pl.col("move") == "plain") | (pl.col("shock") == 0))
            .then("shock")
            .otherwise(by_beta.clip(lower_bound=-0.99))
        )
        .with_columns(
            reason=pl.coalesce(
                "problem", pl.when(pl.col("spot_move").is_null()).then(pl.lit("no beta"))
            )
        )
    )
    keys = [*KEYS, "scenario", "move"]
    rows = (
        rows.join(_option_pnl(book, rows), on=keys, how="left")
        .with_columns(
            stock_pnl=pl.when(pl.col("shares") == 0)
            .then(0.0)
            .otherwise(pl.col("shares") * pl.col("price") * pl.col("spot_move")),
            option_pnl=pl.when(pl.col("positions") == 0).then(0.0).otherwise("option_pnl"),
        )
        .with_columns(
            reason=pl.coalesce(
                "reason",
                pl.when(~pl.col("option_pnl").is_finite().fill_null(value=False)).then(
                    pl.lit("an option has no value after the shock")
                ),
            )
        )
        .with_columns(
            pl.when(pl.col("reason").is_null()).then(name).alias(name)
            for name in ("stock_pnl", "option_pnl")
        )
        .with_columns(pnl=pl.col("stock_pnl") + pl.col("option_pnl"))
    )
    rows = pl.concat([rows, _over(rows.filter(pl.col("account") != PAPER), keys, real=True)],
                     how="diagonal")  # fmt: skip
    totals = _over(rows, keys, real=False)
    capital = portfolio_risk(book, day, slot).select("account", "capital")
    return PORTFOLIO_STRESS.conform(
        pl.concat([rows, totals], how="diagonal")
        .join(capital, on="account", how="left")
        .with_columns(
            pnl_share=pl.when(pl.col("capital") > 0).then(pl.col("pnl") / pl.col("capital"))
        )
        .sort(keys),
        trade_date=day,
        slot=slot,
        available_at=slot,
    )


def _option_pnl(book: Book, rows: pl.DataFrame) -> pl.DataFrame:
    """``option_pnl`` of each account, ticker, scenario and kind of move, in USD."""
    options = book.options.filter(pl.col("problem").is_null())
    keys = [*KEYS, "scenario", "move"]
    legs = options.join(
        rows.filter(pl.col("reason").is_null()).select(*keys, "spot_move", "volatility_points"),
        on=KEYS,
    )
    before = model_values(legs, book.dividends)
    after = model_values(
        legs,
        book.dividends,
        spot_move=legs["spot_move"].to_numpy(),
        volatility_points=legs["volatility_points"].to_numpy(),
    )
    return (
        legs.with_columns(option_pnl=pl.col("units") * pl.Series(after - before, dtype=pl.Float64))
        .group_by(keys)
        .agg(pl.col("option_pnl").sum())
    )


def _over(rows: pl.DataFrame, keys: list[str], *, real: bool) -> pl.DataFrame:
    """Rows of all real accounts together by ticker, or of all tickers together by account."""
    kept = [name for name in keys if name != ("account" if real else "ticker")]
    # A sum without one of its parts would be divided by all of the capital, and look like less.
    enough = pl.col("pnl").is_not_null().all()
    named = pl.format("{}: {}", "ticker", "reason") if not real else pl.col("reason")
    missing = named.filter(pl.col("reason").is_not_null()).unique().sort().str.join("; ")
    constants = {"account": pl.lit(ALL_REAL)} if real else {"ticker": pl.lit(ALL_TICKERS)}
    return (
        rows.group_by(kept, maintain_order=True)
        .agg(
            *(
                pl.when(enough).then(pl.col(name).sum()).alias(name)
                for name in ("stock_pnl", "option_pnl", "pnl")
            ),
            pl.col("volatility_points").first(),
            *([pl.col("spot_move").first()] if real else []),
            reason=missing,
        )
        .with_columns(reason=pl.when(pl.col("reason") != "").then("reason"), **constants)
    )
