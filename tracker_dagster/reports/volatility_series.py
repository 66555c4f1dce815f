"""Pictures of volatility over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import polars as pl

from tracker_dagster.reports.charts import line_chart

#: Percentiles of the year between which the ground is shaded.
_BAND = (0.10, 0.90)


def iv_history_chart(
    past: pl.DataFrame, row: Mapping[str, Any] | None, days: Sequence[date], day: date
) -> str:
    """An underlying's year of 30-day volatility and its last value, as a markdown image.

    Args:
        past: ``trade_date``, ``basis``, ``underlying``, ``iv_30d``, of any underlyings.
        row: the row of iv_percentile that is shown; None where there is none.
        days: the sessions before, of which one without a value is a gap.
        day: the session of ``row``.
    """
    shown = row or {"underlying": "No underlying", "history_basis": "", "iv_percentile": None}
    sessions = pl.DataFrame({"trade_date": days}, schema={"trade_date": pl.Date})
    known = past.filter(underlying=shown["underlying"], basis=shown["history_basis"])
    before = sessions.join(
        known.select("trade_date", "iv_30d"), on="trade_date", how="left", maintain_order="left"
    )
    low, high = (before["iv_30d"].quantile(share, "linear") for share in _BAND)
    today = pl.DataFrame({"trade_date": [day], "iv_30d": shown.get("iv_30d")}, before.schema)
    place = shown["iv_percentile"]
    return line_chart(
        pl.concat([before, today]),
        "trade_date",
        "iv_30d",
        f"{shown['underlying']}: 30-day volatility and its middle 80 %, {day}"
        + ("" if place is None else f", percentile {place:.2f}"),
        band=None if low is None or high is None else (low, high),
    )


def vix_ratio_chart(bars: pl.DataFrame, days: Sequence[date]) -> str:
    """VIX / VIX3M over the sessions, as a markdown image; above one the near one is the dearer.

    Args:
        bars: ``trade_date``, ``ticker``, ``close`` of VIX and VIX3M.
        days: the sessions that are shown; one without both is a gap.
    """
    shown = pl.DataFrame({"trade_date": days}, schema={"trade_date": pl.Date})
    for ticker in ("VIX", "VIX3M"):
        closes = bars.filter(ticker=ticker).select("trade_date", pl.col("close").alias(ticker))
        shown = shown.join(closes, on="trade_date", how="left", maintain_order="left")
    ratio = shown.with_columns((pl.col("VIX") / pl.col("VIX3M")).alias("VIX / VIX3M"))
    return line_chart(ratio, "trade_date", "VIX / VIX3M", f"VIX / VIX3M to {days[-1]}", level=1.0)
