"""Suitability and lanes: scores by hand, every rule at its boundary, every lane reachable."""

from __future__ import annotations

import polars as pl
import pytest

from tracker_dagster.schemas.decisions import LANES
from tracker_dagster.strategy.lanes import assign_lanes
from tracker_dagster.strategy.settings import LaneSettings
from tracker_dagster.strategy.suitability import suitability_scores

pytestmark = pytest.mark.feature(20)


def lane_of(
    score: float | None, volatility: float | None, drawdown: float | None, category: str = "GROWTH"
) -> str:
    frame = pl.DataFrame(
        {
            "category": [category],
            "suitability": [score],
            "annual_volatility": [volatility],
            "max_drawdown": [drawdown],
        },
        schema_overrides=dict.fromkeys(
            ("suitability", "annual_volatility", "max_drawdown"), pl.Float64
        ),
    )
    return assign_lanes(frame, LaneSettings())["lane"].item()


@pytest.mark.parametrize(
    ("score", "volatility", "drawdown", "lane"),
    [
        (0.59, 0.20, 0.20, "SAFE"),
        (0.99, 0.20, 0.21, "SAFE_HIGH"),
        (0.58, 0.2001, 0.10, "SAFE_HIGH_PAYOUT"),
        (0.58, 0.35, 0.60, "SAFE_HIGH_PAYOUT"),
        (0.58, 0.3501, 0.10, "SAFE_HIGH"),
        (0.5799, 0.25, 0.20, "SAFE"),
        (0.5799, 0.25, 0.2001, "SAFE_HIGH"),
        (0.10, 0.2501, 0.10, "SAFE_HIGH"),
        (0.10, 0.45, 0.90, "SAFE_HIGH"),
        (0.99, 0.4501, 0.05, "AGGRESSIVE"),
    ],
)
def test_each_rule_at_its_boundary(
    score: float, volatility: float, drawdown: float, lane: str
) -> None:
    assert lane_of(score, volatility, drawdown) == lane


@pytest.mark.parametrize(
    ("category", "lane"),
    [("ETF", "SAFE"), ("BANK", "SAFE_HIGH"), ("CRYPTO", "AGGRESSIVE"), ("SPEC", "AGGRESSIVE")],
)
def test_unknown_volatility_goes_by_category(category: str, lane: str) -> None:
    assert lane_of(None, None, None, category) == lane


@pytest.mark.feature(15)
def test_suitability_by_hand() -> None:
    statistics = pl.DataFrame(
        {
            "annual_volatility": [0.25, 0.25, None],
            "sharpe": [1.5, 9.0, None],
            "tail_width": [0.01, 0.10, None],
        },
        schema_overrides={"annual_volatility": pl.Float64},
    )
    rows = suitability_scores(statistics).to_dicts()
    assert rows[0]["suitability"] == pytest.approx(0.5 / 1.25 + 0.3 * 0.5 + 0.2 / 2)
    assert rows[0]["coherence"] == pytest.approx((1.5 + 3 / 1.25) / 5)
    # The Sharpe term saturates; a wide tail costs coherence 15 %.
    assert rows[1]["suitability"] == pytest.approx(0.5 / 1.25 + 0.3 + 0.2 / 11)
    assert rows[1]["coherence"] == pytest.approx(0.85)
    assert rows[2]["suitability"] is None
    assert rows[2]["coherence"] is None


def test_every_lane_is_reachable_from_statistics() -> None:
    reached = {
        assign_lanes(
            suitability_scores(
                pl.DataFrame(
                    {
                        "category": ["GROWTH"],
                        "annual_volatility": [volatility],
                        "sharpe": [sharpe],
                        "tail_width": [volatility / 16],
                        "max_drawdown": [0.12],
                    }
                )
            ),
            LaneSettings(),
        )["lane"].item()
        for volatility in (0.12, 0.3, 0.6)
        for sharpe in (0.0, 2.0)
    }
    assert reached == set(LANES)


def test_a_lane_without_a_rule_is_refused() -> None:
    with pytest.raises(ValueError, match="rules are needed"):
        LaneSettings(rules={})
