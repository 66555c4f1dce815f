"""Baseline, gated and weighted over the same candidates: what each would decide and sell."""

from __future__ import annotations

import polars as pl

from tracker_dagster.schemas.decisions import MODEL_COMPARES, MODELS
from tracker_dagster.strategy.candidates import in_order_of_choice
from tracker_dagster.strategy.promotions import ALL_LANES, promote
from tracker_dagster.strategy.ranking import with_ranks
from tracker_dagster.strategy.settings import CompareSettings

GATES = ("fft_status", "fractal_status")
_DECISION = ("trade_date", "basis", "decision_at")


def compare_models(
    picks: pl.DataFrame,
    candidates: pl.DataFrame,
    open_positions: pl.DataFrame,
    seed: float,
    top_n: int = 10,
    settings: CompareSettings | None = None,
    lane: str = ALL_LANES,
    universe: pl.DataFrame | None = None,
    shares_cost: float = 0.0,
) -> pl.DataFrame:
    """Rows of model_compares, one a model and picked ticker.

    * ``baseline`` ignores the structure gates;
    * ``gated`` turns down what is unstable on either of them;
    * ``weighted`` takes a penalty off the rank score for each unstable gate, ranks again, and
      aims at a smaller delta, which picks the strike anew among the same candidates.

    Too short a history blocks under none of them. All else (cash, caps, lanes, top N) is the
    same promotion with the same limits.

    Args:
        picks: rows of weekly_picks of one decision.
        candidates: rows of pick_candidates; those of the same decision count.
        open_positions: rows of positions of the session.
        seed: cash in dollars.
        top_n: most promotions of a model.
        settings: penalty and shared gates; defaults when None.
        lane: a lane, or ALL.
        universe: categories of held tickers, see `promote`.
        shares_cost: dollars that the shares the account holds have cost.
    """
    settings = settings or CompareSettings()
    if picks.is_empty():
        return MODEL_COMPARES.empty()
    frames = []
    for model in MODELS:
        variant = weighted_picks(picks, candidates, settings) if model == "weighted" else picks
        promotion = settings.promotion.model_copy(update={"structure_gate": model == "gated"})
        decisions = promote(
            variant, open_positions, seed, lane, top_n, promotion, universe, shares_cost
        )
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
        rows, **{name: picks[name][0] for name in (*_DECISION, "available_at")}
    )


def _rows(
    model: str, picks: pl.DataFrame, variant: pl.DataFrame, decisions: pl.DataFrame
) -> pl.DataFrame:
    return (
        decisions.select(
            "ticker", "decision", "reason", "symbol", "strike", "premium_100", "seed", "top_n"
        )
        .join(picks.select("ticker", "rank_score", *GATES), on="ticker", how="left")
        .join(
            variant.select("ticker", "rank", rank_score_adjusted="rank_score"),
            on="ticker",
            how="left",
        )
        .with_columns(model=pl.lit(model))
    )


def unstable_gates() -> pl.Expr:
    """How many of the two structure gates are unstable; unknown and short histories are none."""
    return pl.sum_horizontal(
        (pl.col(gate) == "unstable").fill_null(value=False).cast(pl.Int64) for gate in GATES
    )


def weighted_picks(
    picks: pl.DataFrame, candidates: pl.DataFrame, settings: CompareSettings
) -> pl.DataFrame:
    """``picks`` as the weighted model has them: scores less penalties, ranks, strikes anew.

    Args:
        picks: rows of weekly_picks, of one decision or of several.
        candidates: rows of pick_candidates; a pick without any keeps its strike.
        settings: penalty, and how far strikes move out.
    """
    variants = [
        with_ranks(of_decision).select(picks.columns)
        for _, of_decision in _with_new_strikes(picks, candidates, settings)
        .with_columns(rank_score=pl.col("rank_score") - settings.penalty * unstable_gates())
        .group_by(_DECISION, maintain_order=True)
    ]
    return pl.concat(variants) if variants else picks


def _with_new_strikes(
    picks: pl.DataFrame, candidates: pl.DataFrame, settings: CompareSettings
) -> pl.DataFrame:
    key = [*_DECISION, "ticker"]
    unstable = picks.filter((pl.col("status") == "picked") & (unstable_gates() > 0)).select(
        *key, _unstable=unstable_gates()
    )
    passing = candidates.filter(pl.col("failed_gate").is_null()).join(unstable, on=key)
    if passing.is_empty():
        return picks
    away = pl.col("target_strike") - pl.col("price")
    aimed = passing.with_columns(
        target_delta=(pl.col("target_delta") - settings.delta_shift * pl.col("_unstable")).clip(0),
        target_strike=pl.col("target_strike")
        + settings.move_shift * pl.col("_unstable") * away.clip(0),
        move_known=pl.col("target_strike").is_not_null(),
    )
    chosen = pl.concat(
        in_order_of_choice(of_decision).filter(pl.col("choice_rank") == 1)
        for _, of_decision in aimed.group_by(_DECISION, maintain_order=True)
    ).with_columns(
        est_weekly_prem_100=(pl.col("mid") * 100).round(2),
        premium_at_bid_100=(pl.col("bid") * 100).round(2),
    )
    # Everything that a pick takes over from its candidate.
    taken = [name for name in chosen.columns if name in picks.columns and name not in key]
    moved = picks.select(*key).join(
        chosen.select(*key, *(pl.col(name).alias(f"_{name}") for name in taken)),
        on=key,
        how="left",
        maintain_order="left",
    )
    is_new = moved["_symbol"].is_not_null()
    return picks.with_columns(
        pl.when(is_new).then(moved[f"_{name}"]).otherwise(picks[name]).alias(name) for name in taken
    )


def model_choices(
    picks: pl.DataFrame, candidates: pl.DataFrame, settings: CompareSettings | None = None
) -> pl.DataFrame:
    """What each model makes of every pick: which call it sells, and how much of it.

    No cash, lanes or caps: this is what the models are measured on.

    Args:
        picks: rows of weekly_picks, of one decision or of several.
        candidates: rows of pick_candidates of the same.
        settings: penalty, and how far strikes move out.

    Returns:
        One row a decision, model and picked ticker: ``trade_date, basis, decision_at, ticker,
        model, symbol, strike, expiry, price, bid, fees_100, rank, rank_score,
        rank_score_adjusted, fft_status, fractal_status`` and ``weight``: 1 under baseline; 0 or 1
        under gated; under weighted the part of the rank score that the penalty leaves.
    """
    settings = settings or CompareSettings()
    picked = picks.filter(pl.col("status") == "picked")
    unstable = unstable_gates()
    accepted = unstable == 0
    key = [*_DECISION, "ticker"]
    scores = picked.select(*key, _before="rank_score")
    variants = {
        "baseline": picked.with_columns(weight=pl.lit(1.0)),
        "gated": picked.with_columns(
            weight=accepted.cast(pl.Float64),
            rank=pl.when(accepted).then(
                pl.col("rank").rank("ordinal").over([*_DECISION, accepted]).cast(pl.Int64)
            ),
        ),
        "weighted": weighted_picks(picked, candidates, settings)
        .join(scores, on=key, how="left")
        .with_columns(
            weight=pl.when(unstable == 0)
            .then(1.0)
            .when(pl.col("_before") > 0)
            .then((pl.col("rank_score") / pl.col("_before")).clip(0, 1))
            .otherwise(0.0)
        ),
    }
    return pl.concat(
        variant.select(
            *key, "symbol", "strike", "expiry", "price", "bid", "fees_100", "rank", "weight",
            *GATES, rank_score_adjusted="rank_score", model=pl.lit(model),
        )
        for model, variant in variants.items()
    ).join(scores.rename({"_before": "rank_score"}), on=key, how="left")  # fmt: skip
