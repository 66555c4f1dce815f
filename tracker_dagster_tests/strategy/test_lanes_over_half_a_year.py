"""Half a year of the simulated market: picks in every lane, and each day's from its own past."""

from __future__ import annotations

from datetime import date
from functools import cache
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tracker_dagster import trading_calendar
from tracker_dagster.marketsim.world.world import World
from tracker_dagster.schemas.decisions import LANES
from tracker_dagster.schemas.reference import UNIVERSE
from tracker_dagster.strategy.candidates import pick_candidates
from tracker_dagster.strategy.picks import weekly_picks
from tracker_dagster_tests.strategy import worlds
from tracker_dagster_tests.strategy.simulated_weeks import LOOKBACK, SimulatedWeeks

WEEKS = SimulatedWeeks(World(), date(2026, 5, 18), 26)

pytestmark = pytest.mark.slow


def decided(day: date, given: dict[str, Any], calls: pl.DataFrame) -> pl.DataFrame:
    at = trading_calendar.day_file_decision_time(day)
    before = trading_calendar.previous_session(day)
    candidates = pick_candidates("day_file", day, at, contracts=calls, **given)
    structure = worlds.structure(
        WEEKS.tickers, day=before, decision_at=trading_calendar.decision_time(before)
    )
    return weekly_picks("day_file", day, at, candidates=candidates, structure=structure, **given)


def known_on(day: date, expiry: date) -> dict[str, Any]:
    before = trading_calendar.previous_session(day)
    members = UNIVERSE.conform(
        pl.DataFrame(
            {"ticker": WEEKS.tickers,
             "category": [WEEKS.world.stock(ticker).category for ticker in WEEKS.tickers]}
        ),
        trade_date=day, enabled=True, available_at=trading_calendar.session_on(day).open,
    )  # fmt: skip
    closes = WEEKS.closes(trading_calendar.last_sessions(before, LOOKBACK)[0], before)
    actions = WEEKS.corporate_actions(day, expiry)
    return {
        "universe": members,
        "prices": closes,
        "suitability": worlds.suitability(members, closes, actions, day),
        "corporate_actions": actions,
    }


@cache
def half_a_year() -> tuple[tuple[date, date, pl.DataFrame, pl.DataFrame], ...]:
    found = []
    for day, expiry in WEEKS.weeks():
        calls = WEEKS.calls(trading_calendar.previous_session(day), expiry)
        found.append((day, expiry, calls, decided(day, known_on(day, expiry), calls)))
    return tuple(found)


@pytest.mark.feature(20)
def test_each_lane_has_picks() -> None:
    picks = pl.concat([rows for *_, rows in half_a_year()])
    counts = dict(picks.filter(pl.col("status") == "picked")["lane"].value_counts().iter_rows())
    assert set(counts) == set(LANES)
    assert min(counts.values()) >= 26, counts
    missing = picks.filter(pl.col("status") == "missing")
    assert missing["reason"].is_not_null().all()


def test_a_past_weeks_picks_come_out_the_same_with_the_weeks_after_it_in_every_table() -> None:
    weeks = half_a_year()
    everything = {
        name: pl.concat([known_on(day, expiry)[name] for day, expiry, *_ in weeks[::5]])
        for name in ("universe", "suitability", "corporate_actions")
    }
    everything["prices"] = WEEKS.closes(weeks[0][0] - (weeks[-1][0] - weeks[0][0]), weeks[-1][0])
    calls = pl.concat([rows for _, _, rows, _ in weeks])
    for day, _, _, alone in weeks[::5]:
        assert alone.filter(pl.col("status") == "picked").height > 5
        assert_frame_equal(decided(day, everything, calls), alone)
