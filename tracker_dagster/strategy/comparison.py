"""Baseline, gated and weighted over the same candidates: what each would decide and sell."""

from __future__ import annotations

import json
from typing import Any

import polars as pl

from tracker_dagster.schemas.decisions import MODEL_COMPARES, MODELS
from tracker_dagster.strategy.promotions import ALL_LANES, promote
from tracker_dagster.strategy.ranking import with_ranks
from tracker_dagster.strategy.settings import CompareSettings, PickSettings

_GATES = ("fft_status", "fractal_status")


def compare_models(
    picks: pl.DataFrame,
    open_positions: pl.DataFrame,
    seed: float,
    top_n: int = 10,
    settings: CompareSettings | None = None,
    pick_settings: PickSettings | None = None,
    lane: str = ALL_LANES,
    universe: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Rows of model_compares, one a model and picked ticker.

    * ``baseline`` ignores the structure gates;
    * ``gated`` turns down what is unstable on either of them;
    * ``weighted`` takes a penalty off the rank score for each unstable gate, ranks again, and
      aims at a smaller delta, which picks the strike anew among the stored candidates.

    Too short a history blocks under none of them. All else (cash, caps, lanes, top N) is the
    same promotion with the same limits.

    Args:
        picks: rows of weekly_picks of one decision.
        open_positions: rows of positions of the session.
        seed: cash in dollars.
        top_n: most promotions of a model.
        settings: penalty and shared gates; defaults when None.
        pick_settings: where the lanes' target deltas come from.
        lane: a lane, or ALL.
        universe: categories of held tickers, see `promote`.
    """
    settings = settings or CompareSettings()
    pick_settings = pick_settings or PickSettings()
    if picks.is_empty():
        return MODEL_COMPARES.empty()
    frames = []
    for model in MODELS:
        variant = weighted_picks(picks, settings, pick_settings) if model == "weighted" else picks
        promotion = settings.promotion.model_copy(update={"structure_gate": model == "gated"})
        decisions = promote(variant, open_positions, seed, lane, top_n, promotion, universe)
        frames.append(_rows(model, picks, variant, decisions))
    rows = pl.concat(frames, how="vertical_relaxed")
    baseline = rows.filter(pl.col("model") == "baseline").select(
        "ticker", base_decision="decision", base_symbol="symbol"
    )
    rows = rows.join(baseline, on="ticker", how="left").with_columns(
        decision_changed=pl.col("decision") != pl.col("base_decision"),
        strike_changed=pl.col("symbol").ne_missing(pl.col("base_symbol")),
    )
    return MODEL_COMPARES.conform(
        rows,
        **{name: picks[name][0] for name in ("trade_date", "basis", "decision_at", "available_at")},
    )


def _rows(
    model: str, picks: pl.DataFrame, variant: pl.DataFrame, decisions: pl.DataFrame
) -> pl.DataFrame:
    return (
        decisions.select(
            "ticker", "decision", "reason", "symbol", "strike", "premium_100", "seed", "top_n"
        )
        .join(picks.select("ticker", "rank_score", *_GATES), on="ticker", how="left")
        .join(
            variant.select("ticker", "rank", rank_score_adjusted="rank_score"),
            on="ticker",
            how="left",
        )
        .with_columns(model=pl.lit(model))
    )


def unstable_gates(picks: pl.DataFrame) -> pl.Series:
    """How many of the two structure gates are unstable, row by row."""
    return picks.select(
        pl.sum_horizontal((pl.col(gate) == "unstable").fill_null(value=False) for gate in _GATES)
    ).to_series()


def weighted_picks(
    picks: pl.DataFrame, settings: CompareSettings, pick_settings: PickSettings
) -> pl.DataFrame:
    """``picks`` as the weighted model has them: scores less penalties, ranks, strikes anew."""
    unstable = unstable_gates(picks)
    rows = [
        _rewritten(pick, count, settings, pick_settings) if count else pick
        for pick, count in zip(picks.iter_rows(named=True), unstable, strict=True)
    ]
    changed = pl.DataFrame(rows, schema=picks.schema)
    penalised = changed.with_columns(
        rank_score=pl.col("rank_score") - settings.penalty * unstable.cast(pl.Float64)
    )
    return with_ranks(penalised).select(picks.columns)


def _rewritten(
    pick: dict[str, Any], unstable: int, settings: CompareSettings, pick_settings: PickSettings
) -> dict[str, Any]:
    candidates = [c for c in json.loads(pick["alternatives"]) if c["delta"] is not None]
    if pick["status"] != "picked" or not candidates:
        return pick
    lane_target = pick_settings.lanes.rules[pick["lane"]].target_delta
    target = max(0.0, lane_target - settings.delta_shift * unstable)
    chosen = min(
        candidates,
        key=lambda c: (round(abs(c["delta"] - target), 9), -c["premium_yield"], c["symbol"]),
    )
    if chosen["symbol"] == pick["symbol"]:
        return pick
    return {
        **pick,
        **chosen,
        "est_weekly_prem_100": round(chosen["mid"] * 100, 2),
        "premium_at_bid_100": None if chosen["bid"] is None else round(chosen["bid"] * 100, 2),
    }
