"""The IV rank that a decision shows: of the session before, on its own basis where there is one."""

from __future__ import annotations

import polars as pl

from tracker_dagster import trading_calendar
from tracker_dagster.strategy.known import known_at
from tracker_dagster.strategy.tickers import DAY_FILE, SNAPSHOT, Decision

#: What a row of iv_percentile says of rank and percentile, among reasons for other columns.
_OF_RANK = r"rank and percentile: ([^;]*)"


def iv_ranks(
    tickers: pl.DataFrame, iv_percentile: pl.DataFrame | None, decision: Decision
) -> pl.DataFrame:
    """``ticker, iv_rank, iv_percentile, iv_rank_source, iv_rank_reason``, a row a ticker.

    The session before's, not the day's own: that one is written anew with each capture, and what
    a decision showed could not be told again later. A decision on day files is shown the rank of
    day files alone; one on a captured chain that of the last chain, where there is none that of
    day files.

    Args:
        tickers: ``ticker``.
        iv_percentile: rows of iv_percentile, any sessions; None where unknown.
        decision: what is decided.
    """
    session = trading_calendar.previous_session(decision.day)
    base = tickers.select("ticker")
    empty = {name: pl.lit(None, dtype=pl.Float64) for name in ("iv_rank", "iv_percentile")}
    absent = pl.lit(f"iv_percentile has no row of {session}")
    if iv_percentile is None:
        return base.with_columns(
            **empty, iv_rank_source=pl.lit(None, dtype=pl.String), iv_rank_reason=absent
        )
    bases = (SNAPSHOT, DAY_FILE) if decision.basis == SNAPSHOT else (DAY_FILE,)
    preference = pl.DataFrame({"basis": bases, "_order": range(len(bases))})
    rows = (
        known_at(iv_percentile, decision.decision_at, decision.day)
        .filter(pl.col("trade_date") == session)
        .join(preference, on="basis")
        # A basis that has a rank goes before one that has only the reason for none.
        .sort(pl.col("underlying"), pl.col("iv_rank").is_null(), pl.col("_order"))
        .unique("underlying", keep="first", maintain_order=True)
        .select(
            "iv_rank",
            "iv_percentile",
            ticker="underlying",
            iv_rank_source=pl.format("{} {}", "basis", "trade_date"),
            # The row tells of other columns too.
            _reason=pl.coalesce(pl.col("reason").str.extract(_OF_RANK), "reason"),
        )
    )
    known = pl.col("iv_rank").is_not_null() & pl.col("iv_percentile").is_not_null()
    return (
        base.join(rows, on="ticker", how="left")
        .with_columns(
            iv_rank_reason=pl.when(known)
            .then(None)
            .when(pl.col("iv_rank_source").is_null())
            .then(absent)
            .otherwise(pl.col("_reason").fill_null("not known"))
        )
        .drop("_reason")
    )
