"""Year-end par yield curves of the US Treasury, tracked for those without a feed of them.

From the Treasury's "Daily Treasury Par Yield Curve Rates", last business day of each year, public
domain. A curve is used for the days after it, so for up to a year and longer past the last one.
"""

from __future__ import annotations

from functools import cache

import polars as pl

from tracker_dagster.seed_files import seed_file


@cache
def year_end_yields() -> pl.DataFrame:
    """All tracked curves: date, months, yield_percent, ascending."""
    wide = pl.read_csv(seed_file("treasury_yields.csv"), try_parse_dates=True)
    return (
        wide.unpivot(index="curve_date", variable_name="months", value_name="yield_percent")
        .drop_nulls("yield_percent")
        .select(
            pl.col("curve_date").alias("date"),
            pl.col("months").cast(pl.Int64),
            "yield_percent",
        )
        .sort("date", "months")
    )
