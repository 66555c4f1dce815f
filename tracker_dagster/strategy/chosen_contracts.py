"""Which contracts' minutes are kept: picked, sold by a model, held, and benchmarks at the money."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import polars as pl

#: Why a contract is chosen; where there are several reasons they are joined in this order.
REASONS = ("pick", "model", "promotion", "position", "benchmark")
JOINED_BY = "+"


def at_the_money(contracts: pl.DataFrame, prices: pl.DataFrame, expiry: date) -> pl.DataFrame:
    """The call and the put of an expiry that are struck nearest to their underlying's price.

    Args:
        contracts: symbol, underlying, expiry, right, strike, is_standard; others are left out.
        prices: ticker and price, in dollars a share.
        expiry: expiration date.

    Returns:
        symbol and ticker, at most two rows an underlying; of two strikes as near the lower one.
    """
    return (
        contracts.filter(pl.col("is_standard") & (pl.col("expiry") == expiry))
        .join(prices.drop_nulls("price"), left_on="underlying", right_on="ticker")
        .with_columns(distance=(pl.col("strike") - pl.col("price")).abs())
        .sort("underlying", "right", "distance", "strike", "symbol")
        .unique(["underlying", "right"], keep="first", maintain_order=True)
        .select("symbol", ticker="underlying")
    )


def chosen_contracts(reasons: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Every contract once, with all the reasons for it.

    Args:
        reasons: one of `REASONS` to the contracts chosen for it: a column ``symbol``.

    Returns:
        symbol and chosen_as (reasons joined by ``+``), sorted by symbol.

    Raises:
        ValueError: a reason that is not one of `REASONS`.
    """
    if unknown := sorted(set(reasons) - set(REASONS)):
        raise ValueError(f"no reason to choose a contract: {', '.join(unknown)}")
    rows = [
        reasons[name].select(pl.col("symbol").cast(pl.String), chosen_as=pl.lit(name))
        for name in REASONS
        if name in reasons
    ]
    if not rows:
        return pl.DataFrame(schema={"symbol": pl.String, "chosen_as": pl.String})
    return (
        pl.concat(rows)
        .drop_nulls("symbol")
        .unique(maintain_order=True)
        .group_by("symbol", maintain_order=True)
        .agg(pl.col("chosen_as").str.join(JOINED_BY))
        .sort("symbol")
    )
