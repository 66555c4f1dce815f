"""Two simulated years, decided week by week: is the gate worth something where it should be?

What is planted: in 15 % of ticker-weeks the minutes depend on the minute before with a
coefficient of +0.8 or -0.8, and the log price falls by 4 % in the week after, from its second
session on.
"""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
import pytest

from tracker_dagster.analytics.bootstrap import mean_interval
from tracker_dagster.marketsim.world.world import World
from tracker_dagster.reports.model_compare import model_scores_text
from tracker_dagster.strategy.walk_forward import model_scores
from tracker_dagster_tests.strategy.simulated_weeks import SimulatedWeeks

FIRST, WEEKS = date(2023, 1, 2), 106
SHARE, LOSS = 0.15, 0.04


def lived_through(share: float, seed: int = 7) -> tuple[World, pl.DataFrame]:
    """A world and the outcomes of every candidate pick of its weeks."""
    world = World(seed, planted_instability={}, instability=share, instability_loss=LOSS)
    return world, SimulatedWeeks(world, FIRST, WEEKS).outcomes()


def scored(outcomes: pl.DataFrame, model: str) -> dict[str, object]:
    scores = model_scores(outcomes, outcomes["trade_date"].max())
    return scores.row(by_predicate=pl.col("model") == model, named=True)


def unstable() -> pl.Expr:
    return (pl.col("fft_status") == "unstable") | (pl.col("fractal_status") == "unstable")


@pytest.mark.slow
@pytest.mark.feature(16)
@pytest.mark.feature(25)
def test_where_instability_is_planted_the_gate_helps() -> None:
    world, outcomes = lived_through(SHARE)
    picks = outcomes.filter(pl.col("model") == "baseline").with_columns(
        loses=pl.struct("ticker", "decided_on").map_elements(
            lambda row: world.instability.loses_in_week_of(row["ticker"], row["decided_on"]),
            return_dtype=pl.Boolean,
        ),
        unstable=unstable(),
    )
    losing, others = picks.filter("loses"), picks.filter(~pl.col("loses"))
    assert losing.height > 300
    assert losing["unstable"].mean() > 0.9
    # A week of four sessions has a fifth one before it in the gate's window: more than 5 %.
    assert others["unstable"].mean() < 0.10
    # What is lost: 4 %, less what a call takes of a rise.
    gap = others["hold_return"].mean() - losing["hold_return"].mean()
    assert gap == pytest.approx(LOSS, abs=0.012)

    gated = scored(outcomes, "gated")
    assert gated["weeks_count"] == WEEKS
    assert gated["low"] > 0
    assert gated["verdict"].startswith("gated helped: +0.")
    # The baseline bears the losing picks' loss in proportion to their number.
    told = pl.col("model_return").mean()
    worse = others.select(told).item() - losing.select(told).item()
    assert gated["difference"] == pytest.approx(losing.height / picks.height * worse, abs=0.0012)
    assert gated["difference"] > 0.003
    weighted = scored(outcomes, "weighted")
    assert 0 < weighted["low"] < weighted["difference"] < gated["difference"] * 1.2
    text = model_scores_text(model_scores(outcomes, outcomes["trade_date"].max()))
    assert "- gated against baseline: gated helped: +0." in text


@pytest.mark.slow
@pytest.mark.feature(25)
def test_where_nothing_is_planted_no_difference_can_be_told() -> None:
    _, outcomes = lived_through(0.0)
    picks = outcomes.filter(pl.col("model") == "baseline")
    # The gates' false alarms: 5 % by construction.
    assert picks.select(unstable().mean()).item() == pytest.approx(0.05, abs=0.02)
    gated = scored(outcomes, "gated")
    assert gated["weeks_count"] == WEEKS
    assert gated["low"] < 0 < gated["high"]
    assert gated["verdict"].startswith("no difference can be told: ")
    assert gated["high"] - gated["low"] < 0.003
    held = share_of_intervals_that_hold_nothing(outcomes, draws=200)
    assert held >= 0.90


def share_of_intervals_that_hold_nothing(outcomes: pl.DataFrame, draws: int) -> float:
    """How often the interval includes zero when the gate turns down one pick in twenty by lot."""
    told = outcomes.filter(
        (pl.col("model") == "baseline") & pl.col("model_return").is_not_null()
    ).sort("trade_date", "ticker")
    returns = told["model_return"].to_numpy()
    _, week = np.unique(told["trade_date"].to_numpy(), return_inverse=True)
    base = np.bincount(week, returns) / np.bincount(week)
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(draws):
        kept = rng.random(returns.size) >= 0.05
        number = np.bincount(week[kept], minlength=base.size)
        gated = np.bincount(week[kept], returns[kept], minlength=base.size) / np.maximum(number, 1)
        held += not mean_interval(gated - base, replicates=999).excludes_zero
    return held / draws
