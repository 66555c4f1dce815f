"""The rank of picks: components on one scale, their weighted mean, and an order without ties."""

from __future__ import annotations

import polars as pl

from tracker_dagster.strategy.settings import PickSettings

#: Slope of closes, per session, and five-session loss at which the trend scores saturate.
_REGIME_SCALE = 0.01
_DOWNSIDE_SCALE = 0.15


def ranked(rows: pl.DataFrame, sessions: int, settings: PickSettings) -> pl.DataFrame:
    """``rows`` with the score components, ``rank_score`` and ``rank`` (1 is best).

    Every component lies in 0..1, so that none drowns the others (weekly tracker, section 4.6,
    where a volatility of 0.5 stood beside a yield of 0.01). A component that is unknown is null
    and adds nothing: a ticker without statistics gains no rank by it. Liquidity is the mean of a
    tight spread and the strike's quality, of the latter alone where there are no quotes. Only
    picked rows get a score. Ties go to the higher yield, then to the ticker's name.

    Args:
        rows: picks with ``status`` and the columns that the components need.
        sessions: sessions until the expiry; yields are compared as of five.
        settings: caps and weights.
    """
    is_pick = pl.col("status") == "picked"
    week = (sessions / 5) ** 0.5
    components: dict[str, pl.Expr] = {
        "score_yield": (pl.col("premium_yield") / week / settings.yield_cap).clip(0, 1),
        "score_suitability": pl.col("suitability"),
        "score_calm": (
            1 - (pl.col("annual_volatility") + pl.col("max_drawdown")) / settings.risk_cap
        ).clip(0, 1),
        "score_trend": (
            (0.5 + 0.5 * pl.col("regime") / _REGIME_SCALE).clip(0, 1)
            + (1 + pl.col("downside_5d") / _DOWNSIDE_SCALE).clip(0, 1)
        )
        / 2,
        "score_liquidity": pl.mean_horizontal(
            (1 - pl.col("spread_pct") / settings.max_spread).clip(0, 1), pl.col("strike_quality")
        ),
    }
    rows = rows.with_columns(
        **{name: pl.when(is_pick).then(value) for name, value in components.items()}
    )
    score = sum(
        (pl.col(name).fill_null(0.0) * weight)
        for name, weight in settings.weights.normalised().items()
    )
    return with_ranks(rows.with_columns(rank_score=pl.when(is_pick).then(score)))


def with_ranks(rows: pl.DataFrame) -> pl.DataFrame:
    """``rows`` with ``rank`` by ``rank_score``, then ``premium_yield``, then ``ticker``."""
    order = (
        rows.filter(pl.col("rank_score").is_not_null())
        .with_columns(pl.col("rank_score", "premium_yield").round(12))
        .sort(
            ["rank_score", "premium_yield", "ticker"],
            descending=[True, True, False],
            nulls_last=True,
        )
        .select("ticker", rank=pl.int_range(1, pl.len() + 1, dtype=pl.Int64))
    )
    return rows.drop("rank", strict=False).join(order, on="ticker", how="left")
