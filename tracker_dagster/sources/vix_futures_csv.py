"""Settlements of VIX futures that the user keeps in a CSV: no market-data plan has them."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl

from tracker_dagster.sources.errors import MalformedResponseError

#: What a file must have; further maturities, vx2 to vx9, may stand beside them.
COLUMNS = ("trade_date", "vx1", "vx3")
_MATURITY = re.compile(r"^vx[1-9]$")


def read_vix_futures_csv(path: Path) -> pl.DataFrame:
    """Settlement prices of a CSV with a row a session: trade_date, vx1 to vx9.

    ``trade_date`` is an ISO date; ``vx1`` is the settlement of the future that expires next,
    ``vx2`` of the one after it, and so on, in volatility points (17.25), empty where there is
    none. Weeklies do not count. ``vx1`` and ``vx3`` must be there, the others may.

    Returns:
        ``trade_date``, ``vx1``, ``vx3``, in order of time.

    Raises:
        MalformedResponseError: a missing or unknown column, or lines that cannot be read, are not
            above zero or repeat a date, with their numbers.
    """
    try:
        rows = pl.read_csv(path, infer_schema=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise MalformedResponseError(f"VIX futures file {path.name}: {error}") from error
    rows = rows.rename(lambda name: name.strip().lower())
    missing = [name for name in COLUMNS if name not in rows.columns]
    unknown = [name for name in rows.columns if name not in COLUMNS and not _MATURITY.match(name)]
    if missing or unknown:
        raise MalformedResponseError(
            f"VIX futures file {path.name}: missing columns {missing}, unknown columns {unknown}; "
            f"known are trade_date and vx1 to vx9"
        )
    prices = [name for name in rows.columns if name != "trade_date"]
    rows = rows.with_columns(pl.all().str.strip_chars().replace("", None))
    parsed = rows.select(
        pl.col("trade_date").str.to_date("%Y-%m-%d", strict=False),
        *(pl.col(name).cast(pl.Float64, strict=False) for name in prices),
    )
    wrong = (
        pl.select(
            pl.any_horizontal(
                parsed["trade_date"].is_null(),
                parsed["trade_date"].is_duplicated(),
                *(rows[name].is_not_null() & ~_is_price(parsed[name]) for name in prices),
            )
        )
        .to_series()
        .arg_true()
    )
    if len(wrong):
        lines = [number + 2 for number in wrong.to_list()]
        raise MalformedResponseError(
            f"VIX futures file {path.name}: lines {lines} have no readable date, a date that is "
            "there twice, or a settlement that is not a number above zero"
        )
    return parsed.select(COLUMNS).sort("trade_date")


def _is_price(values: pl.Series) -> pl.Series:
    return (values.is_finite() & (values > 0)).fill_null(value=False)
