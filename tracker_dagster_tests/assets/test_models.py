"""Models over real assets: what a week of picks came to, against the simulated market itself."""

from __future__ import annotations

import json
from datetime import date

import polars as pl
import pytest

from tracker_dagster.marketsim.world.tape import bars
from tracker_dagster.schemas.decisions import WEEKLY_PICKS
from tracker_dagster.strategy.comparison import model_choices
from tracker_dagster.trading_calendar import day_file_decision_time
from tracker_dagster_tests.assets.place import TODAY, checks

#: A holiday on Monday: the week's first session is a Tuesday, three sessions before its expiry.
BEFORE, FIRST, EXPIRY = date(2026, 5, 22), date(2026, 5, 26), date(2026, 5, 29)


@pytest.fixture
def decided(settled):
    """A home with the decision of the week's first session, on day files."""
    assert settled.run("flat_files", BEFORE).success
    made = ["suitability", "pick_candidates", "weekly_picks", "option_bars_1m"]
    assert settled.run(made, FIRST).success
    return settled


def first_trade(sim, ticker, symbol):
    """Start and price of the contract's first minute from 11:15 ET on."""
    tape = sim.simulation.tapes.contract_tape(ticker, symbol, FIRST)
    minutes = bars(tape, per_minute=True)
    since = day_file_decision_time(FIRST).timestamp() * 1e9
    later = [n for n in range(len(minutes.start)) if minutes.start[n] >= since]
    return (minutes.start[later[0]], minutes.open[later[0]]) if later else None


@pytest.mark.feature(25)
def test_a_week_comes_to_what_the_market_s_own_prices_say(decided, sim):
    result = decided.run(["model_outcomes", "model_scores"], EXPIRY)
    assert result.success
    picks = decided.rows("weekly_picks", FIRST).filter(pl.col("status") == "picked")
    rows = decided.rows("model_outcomes", EXPIRY)
    assert set(rows["ticker"]) == set(picks["ticker"]) != set()
    assert set(rows["basis"]) == {"day_file"}
    told = 0
    for row in rows.iter_rows(named=True):
        filled = first_trade(sim, row["ticker"], row["symbol"])
        if filled is None:
            assert row["reason"] == "no trade of the call after the decision is known"
            continue
        start, premium = filled
        minutes = sim.world.minute_bars(row["ticker"], FIRST)
        paid = minutes.open[minutes.start == start][0]
        close = sim.world.close(row["ticker"], EXPIRY)
        assert not sim.world.dividends(row["ticker"])
        kept = min(close, row["strike"]) - paid + premium - 0.02
        assert row["pnl_100"] == pytest.approx(100 * kept - 0.65), row["ticker"]
        assert row["hold_pnl_100"] == pytest.approx(100 * (close - paid))
        told += 1
    assert told
    assert checks(result, "model_outcomes")["most_are_told"].passed
    (score,) = decided.rows("model_scores", EXPIRY).filter(pl.col("model") == "gated").to_dicts()
    assert score["verdict"] == "no difference can be told yet: 1 of 12 weeks"


def test_a_week_that_is_not_over_has_no_outcome(settled):
    result = settled.run(["model_outcomes", "model_scores"], TODAY)
    assert result.success
    assert settled.rows("model_outcomes", TODAY).is_empty()
    assert settled.rows("model_scores", TODAY).is_empty()


def test_the_comparison_in_json_knows_the_scores_of_then_and_no_later_ones(decided):
    assert decided.run(["model_outcomes", "model_scores"], EXPIRY).success
    path = decided.home / "data/reports"

    def walk_forward(day):
        assert decided.run(["model_compares"], day).success
        report = json.loads((path / day.isoformat() / "model_compare.json").read_text())
        return {(row["model"], row["weeks_count"]) for row in report["walk_forward"]}

    assert walk_forward(TODAY) == {("baseline", 1), ("gated", 1), ("weighted", 1)}
    # The week's own first session came before its end.
    assert walk_forward(FIRST) == set()


def test_minutes_of_what_a_model_would_sell_instead_are_kept(settled):
    """All picks of the chain turn unstable: the weighted model moves to strikes further out."""
    stored = settled.rows("weekly_picks", TODAY)
    picks = stored.filter(pl.col("basis") == "snapshot").with_columns(fft_status=pl.lit("unstable"))
    # The morning's picks would have the same contracts minuted for their own sake.
    morning = stored.filter((pl.col("basis") == "day_file") & (pl.col("status") != "picked"))
    for rows, basis in ((picks, "snapshot"), (morning, "day_file")):
        at = stored.filter(pl.col("basis") == basis)["decision_at"][0]
        unit = {"trade_date": TODAY, "basis": basis, "decision_at": at}
        settled.warehouse.replace(WEEKLY_PICKS, rows, unit, allow_empty=True)
    candidates = settled.rows("pick_candidates", TODAY)
    moved = set(model_choices(picks, candidates)["symbol"]) - set(picks["symbol"])
    assert moved
    result = settled.run(["option_bars_1m"], TODAY)
    assert result.success
    (event,) = result.asset_materializations_for_node("option_bars_1m")
    kept = settled.rows("option_bars_1m", TODAY).filter(pl.col("chosen_as") == "model")
    assert moved <= set(kept["symbol"]) | set(event.metadata["did_not_trade"].value)
    assert event.metadata["chosen"].value["model"] == len(moved)
