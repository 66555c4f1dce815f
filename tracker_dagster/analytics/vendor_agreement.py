"""How far our implied volatilities are from another party's, over contracts that both solved."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

#: Contracts with a delta nearer to 0 or 1 than this tell little: their price hardly holds it.
MIN_DELTA = 0.05
WORST = 5


class Agreement(NamedTuple):
    """Absolute differences of volatility (0.01 = one point); null without contracts in common."""

    compared: int
    median: float | None
    p90: float | None
    worst: dict[str, float]


def volatility_agreement(ours: pl.DataFrame, theirs: pl.DataFrame) -> Agreement:
    """Compare two sets of implied volatilities.

    Args:
        ours: symbol, implied_volatility (annual decimal), delta; one row a contract.
        theirs: symbol and implied_volatility.

    Returns:
        Median and 90th percentile of the absolute differences, and the worst contracts; contracts
        whose delta is within `MIN_DELTA` of 0 or 1, or not known, are left out.
    """
    size = pl.col("delta").abs()
    both = (
        ours.filter(size.is_between(MIN_DELTA, 1 - MIN_DELTA))
        .select("symbol", "implied_volatility")
        .join(theirs.select("symbol", vendor="implied_volatility"), on="symbol")
        .drop_nulls()
        .with_columns(difference=(pl.col("implied_volatility") - pl.col("vendor")).abs())
        .sort("difference", "symbol", descending=[True, False])
    )
    if both.is_empty():
        return Agreement(0, None, None, {})
    median, p90 = both.select(
        pl.col("difference").median(), p90=pl.col("difference").quantile(0.9, "linear")
    ).row(0)
    worst = dict(both.select("symbol", "difference").head(WORST).iter_rows())
    return Agreement(both.height, median, p90, worst)
