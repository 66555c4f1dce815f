"""What follows from shares that are held: splits they have not been told of, cash they tie up."""

from __future__ import annotations

from datetime import date

import polars as pl


def marked_splits(holdings: pl.DataFrame, splits: pl.DataFrame, day: date) -> pl.DataFrame:
    """The holdings with ``split_on`` and ``cost``, and ``free`` null where there was a split.

    Lots are as they were recorded: after a split they are neither the shares nor the cost of
    today, and calls on them would be on the wrong number.

    Args:
        holdings: rows as `ledger.holdings.holdings_as_of` gives them.
        splits: rows of corporate_actions known on ``day``.
        day: session; later ex-dates do not count.
    """
    recorded_on = pl.col("recorded_at").dt.convert_time_zone("America/New_York").dt.date()
    first = (
        holdings.select("account", "ticker", recorded_on=recorded_on)
        .join(
            splits.filter((pl.col("action") == "split") & (pl.col("ex_date") <= day)).select(
                "ticker", "ex_date"
            ),
            on="ticker",
        )
        .filter(pl.col("ex_date") > pl.col("recorded_on"))
        .group_by("account", "ticker")
        .agg(split_on=pl.col("ex_date").min())
    )
    return holdings.join(first, on=["account", "ticker"], how="left").with_columns(
        cost=pl.col("shares") * pl.col("average_basis"),
        free=pl.when(pl.col("split_on").is_null()).then(pl.col("free")),
    )


def cash_for_puts(positions: pl.DataFrame) -> float:
    """Dollars that secure the open puts that were sold: strike times shares.

    Args:
        positions: rows of positions of one account.
    """
    sold = positions.filter(
        (pl.col("status") == "OPEN") & (pl.col("right") == "P") & (pl.col("quantity") < 0)
    )
    return float((sold["strike"] * sold["shares"] * -sold["quantity"]).sum())
