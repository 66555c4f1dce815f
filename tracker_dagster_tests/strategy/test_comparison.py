"""The three models over the same candidates: what each must and must not change."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tracker_dagster.schemas.decisions import MODEL_COMPARES, WEEKLY_PICKS
from tracker_dagster.strategy.comparison import compare_models
from tracker_dagster.strategy.settings import CompareSettings
from tracker_dagster_tests.strategy.test_promotions import NO_POSITIONS, picks

CANDIDATES = json.dumps(
    [
        {"symbol": f"O:A250613C000{strike}000", "strike": float(strike), "delta": delta,
         "bid": mid - 0.01, "ask": mid + 0.01, "mid": mid, "spread_pct": 0.02 / mid,
         "premium_yield": mid / 40}
        for strike, delta, mid in ((42, 0.25, 0.30), (43, 0.19, 0.20), (44, 0.10, 0.12))
    ]
)  # fmt: skip
ROWS: list[dict[str, Any]] = [
    {"ticker": "A", "rank_score": 0.8, "alternatives": CANDIDATES, "category": "A",
     "delta": 0.25},
    {"ticker": "B", "rank_score": 0.7, "category": "B"},
    {"ticker": "C", "rank_score": 0.5, "category": "C"},
]  # fmt: skip


def compared(changes: dict[str, Any], **options: Any) -> pl.DataFrame:
    rows = [{**ROWS[0], **changes}, *ROWS[1:]]
    return compare_models(picks(rows), NO_POSITIONS, 9300.0, **options)


def one(frame: pl.DataFrame, model: str, ticker: str) -> dict[str, Any]:
    return frame.row(
        by_predicate=(pl.col("model") == model) & (pl.col("ticker") == ticker), named=True
    )


def test_stable_structure_changes_nothing() -> None:
    frame = compared({})
    assert MODEL_COMPARES.schema.filter(frame)[1].counts() == {}
    assert len(frame) == 9
    assert not frame["decision_changed"].any()
    assert not frame["strike_changed"].any()


def test_a_short_history_blocks_under_no_model() -> None:
    frame = compared({"bars_1m_count": 0, "fft_status": "insufficient_history",
                      "fractal_status": "insufficient_history"})  # fmt: skip
    assert not frame["decision_changed"].any()
    assert one(frame, "gated", "A")["decision"] == "promote"
    assert one(frame, "weighted", "A")["rank_score_adjusted"] == pytest.approx(0.8)


def test_gated_turns_down_what_is_unstable_and_frees_its_cash() -> None:
    frame = compared({"fft_status": "unstable"})
    assert one(frame, "baseline", "A")["decision"] == "promote"
    assert one(frame, "baseline", "C")["reason"] == "over_seed"
    gated = one(frame, "gated", "A")
    assert (gated["decision"], gated["reason"]) == ("skip", "unstable_fft")
    assert gated["decision_changed"]
    freed = one(frame, "gated", "C")
    assert freed["decision"] == "promote"
    assert freed["decision_changed"]


def test_weighted_takes_a_penalty_ranks_again_and_moves_the_strike_out() -> None:
    frame = compared({"fft_status": "unstable"})
    weighted = one(frame, "weighted", "A")
    assert weighted["rank_score_adjusted"] == pytest.approx(0.6)
    assert weighted["rank_score"] == pytest.approx(0.8)
    # 0.25 - 0.05 = 0.20 is nearest to the 43 strike.
    assert weighted["rank"] == 2
    assert weighted["strike"] == 43.0
    assert weighted["premium_100"] == pytest.approx(20.0)
    assert weighted["strike_changed"]
    both = one(compared({"fft_status": "unstable", "fractal_status": "unstable"}), "weighted", "A")
    assert both["rank_score_adjusted"] == pytest.approx(0.4)
    assert both["rank"] == 3
    assert both["decision"] == "skip"


def test_negative_scores_are_no_structure_problem() -> None:
    rows = [{**row, "rank_score": row["rank_score"] - 1} for row in ROWS]
    frame = compare_models(picks(rows), NO_POSITIONS, 9300.0)
    assert one(frame, "weighted", "A")["decision"] == "promote"
    assert not frame["decision_changed"].any()


def test_the_penalty_is_a_setting() -> None:
    no_penalty = CompareSettings(penalty=0.0, delta_shift=0.0)
    frame = compared({"fft_status": "unstable"}, settings=no_penalty)
    assert one(frame, "weighted", "A")["rank"] == 1
    assert one(frame, "weighted", "A")["strike"] == 42.0


def test_the_order_of_picks_does_not_matter() -> None:
    rows = picks([{**ROWS[0], "fft_status": "unstable"}, *ROWS[1:]])
    key = ["model", "ticker"]
    assert_frame_equal(
        compare_models(rows.reverse(), NO_POSITIONS, 9300.0).sort(key),
        compare_models(rows, NO_POSITIONS, 9300.0).sort(key),
    )


def test_a_bad_seed_is_an_error_under_every_model() -> None:
    frame = compare_models(picks(ROWS), NO_POSITIONS, -1.0)
    assert frame["decision"].to_list() == ["error"] * 3
    assert MODEL_COMPARES.schema.filter(frame)[1].counts() == {}


def test_no_picks_no_rows() -> None:
    assert compare_models(WEEKLY_PICKS.empty(), NO_POSITIONS, 9300.0).is_empty()
