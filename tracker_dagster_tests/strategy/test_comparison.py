"""The three models over the same candidates: what each must and must not change."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tracker_dagster.schemas.candidates import PICK_CANDIDATES
from tracker_dagster.schemas.decisions import MODEL_COMPARES, WEEKLY_PICKS
from tracker_dagster.strategy.comparison import compare_models, model_choices
from tracker_dagster.strategy.settings import CompareSettings
from tracker_dagster_tests.strategy.test_promotions import NO_POSITIONS, picks
from tracker_dagster_tests.strategy.worlds import DAY, DECISION_AT, EXPIRY

CANDIDATES = PICK_CANDIDATES.conform(
    pl.DataFrame(
        [
            {"symbol": f"O:A250613C000{strike}000", "strike": float(strike), "delta": delta,
             "bid": mid - 0.01, "ask": mid + 0.01, "mid": mid, "spread_pct": 0.02 / mid,
             "premium_yield": mid / 40, "choice_rank": n, "failed_gate": failed}
            for n, (strike, delta, mid, failed) in enumerate(
                ((42, 0.25, 0.30, None), (43, 0.19, 0.20, None), (44, 0.10, 0.12, None),
                 (43.5, 0.20, 0.25, "spread")), start=1)
        ]
    ),
    trade_date=DAY, basis="snapshot", decision_at=DECISION_AT, available_at=DECISION_AT,
    ticker="A", expiry=EXPIRY, price=40.0, target_delta=0.25, target_strike=42.0,
    delta_source="vendor",
)  # fmt: skip
ROWS: list[dict[str, Any]] = [
    {"ticker": "A", "rank_score": 0.8, "category": "A",
     "delta": 0.25},
    {"ticker": "B", "rank_score": 0.7, "category": "B"},
    {"ticker": "C", "rank_score": 0.5, "category": "C"},
]  # fmt: skip


def compared(changes: dict[str, Any], **options: Any) -> pl.DataFrame:
    rows = [{**ROWS[0], **changes}, *ROWS[1:]]
    return compare_models(picks(rows), CANDIDATES, NO_POSITIONS, 9300.0, **options)


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


@pytest.mark.feature(25)
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


@pytest.mark.feature(25)
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


def test_without_deltas_the_target_strike_moves_out() -> None:
    """Target 42 at a price of 40: a quarter of the distance of 2 more, 42.5, is nearest to 42.5."""
    rows = picks([{**ROWS[0], "fft_status": "unstable", "delta": None}, *ROWS[1:]])
    bare = CANDIDATES.with_columns(delta=pl.lit(None, dtype=pl.Float64))
    nearer = bare.filter(pl.col("strike") == 43).with_columns(
        symbol=pl.lit("O:A250613C00042500"), strike=pl.lit(42.5)
    )
    frame = compare_models(rows, pl.concat([bare, nearer]), NO_POSITIONS, 9300.0)
    assert one(frame, "baseline", "A")["strike"] == 42.0
    assert one(frame, "weighted", "A")["strike"] == 42.5


def test_a_candidate_that_failed_a_gate_is_nobodys_choice() -> None:
    """43.5 has exactly the delta aimed at, and too wide a spread."""
    frame = compared({"fft_status": "unstable"})
    assert one(frame, "weighted", "A")["strike"] == 43.0


def test_weights_say_how_much_of_each_pick_a_model_takes() -> None:
    rows = picks([{**ROWS[0], "fft_status": "unstable"}, ROWS[1], ROWS[2]])
    frame = model_choices(rows, CANDIDATES)
    assert len(frame) == 9
    weights = dict(frame.filter(pl.col("ticker") == "A").select("model", "weight").iter_rows())
    # 0.8 less a penalty of 0.2 leaves three quarters.
    assert weights == {"baseline": 1.0, "gated": 0.0, "weighted": pytest.approx(0.75)}
    others = frame.filter(pl.col("ticker") != "A")
    assert set(others["weight"]) == {1.0}
    ranks = {
        model: dict(rows.select("ticker", "rank").iter_rows())
        for (model,), rows in frame.group_by("model")
    }
    assert ranks["baseline"] == {"A": 1, "B": 2, "C": 3}
    assert ranks["gated"] == {"A": None, "B": 1, "C": 2}
    assert ranks["weighted"] == {"B": 1, "A": 2, "C": 3}
    assert one(frame, "weighted", "A")["strike"] == 43.0


def test_several_decisions_are_ranked_each_by_itself() -> None:
    first = picks([{**ROWS[0], "fft_status": "unstable"}, *ROWS[1:]])
    later = picks(ROWS).with_columns(basis=pl.lit("day_file"))
    both = model_choices(pl.concat([first, later]), CANDIDATES)
    keys = ["basis", "model", "ticker"]
    assert_frame_equal(
        both.sort(keys),
        pl.concat([model_choices(first, CANDIDATES), model_choices(later, CANDIDATES)]).sort(keys),
    )


def test_negative_scores_are_no_structure_problem() -> None:
    rows = [{**row, "rank_score": row["rank_score"] - 1} for row in ROWS]
    frame = compare_models(picks(rows), CANDIDATES, NO_POSITIONS, 9300.0)
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
        compare_models(rows.reverse(), CANDIDATES, NO_POSITIONS, 9300.0).sort(key),
        compare_models(rows, CANDIDATES, NO_POSITIONS, 9300.0).sort(key),
    )


def test_a_bad_seed_is_an_error_under_every_model() -> None:
    frame = compare_models(picks(ROWS), CANDIDATES, NO_POSITIONS, -1.0)
    assert frame["decision"].to_list() == ["error"] * 3
    assert MODEL_COMPARES.schema.filter(frame)[1].counts() == {}


def test_no_picks_no_rows() -> None:
    assert compare_models(WEEKLY_PICKS.empty(), CANDIDATES, NO_POSITIONS, 9300.0).is_empty()
