"""Strikes that stand out in a chain: walls, and max pain."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

#: Sums this close, relatively, differ by rounding alone.
_EQUAL = 1e-12


def walls(by_strike: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """The strikes with the largest gamma of calls, of puts and net.

    Args:
        by_strike: ``keys``, ``strike``, ``call_gamma``, ``put_gamma`` (neither below 0; null where
            not known), one row a strike.
        keys: what is looked at as one.

    Returns:
        ``keys`` with ``call_wall``, ``put_wall`` and ``net_wall`` (largest difference, either
        sign); null where there is no gamma. Of equal strikes the higher is the call wall, the
        lower the put wall and the net wall.
    """
    net = (pl.col("call_gamma") - pl.col("put_gamma")).abs()
    return by_strike.group_by(keys).agg(
        _strikes_of_largest(pl.col("call_gamma")).max().alias("call_wall"),
        _strikes_of_largest(pl.col("put_gamma")).min().alias("put_wall"),
        _strikes_of_largest(net).min().alias("net_wall"),
    )


def _strikes_of_largest(value: pl.Expr) -> pl.Expr:
    return pl.col("strike").filter((value > 0) & (value >= value.max() * (1 - _EQUAL)))


def max_pain(by_strike: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """The strike at which settlement would pay the holders of all contracts least.

    What is paid is the sum of open interest x intrinsic value, a convex function of the settlement
    price with its kinks at strikes; it is added up in whole thousandths of a dollar, so that equal
    strikes are equal.

    Args:
        by_strike: ``keys``, ``spot``, ``strike``, ``call_open_interest``, ``put_open_interest``,
            one row a strike. Null interest counts as none.
        keys: what is looked at as one.

    Returns:
        ``keys`` with ``max_pain``; of equal strikes the nearest to spot, then the lower. Keys
        without open interest are left out.
    """
    mills = pl.col("strike_mills")
    calls, puts = pl.col("call_open_interest"), pl.col("put_open_interest")
    below = {"calls": calls.cum_sum(), "calls_mills": (calls * mills).cum_sum()}
    # Puts below or at a strike pay nothing there.
    above = {
        "puts": puts.sum() - puts.cum_sum(),
        "puts_mills": (puts * mills).sum() - (puts * mills).cum_sum(),
    }
    paid = (
        pl.col("calls") * mills
        - pl.col("calls_mills")
        + pl.col("puts_mills")
        - pl.col("puts") * mills
    )
    return (
        by_strike.with_columns(
            pl.col("call_open_interest", "put_open_interest").fill_null(0).cast(pl.Int64),
            strike_mills=(pl.col("strike") * 1000).round().cast(pl.Int64),
        )
        .filter(calls + puts > 0)
        .sort(*keys, "strike_mills")
        .with_columns(
            expression.over(keys).alias(name) for name, expression in {**below, **above}.items()
        )
        .with_columns(paid=paid, away=(pl.col("strike") - pl.col("spot")).abs())
        .sort(*keys, "paid", "away", "strike_mills", nulls_last=True)
        .group_by(keys, maintain_order=True)
        .agg(max_pain=pl.col("strike").first())
    )
