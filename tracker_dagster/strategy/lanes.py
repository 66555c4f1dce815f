"""Which lane a ticker belongs to, and the rule that said so."""

from __future__ import annotations

import polars as pl

from tracker_dagster.strategy.settings import LaneSettings


def assign_lanes(tickers: pl.DataFrame, settings: LaneSettings) -> pl.DataFrame:
    """``tickers`` with ``lane`` and ``lane_reason``.

    Rules in order (weekly tracker, section 4.2), with s suitability, v volatility, d drawdown:

    1. s >= 0.59, v <= 0.20, d <= 0.20: SAFE, on merit
    2. s >= 0.58, 0.20 < v <= 0.35: SAFE_HIGH_PAYOUT
    3. v <= 0.25 and d <= 0.20: SAFE by volatility
    4. v <= 0.45: SAFE_HIGH
    5. else AGGRESSIVE
    6. v unknown: by category

    Mended: the drawdown is known here, so rule 1 can be met; rule 2 has a lower bound, since it
    took the calmest tickers and asked of them the highest premium, which emptied it; rule 3 asks
    for a small drawdown too, so that a calm but falling ticker is not called safe.

    Args:
        tickers: ``category``, ``suitability``, ``annual_volatility``, ``max_drawdown``.
        settings: thresholds.
    """
    s, v = pl.col("suitability"), pl.col("annual_volatility")
    calm_fall = pl.col("max_drawdown") <= settings.safe_drawdown
    merit = (s >= settings.safe_suitability) & (v <= settings.safe_volatility) & calm_fall
    payout = (
        (s >= settings.payout_suitability)
        & (v > settings.safe_volatility)
        & (v <= settings.payout_volatility)
    )
    ladder: list[tuple[pl.Expr, str, str]] = [
        (merit, "SAFE", "suitability, volatility and drawdown within the limits of SAFE"),
        (payout, "SAFE_HIGH_PAYOUT", "suitable, and volatile enough to pay"),
        ((v <= settings.calm_volatility) & calm_fall, "SAFE", "low volatility and drawdown"),
        (v <= settings.medium_volatility, "SAFE_HIGH", "medium volatility or drawdown"),
        (v.is_not_null(), "AGGRESSIVE", "high volatility"),
        (
            pl.col("category").is_in(settings.safe_categories),
            "SAFE",
            "volatility unknown: by category",
        ),
        (
            pl.col("category").is_in(settings.aggressive_categories),
            "AGGRESSIVE",
            "volatility unknown: by category",
        ),
    ]
    lane: pl.Expr = pl.lit("SAFE_HIGH")
    reason: pl.Expr = pl.lit("volatility unknown: by category")
    for test, name, why in reversed(ladder):
        lane = pl.when(test.fill_null(value=False)).then(pl.lit(name)).otherwise(lane)
        reason = pl.when(test.fill_null(value=False)).then(pl.lit(why)).otherwise(reason)
    return tickers.with_columns(lane=lane, lane_reason=reason)
